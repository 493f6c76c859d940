package pair

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rolling-swarm/rolling/lab/namespace"
)

const (
	// window UDP packets are answered by one; inFlight windows are sent ahead of their answers. All of them fit into the
	// least receive buffer that a socket has (212,992 bytes hold 277 small packets): nothing is lost that the path keeps.
	window   = 64
	inFlight = 3
	// packetSize is a DNS question's.
	packetSize = 64
	// lostWithin: an answer that takes so long will not come.
	lostWithin = 100 * time.Millisecond
)

// socket is a blocking one: neither poller nor deadline stands between the tool and what is measured.
func socket(kind int, to netip.AddrPort, within time.Duration) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	wait := unix.NsecToTimeval(within.Nanoseconds())
	err = errors.Join(unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait), unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &wait))
	if err == nil {
		err = unix.Connect(fd, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())})
	}
	if err != nil {
		_ = unix.Close(fd) // why it cannot be used is the error to tell
		return -1, err
	}
	return fd, nil
}

// connPiece makes connections one after the other, each for one question and its answer: how many a second.
func connPiece(m Mode, conns int) (rate float64, err error) {
	to, err := netip.ParseAddrPort(m.Dial)
	if err != nil {
		return 0, err
	}
	err = namespace.Do(m.Client, func() error {
		begun := time.Now()
		for range conns {
			if err := question(to); err != nil {
				return err
			}
		}
		rate = float64(conns) / time.Since(begun).Seconds()
		return nil
	})
	return rate, err
}

func question(to netip.AddrPort) error {
	fd, err := socket(unix.SOCK_STREAM, to, stallWithin)
	if err != nil {
		return err
	}
	defer unix.Close(fd) //nolint:errcheck // answered
	var head [headSize]byte
	head[0] = ping
	if _, err := unix.Write(fd, head[:]); err != nil {
		return err
	}
	for got := 0; got < headSize; {
		n, err := unix.Read(fd, head[got:])
		if err == nil && n == 0 {
			err = errors.New("closed before the answer")
		}
		if err != nil {
			return err
		}
		got += n
	}
	return nil
}

// packetPiece sends small UDP packets: how many a second arrived. The last of a window asks how many came.
func packetPiece(m Mode, packets int) (rate float64, err error) {
	to, err := netip.ParseAddrPort(m.Dial)
	if err != nil {
		return 0, err
	}
	err = namespace.Do(m.Client, func() error {
		fd, err := socket(unix.SOCK_DGRAM, to, lostWithin)
		if err != nil {
			return err
		}
		defer unix.Close(fd) //nolint:errcheck // nothing is kept in it
		begun, came := time.Now(), 0
		windows := max(packets/window, 1)
		for w := range windows + inFlight {
			if w < windows {
				if err := sendWindow(fd); err != nil {
					return err
				}
			}
			if w >= inFlight {
				n, err := arrived(fd)
				if err != nil {
					return err
				}
				came += n
			}
		}
		if came == 0 {
			return fmt.Errorf("none of %d packets to %s was answered", windows*window, to)
		}
		rate = float64(came) / time.Since(begun).Seconds()
		return nil
	})
	return rate, err
}

func sendWindow(fd int) error {
	var p [packetSize]byte
	for k := range window {
		if k == window-1 {
			p[0] = ping
		}
		if _, err := unix.Write(fd, p[:]); err != nil {
			return err
		}
	}
	return nil
}

// arrived is what the server says of a window; 0 if the question or the answer was lost.
func arrived(fd int) (int, error) {
	var p [packetSize]byte
	_, err := unix.Read(fd, p[:])
	if errors.Is(err, unix.EAGAIN) {
		return 0, nil
	}
	return int(binary.BigEndian.Uint32(p[:])), err
}

// answerPackets counts, and tells the count since the last time when it is asked.
func answerPackets(fd int) error {
	var p [packetSize]byte
	count := uint32(0)
	for {
		n, from, err := unix.Recvfrom(fd, p[:], 0)
		if err != nil {
			return err
		}
		count++
		if n == 0 || p[0] != ping {
			continue
		}
		binary.BigEndian.PutUint32(p[:], count)
		count = 0
		if err := unix.Sendto(fd, p[:], 0, from); err != nil {
			return err
		}
	}
}
