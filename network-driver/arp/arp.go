// Package arp asks a physical network whether an address is free before a container gets it, and tells it afterwards
// whose it is (RFC 5227). It knows raw frames and one interface at a time; it knows no bridge, no Swarm and no network,
// and decides nothing.
package arp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// The engine's call has two seconds in all: RFC 5227's waits of seconds are shortened, its form is kept.
	probes   = 3
	interval = 180 * time.Millisecond
)

// Speaker speaks ARP.
type Speaker struct{}

// ConflictError says that somebody has the address.
type ConflictError struct {
	Address netip.Addr
	MAC     net.HardwareAddr
	Device  string
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("address %s is in use already by %s on the network of %s: keep it out of the network's choice (rolling.range), or free it there", e.Address, e.MAC, e.Device)
}

// Conflict tells it from what hindered the question.
func (e *ConflictError) Conflict() bool { return true }

// open makes a raw socket that hears the interface's ARP.
func open(device string) (*os.File, *net.Interface, error) {
	at, err := net.InterfaceByName(device)
	if err != nil {
		return nil, nil, fmt.Errorf("find it: %w", err)
	}
	if len(at.HardwareAddr) != 6 {
		return nil, nil, errors.New("it has no Ethernet address")
	}
	kind := int(etherARP>>8 | etherARP&0xff<<8) // in the network's order
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, kind)
	if err != nil {
		return nil, nil, fmt.Errorf("open a raw socket: %w: the plugin needs CAP_NET_RAW", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: uint16(kind), Ifindex: at.Index}); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("bind a raw socket: %w", err), unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), "arp "+device), at, nil
}

// Probe asks three times within 540 ms whether anybody on the interface's network has the address. Nobody learns
// anything by the question. It fails with a ConflictError if somebody has it, or asks for it at the same time.
func (Speaker) Probe(ctx context.Context, device string, address netip.Addr) error {
	err := ask(ctx, device, address)
	var taken *ConflictError
	if err != nil && !errors.As(err, &taken) {
		return fmt.Errorf("ask on %s whether %s is free: %w", device, address, err)
	}
	return err
}

func ask(ctx context.Context, device string, address netip.Addr) error {
	socket, at, err := open(device)
	if err != nil {
		return err
	}
	defer socket.Close() //nolint:errcheck // nothing is lost with it
	stop := context.AfterFunc(ctx, func() { _ = socket.SetReadDeadline(time.Now()) })
	defer stop()
	question := probe(at.HardwareAddr, address).bytes()
	for range probes {
		if _, err := socket.Write(question); err != nil {
			return err
		}
		if err := socket.SetReadDeadline(time.Now().Add(interval)); err != nil {
			return err
		}
		err := hear(socket, func(f frame) error {
			if f.claims(address, at.HardwareAddr) {
				return &ConflictError{address, f.senderMAC, device}
			}
			return nil
		})
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}

// hear takes frames until the deadline.
func hear(socket *os.File, judge func(frame) error) error {
	buffer := make([]byte, 1514)
	for {
		n, err := socket.Read(buffer)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
		if err != nil {
			return err
		}
		if f, ok := parse(buffer[:n]); ok {
			if err := judge(f); err != nil {
				return err
			}
		}
	}
}

// Announce tells the interface's network that the address is at the MAC.
func (Speaker) Announce(device string, address netip.Addr, mac string) error {
	at, err := net.ParseMAC(mac)
	if err != nil {
		return fmt.Errorf("announce %s on %s: %w", address, device, err)
	}
	socket, _, err := open(device)
	if err == nil {
		_, err = socket.Write(announcement(at, address).bytes())
		err = errors.Join(err, socket.Close())
	}
	if err != nil {
		return fmt.Errorf("announce %s on %s: %w", address, device, err)
	}
	return nil
}
