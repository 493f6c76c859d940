//go:build lab

package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rolling-swarm/rolling/network-driver/lan"
)

// question is one cell of the matrix: whether somebody answers there.
type question struct {
	what     string
	at       netip.AddrPort // port 0: an echo of ICMP
	udp      bool
	want     bool
	fd       int
	said     bool // TCP: the line was sent
	answered bool
}

const (
	// patience of a question that wants an answer; one that wants none is given up as soon as all others have theirs, but
	// not before silence.
	patience = 15 * time.Second
	silence  = 500 * time.Millisecond
	againAt  = 300 * time.Millisecond // datagrams get lost while neighbours are looked for
)

// ask puts all questions from one namespace at the same time, and tells those that came out otherwise than wanted.
func ask(s lan.Space, all []*question) (wrong []string) {
	s.Do(func() error {
		for _, q := range all {
			if err := q.open(); err != nil {
				return fmt.Errorf("%s: %w", q.what, err)
			}
		}
		return nil
	})
	defer func() {
		for _, q := range all {
			_ = unix.Close(q.fd)
		}
	}()
	begun, sent := time.Now(), time.Time{}
	for {
		if time.Since(sent) > againAt {
			sent = time.Now()
			for _, q := range all {
				q.send()
			}
		}
		waits, polls := 0, []unix.PollFd{}
		var open []*question
		for _, q := range all {
			if q.answered || q.fd < 0 {
				continue
			}
			if q.want {
				waits++
			}
			events := int16(unix.POLLIN)
			if q.tcp() && !q.said {
				events = unix.POLLOUT
			}
			polls, open = append(polls, unix.PollFd{Fd: int32(q.fd), Events: events}), append(open, q)
		}
		if past := time.Since(begun); past > patience || waits == 0 && past > silence {
			break
		}
		_, _ = unix.Poll(polls, 50)
		for i, p := range polls {
			if p.Revents != 0 {
				open[i].ready()
			}
		}
	}
	for _, q := range all {
		if q.answered != q.want {
			wrong = append(wrong, fmt.Sprintf("%s: answered %t, want %t", q.what, q.answered, q.want))
		}
	}
	return wrong
}

func (q *question) tcp() bool { return !q.udp && q.at.Port() != 0 }

func (q *question) open() (err error) {
	family, kind, protocol := unix.AF_INET, unix.SOCK_STREAM, 0
	if q.at.Addr().Is6() {
		family = unix.AF_INET6
	}
	if q.udp || q.at.Port() == 0 {
		kind = unix.SOCK_DGRAM
	}
	if q.at.Port() == 0 {
		if protocol = unix.IPPROTO_ICMP; family == unix.AF_INET6 {
			protocol = unix.IPPROTO_ICMPV6
		}
	}
	if q.fd, err = unix.Socket(family, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, protocol); err != nil {
		return err
	}
	var to unix.Sockaddr = &unix.SockaddrInet6{Port: int(q.at.Port()), Addr: q.at.Addr().As16()}
	if family == unix.AF_INET {
		to = &unix.SockaddrInet4{Port: int(q.at.Port()), Addr: q.at.Addr().As4()}
	}
	if err := unix.Connect(q.fd, to); err != nil && err != unix.EINPROGRESS && err != unix.ENETUNREACH && err != unix.EHOSTUNREACH {
		return err
	}
	return nil
}

// send is a datagram or an echo request; a connection has its line sent once.
func (q *question) send() {
	if q.answered || q.tcp() {
		return
	}
	text := []byte("hello")
	if q.at.Port() == 0 {
		text = make([]byte, 16)
		if text[0] = 8; q.at.Addr().Is6() {
			text[0] = 128
		}
		binary.BigEndian.PutUint16(text[6:], 1)
	}
	_, _ = unix.Write(q.fd, text) // an answer is waited for
}

func (q *question) ready() {
	if q.tcp() && !q.said {
		if code, err := unix.GetsockoptInt(q.fd, unix.SOL_SOCKET, unix.SO_ERROR); err != nil || code != 0 {
			_ = unix.Close(q.fd)
			q.fd = -1
			return
		}
		_, _ = unix.Write(q.fd, []byte("hello"))
		q.said = true
		return
	}
	n, err := unix.Read(q.fd, make([]byte, 64))
	if q.answered = err == nil && n > 0; q.tcp() && !q.answered {
		_ = unix.Close(q.fd)
		q.fd = -1
	}
}

// answers on two ports of TCP and UDP, of both families, with what it was sent.
func answers(t *testing.T, s lan.Space) {
	t.Helper()
	s.Set("net/ipv4/ping_group_range", "0 2147483647")
	for _, port := range []string{":8080", ":9090"} {
		var tcp net.Listener
		var udp net.PacketConn
		s.Do(func() (err error) {
			if tcp, err = net.Listen("tcp", port); err == nil {
				udp, err = net.ListenPacket("udp", port)
			}
			return err
		})
		t.Cleanup(func() { tcp.Close(); udp.Close() })
		go func() {
			for {
				c, err := tcp.Accept()
				if err != nil {
					return
				}
				go func() {
					_, _ = io.Copy(c, c)
					c.Close()
				}()
			}
		}()
		go func() {
			for b := make([]byte, 64); ; {
				n, from, err := udp.ReadFrom(b)
				if err != nil {
					return
				}
				_, _ = udp.WriteTo(b[:n], from)
			}
		}()
	}
}
