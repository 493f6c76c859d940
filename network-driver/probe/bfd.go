package probe

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rolling-swarm/rolling/network-driver/liveness"
)

const (
	// RFC 5881: packets of a single hop leave with TTL 255, arrive with it, and come from these ports.
	wholeTTL   = 255
	firstPort  = 49152
	ports      = 65536 - firstPort
	portsTried = 20
	// idle: how often a loop without anything due looks whom to speak with.
	idle = time.Second
	// backlog of the router's packets that wait while this process stands still.
	largest = 256
)

// talk is one session and the socket that it sends by.
type talk struct {
	session *liveness.Session
	conn    *net.UDPConn
	was     liveness.State
}

// listener takes the packets of all routers.
type listener struct {
	conn   *net.UDPConn
	raw    rawConn
	buffer [largest]byte
	oob    [64]byte
}

func openListener(ctx context.Context, self netip.Addr, port int) (*listener, error) {
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_RECVTTL, 1) })
		return errors.Join(err, failed)
	}}
	packets, err := config.ListenPacket(ctx, "udp4", netip.AddrPortFrom(self, uint16(port)).String())
	if err != nil {
		return nil, fmt.Errorf("BFD on %s: %w: is another BFD daemon on this node?", self, err)
	}
	conn := packets.(*net.UDPConn) //nolint:forcetypeassert // udp4 is one
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return &listener{conn: conn, raw: raw}, nil
}

// take reads all that has come. It waits for the first until the deadline, if there is one.
func (l *listener) take(until time.Time, got func(netip.Addr, liveness.Packet)) error {
	if err := l.conn.SetReadDeadline(until); err != nil {
		return err
	}
	var failed error
	err := l.raw.Read(func(fd uintptr) bool {
		any := until.IsZero()
		for {
			n, oobn, _, from, err := unix.Recvmsg(int(fd), l.buffer[:], l.oob[:], unix.MSG_DONTWAIT)
			switch {
			case errors.Is(err, unix.EAGAIN):
				return any
			case errors.Is(err, unix.EINTR):
			case err != nil:
				failed = err
				return true
			default:
				any = true
				v4, ok := from.(*unix.SockaddrInet4)
				if !ok || ttl(l.oob[:oobn]) != wholeTTL {
					continue
				}
				if p, err := liveness.ParsePacket(l.buffer[:n]); err == nil {
					got(netip.AddrFrom4(v4.Addr), p)
				}
			}
		}
	})
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = nil
	}
	return errors.Join(err, failed)
}

func ttl(oob []byte) int {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return 0
	}
	for _, m := range messages {
		if m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_TTL && len(m.Data) >= 4 {
			return int(binary.NativeEndian.Uint32(m.Data))
		}
	}
	return 0
}

// dial finds a free port of those that BFD sends from.
func dial(self, router netip.Addr, port int) (*net.UDPConn, error) {
	dialer := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) {
			failed = errors.Join(unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TTL, wholeTTL),
				unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TOS, 0xc0)) // network control, as BGP
		})
		return errors.Join(err, failed)
	}}
	var err error
	for range portsTried {
		dialer.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(self, uint16(firstPort+mathrand.IntN(ports))))
		var conn net.Conn
		if conn, err = dialer.Dial("udp4", netip.AddrPortFrom(router, uint16(port)).String()); err == nil {
			return conn.(*net.UDPConn), nil //nolint:forcetypeassert // udp4 is one
		}
	}
	return nil, fmt.Errorf("BFD with router %s: %w", router, err)
}

// speak is one life of the sockets. Without routers there are none: a BFD daemon of the site may have the port.
func (p *Prober) speak(ctx context.Context, self netip.Addr) error {
	if _, _, routers := p.wanted(); len(routers) == 0 {
		p.show(nil)
		return p.await(ctx)
	}
	l, err := openListener(ctx, self, p.settings.BFDPort)
	if err != nil {
		return err
	}
	p.trouble("bfd", nil)
	talks := map[netip.Addr]*talk{}
	defer func() {
		for _, t := range talks {
			t.end()
		}
		_ = l.conn.Close()
	}()
	for ctx.Err() == nil {
		now, _, routers := p.wanted()
		if now != self || len(routers) == 0 {
			return nil
		}
		if err := p.follow(talks, self, routers); err != nil {
			return err
		}
		next := p.turn(talks, time.Now())
		if err := l.take(next, func(from netip.Addr, packet liveness.Packet) { p.hear(talks[from], packet) }); err != nil {
			return fmt.Errorf("read BFD packets: %w", err)
		}
		// One that woke late has packets before it that say that the routers are well.
		if err := l.take(time.Time{}, func(from netip.Addr, packet liveness.Packet) { p.hear(talks[from], packet) }); err != nil {
			return fmt.Errorf("read BFD packets: %w", err)
		}
	}
	return nil
}

// await waits for routers.
func (p *Prober) await(ctx context.Context) error {
	select {
	case <-ctx.Done():
	case <-p.turned:
	}
	return nil
}

func (p *Prober) follow(talks map[netip.Addr]*talk, self netip.Addr, routers []netip.Addr) error {
	for a, t := range talks {
		if !slices.Contains(routers, a) {
			t.end()
			delete(talks, a)
		}
	}
	for _, a := range routers {
		if talks[a] != nil {
			continue
		}
		conn, err := dial(self, a, p.settings.BFDPort)
		if err != nil {
			return err
		}
		talks[a] = &talk{session: liveness.NewSession(discriminator(), p.settings.BFD, p.settings.Multiplier), conn: conn}
	}
	return nil
}

// discriminator is random: the chance that two of a node's few routers get the same one is nil, and 0 is forbidden.
func discriminator() uint32 {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.BigEndian.Uint32(b[:]) | 1
}

// turn sends what is due, and says when to come again.
func (p *Prober) turn(talks map[netip.Addr]*talk, now time.Time) time.Time {
	next := now.Add(idle)
	var all []Routers
	for a, t := range talks {
		if packet, due := t.session.Tick(now, mathrand.Float64()); due {
			t.send(packet)
		}
		if is := t.session.State(); is != t.was {
			p.log.Info("BFD with a router", "router", a, "state", is, "was", t.was)
			t.was = is
		}
		if due := t.session.Due(); due.Before(next) && due.After(now) {
			next = due
		}
		if end, waits := t.session.Expires(); waits && end.Before(next) {
			next = end.Add(time.Millisecond)
		}
		all = append(all, Routers{Address: a, State: t.session.State().String(), Downs: t.session.Downs()})
	}
	p.show(all)
	return next
}

func (p *Prober) show(all []Routers) {
	slices.SortFunc(all, func(a, b Routers) int { return a.Address.Compare(b.Address) })
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bfd = all
}

func (p *Prober) hear(t *talk, packet liveness.Packet) {
	if t == nil {
		return
	}
	if answer, polled := t.session.Receive(packet, time.Now()); polled {
		t.send(answer)
	}
}

// send drops what cannot be sent: the router will see the silence, which is what BFD is for.
func (t *talk) send(p liveness.Packet) { _, _ = t.conn.Write(p.Bytes()) }

func (t *talk) end() {
	t.send(t.session.Farewell())
	_ = t.conn.Close()
}
