package kernel

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// Doors are published ports: rules that lead to containers, and sockets that are bound so that no program of the host
// takes the port, and never read or listened on. The client's address is kept.
type Doors struct {
	gate *Gate
	held map[doorHold]int   // sockets; one caller at a time
	laid []topology.Doorway // what was laid last; nil while that is not known
	six  bool               // ip6tables may have rules of ours
}

// doorHold is a port of one family.
type doorHold struct {
	topology.Publication
	six bool
}

// NewDoors uses the firewall's programs.
func NewDoors(g *Gate) *Doors { return &Doors{gate: g, held: map[doorHold]int{}, six: true} }

// Doubt lets the next Set compare with what the kernel has, and not with what was laid.
func (d *Doors) Doubt() { d.laid = nil }

// Hold takes a port of the host, or says who has it.
func (d *Doors) Hold(w topology.Doorway) error {
	key := doorHold{w.Publication, w.Six()}
	if _, held := d.held[key]; held {
		return nil
	}
	fd, err := bind(key)
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return fmt.Errorf("port %s of the node is taken by %s: publish another, or stop that", w.Publication, holders(key))
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return fmt.Errorf("port %s of the node: %s is none of its addresses", w.Publication, w.HostIP)
	case err != nil:
		return fmt.Errorf("port %s of the node: bind it: %w", w.Publication, err)
	}
	d.held[key] = fd
	return nil
}

// bind takes a port without listening on it. Without SO_REUSEADDR: with it, any program that says so could have it, too.
func bind(key doorHold) (int, error) {
	family, kind := unix.AF_INET, unix.SOCK_STREAM
	var at unix.Sockaddr
	if key.six {
		family = unix.AF_INET6
		six := &unix.SockaddrInet6{Port: int(key.HostPort)}
		if key.HostIP.IsValid() {
			six.Addr = key.HostIP.As16()
		}
		at = six
	} else {
		four := &unix.SockaddrInet4{Port: int(key.HostPort)}
		if key.HostIP.IsValid() {
			four.Addr = key.HostIP.As4()
		}
		at = four
	}
	if key.Proto == "udp" {
		kind = unix.SOCK_DGRAM
	}
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open a socket: %w", err)
	}
	if key.six { // IPv4 is held apart
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
	}
	if err == nil {
		err = unix.Bind(fd, at)
	}
	if err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

// Set makes the doorways exactly these, and gives other ports back.
func (d *Doors) Set(doors []topology.Doorway) error {
	stays := map[doorHold]bool{}
	var problems []error
	for _, w := range doors {
		stays[doorHold{w.Publication, w.Six()}] = true
		problems = append(problems, d.Hold(w))
	}
	for p, fd := range d.held {
		if !stays[p] {
			delete(d.held, p)
			problems = append(problems, unix.Close(fd))
		}
	}
	if len(doors) == 0 || !slices.Equal(d.laid, doors) {
		d.laid = nil
		err := d.lay(doors)
		if problems = append(problems, err); err == nil {
			d.laid = slices.Clone(doors)
		}
	}
	return errors.Join(problems...)
}

// lay leads, the node's own packets to 127.0.0.1 too: those leave by the container's link, which the kernel lets them
// only where a switch of the link says so, and that is safe only behind a rule that lets nothing in the other way.
func (d *Doors) lay(doors []topology.Doorway) error {
	four, six := families4and6(doors)
	local := map[string]bool{}
	for _, w := range four {
		if !w.HostIP.IsValid() || w.HostIP.IsUnspecified() || w.HostIP.IsLoopback() {
			local[w.Link] = true
		}
	}
	var problems []error
	wanted := len(six) > 0
	for i, path := range d.gate.dockersFirst() {
		if i == 0 {
			problems = append(problems, d.layBy(path, four, slices.Sorted(maps.Keys(local))))
		} else { // one program does it, and the other has nothing of ours
			problems, six = append(problems, d.clearBy(path)), nil
		}
		if d.six || len(six) > 0 {
			problems = append(problems, d.laySixBy(sister(path), six))
		}
	}
	err := errors.Join(problems...)
	d.six = wanted || err != nil
	return err
}

func families4and6(doors []topology.Doorway) (four, six []topology.Doorway) {
	for _, w := range doors {
		if w.Six() {
			six = append(six, w)
		} else {
			four = append(four, w)
		}
	}
	return four, six
}
