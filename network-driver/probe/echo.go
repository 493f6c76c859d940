package probe

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rolling-swarm/rolling/network-driver/liveness"
)

const (
	echoReply   = 0 // RFC 792
	echoRequest = 8
	echoHeader  = 8
	icmpFilter  = 1 // of linux/icmp.h: a set bit keeps that type from us
	// cookie tells our questions' answers from everybody else's.
	cookieBytes = 8
)

// asker is one raw socket. The answers come from the neighbours' kernels, whether or not a process of theirs has a CPU
// to run on, or runs at all.
type asker struct {
	conn   *net.IPConn
	raw    rawConn
	id     uint16
	cookie [cookieBytes]byte
	seq    uint16
	buffer [512]byte
}

// rawConn is the part of syscall.RawConn that reads.
type rawConn interface {
	Read(func(fd uintptr) bool) error
}

func openAsker(self netip.Addr) (*asker, error) {
	conn, err := net.ListenIP("ip4:icmp", &net.IPAddr{IP: self.AsSlice()})
	if err != nil {
		return nil, fmt.Errorf("ask neighbours' kernels from %s: %w: the plugin needs CAP_NET_RAW, and the address an interface", self, err)
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	a := &asker{conn: conn, raw: raw}
	var id [2]byte
	_, _ = rand.Read(id[:]) // never fails
	_, _ = rand.Read(a.cookie[:])
	a.id = binary.BigEndian.Uint16(id[:])
	others := ^(1 << echoReply)
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.SOL_RAW, icmpFilter, others) }); err != nil || failed != nil {
		return nil, errors.Join(fmt.Errorf("take only answers: %w", errors.Join(err, failed)), conn.Close())
	}
	return a, nil
}

// answers takes all that have come, without waiting: one that is late to look finds them all.
func (a *asker) answers(heard func(netip.Addr)) error {
	var failed error
	err := a.raw.Read(func(fd uintptr) bool {
		for {
			n, from, err := unix.Recvfrom(int(fd), a.buffer[:], unix.MSG_DONTWAIT)
			switch {
			case errors.Is(err, unix.EAGAIN):
				return true
			case errors.Is(err, unix.EINTR):
			case err != nil:
				failed = err
				return true
			default:
				if v4, ok := from.(*unix.SockaddrInet4); ok && a.ours(a.buffer[:n]) {
					heard(netip.AddrFrom4(v4.Addr))
				}
			}
		}
	})
	return errors.Join(err, failed)
}

// ours judges a packet with its IP header.
func (a *asker) ours(b []byte) bool {
	if len(b) < 1 {
		return false
	}
	header := int(b[0]&0x0f) * 4
	if len(b) < header+echoHeader+cookieBytes {
		return false
	}
	b = b[header:]
	return b[0] == echoReply && binary.BigEndian.Uint16(b[4:]) == a.id && [cookieBytes]byte(b[echoHeader:]) == a.cookie
}

// question sends one. That it cannot be sent is the same as that it is not answered.
func (a *asker) question(to netip.Addr) {
	b := make([]byte, echoHeader+cookieBytes)
	b[0] = echoRequest
	binary.BigEndian.PutUint16(b[4:], a.id)
	binary.BigEndian.PutUint16(b[6:], a.seq)
	copy(b[echoHeader:], a.cookie[:])
	binary.BigEndian.PutUint16(b[2:], checksum(b))
	_, _ = a.conn.WriteToIP(b, &net.IPAddr{IP: to.AsSlice()})
}

// checksum is RFC 1071's.
func checksum(b []byte) uint16 {
	sum := uint32(0)
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

// ask is one life of the socket.
func (p *Prober) ask(ctx context.Context, self netip.Addr, told func([]liveness.Verdict)) error {
	a, err := openAsker(self)
	if err != nil {
		return err
	}
	defer a.conn.Close() //nolint:errcheck // nothing is lost with it
	p.trouble("echo", nil)
	watch := liveness.NewWatch(p.settings.Echo)
	tick := time.NewTimer(0)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now, neighbours, _ := p.wanted()
		if now != self {
			return nil
		}
		watch.Follow(neighbours)
		if err := a.answers(watch.Heard); err != nil {
			return fmt.Errorf("read neighbours' answers: %w", err)
		}
		tick.Reset(p.settings.Echo.Every)
		if verdicts := watch.Tick(time.Now()); len(verdicts) > 0 {
			p.say(verdicts)
			told(verdicts)
		}
		a.seq++
		for _, n := range neighbours {
			a.question(n)
		}
		p.mu.Lock()
		p.echo = watch.Seen()
		p.mu.Unlock()
	}
}

func (p *Prober) say(verdicts []liveness.Verdict) {
	for _, v := range verdicts {
		if v.Alive {
			p.log.Info("a neighbour's kernel answers", "neighbour", v.Address)
		} else {
			p.log.Warn("a neighbour's kernel is silent", "neighbour", v.Address, "unanswered", v.Misses, "every", p.settings.Echo.Every)
		}
	}
}
