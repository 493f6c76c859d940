package bgp

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/network-driver/fabric"
	"github.com/rolling-swarm/rolling/network-driver/liveness"
	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// voice is one speaker on a loopback address, and what it learnt.
type voice struct {
	self    netip.Addr
	speaker *Speaker
	stop    func()

	mu      sync.Mutex // guards learnt and settled
	learnt  topology.Learnt
	settled bool
	border  []netip.Prefix
}

func speak(t testing.TB, self netip.Addr, port int, edit func(*Settings)) *voice {
	t.Helper()
	s := Settings{ASN: 64512, Port: port, Hold: 9 * time.Second, MaxPrefixes: 20000}
	if edit != nil {
		edit(&s)
	}
	v := &voice{self: self, speaker: New(s, slog.New(slog.DiscardHandler)), learnt: topology.Learnt{}}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- v.speaker.Run(ctx, Told{
			Learn:  func(r []topology.Route) { v.mu.Lock(); defer v.mu.Unlock(); v.learnt.Take(r) },
			Border: func(p []netip.Prefix) { v.mu.Lock(); defer v.mu.Unlock(); v.border = p },
			Settle: func() { v.mu.Lock(); defer v.mu.Unlock(); v.settled = true },
		})
	}()
	v.stop = sync.OnceFunc(func() {
		v.speaker.Meet(netip.Addr{}, nil) // a clean end: in a process of many speakers no exit closes the sockets
		eventually(t, 10*time.Second, func() error {
			if n := len(v.sessions(t)); n > 0 {
				return fmt.Errorf("%s still has %d sessions", self, n)
			}
			return nil
		})
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(v.stop)
	return v
}

func (v *voice) sessions(t testing.TB) []Session {
	t.Helper()
	all, err := v.speaker.Sessions(context.Background())
	if err != nil {
		t.Error(err)
	}
	return all
}

func (v *voice) held() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.learnt)
}

func (v *voice) via(a netip.Addr) netip.Addr {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.learnt[netip.PrefixFrom(a, a.BitLen())]
}

func eventually(t testing.TB, within time.Duration, check func() error) {
	t.Helper()
	for deadline := time.Now().Add(within); ; time.Sleep(20 * time.Millisecond) {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %v", within, err)
		}
	}
}

// freePort is one that is free on all loopback addresses that a test uses, as far as one can tell.
func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func loop(i int) netip.Addr { return netip.AddrFrom4([4]byte{127, 0, 77, byte(i)}) }

func own(i, n int) []fabric.Announcement {
	var all []fabric.Announcement
	for k := range n {
		all = append(all, fabric.Announcement{Address: netip.AddrFrom4([4]byte{10, 201, byte(i), byte(k)}).Next()})
	}
	return all
}

func TestSpeakersLearnFromEachOtherByWayOfAReflector(t *testing.T) {
	port := freePort(t)
	const nodes, each = 4, 50
	var voices []*voice
	var clients []netip.Addr
	for i := 2; i <= nodes; i++ {
		clients = append(clients, loop(i))
	}
	for i := 1; i <= nodes; i++ {
		v := speak(t, loop(i), port, nil)
		m := topology.Membership{Self: loop(i), Managers: []netip.Addr{loop(1)}}
		if i == 1 {
			m = topology.Membership{Self: loop(1), Manager: true, Nodes: clients}
		}
		v.speaker.Announce(own(i, each))
		v.speaker.Meet(m.Self, topology.Neighbours(m, nil, 64512, port))
		voices = append(voices, v)
	}
	all := func(want int) {
		t.Helper()
		eventually(t, 30*time.Second, func() error {
			for _, v := range voices {
				if got := v.held(); got != want {
					return fmt.Errorf("%s holds %d routes, want %d", v.self, got, want)
				}
			}
			return nil
		})
	}
	all((nodes - 1) * each)
	if got := voices[3].via(own(2, 1)[0].Address); got != loop(2) {
		t.Errorf("the next hop is %s, want the node %s", got, loop(2))
	}
	eventually(t, 20*time.Second, func() error {
		for _, v := range voices {
			v.mu.Lock()
			settled := v.settled
			v.mu.Unlock()
			if !settled {
				return fmt.Errorf("%s has not settled", v.self)
			}
		}
		return nil
	})

	voices[1].speaker.Announce(own(2, each)[:10]) // 40 containers end
	eventually(t, 10*time.Second, func() error {
		if got := voices[3].held(); got != 2*each+10 {
			return fmt.Errorf("%d routes", got)
		}
		return nil
	})
	m := topology.Membership{Self: loop(1), Manager: true, Nodes: clients[1:]} // node 2 is removed from the Swarm
	voices[0].speaker.Meet(m.Self, topology.Neighbours(m, nil, 64512, port))
	eventually(t, 10*time.Second, func() error {
		if got := voices[3].held(); got != 2*each {
			return fmt.Errorf("%d routes", got)
		}
		return nil
	})
	for _, s := range voices[0].sessions(t) {
		if s.Address == loop(2) {
			t.Errorf("still a neighbour: %+v", s)
		}
	}
	time.Sleep(2 * time.Second) // it dials again, and is refused
	if got := voices[3].held(); got != 2*each {
		t.Errorf("after it dialled again %d routes", got)
	}
	voices[3].stop() // a node that leaves the Swarm forgets what it learnt
	if got := voices[3].held(); got != 0 {
		t.Errorf("after it left it holds %d", got)
	}
}

func TestAnAddressThatIsNotOnTheNodeYetIsTriedAgain(t *testing.T) {
	v := speak(t, netip.MustParseAddr("192.0.2.1"), freePort(t), nil)
	v.speaker.Meet(v.self, nil)
	time.Sleep(3 * beat)
	if len(v.sessions(t)) != 0 {
		t.Error("it speaks under an address that it has not")
	}
	v.speaker.Meet(loop(9), []topology.Neighbour{{Address: loop(10), ASN: 64512, Port: freePort(t)}})
	eventually(t, 10*time.Second, func() error {
		if s := v.sessions(t); len(s) != 1 || s[0].State == Established {
			return fmt.Errorf("sessions %+v", s)
		}
		return nil
	})
}

func TestSessionsWithSilentReflectorsAreEndedAndComeBack(t *testing.T) {
	port := freePort(t)
	members := []netip.Addr{loop(1), loop(2), loop(3), loop(4)}
	var voices []*voice
	for i := 1; i <= 4; i++ {
		v := speak(t, loop(i), port, nil)
		m := topology.Membership{Self: loop(i), Managers: []netip.Addr{loop(1), loop(2)}, Manager: i <= 2}
		if m.Manager {
			m.Nodes = members
		}
		v.speaker.Announce(own(i, 10))
		v.speaker.Meet(m.Self, topology.Neighbours(m, nil, 64512, port))
		voices = append(voices, v)
	}
	holds := func(i, want int) {
		t.Helper()
		eventually(t, 20*time.Second, func() error {
			if got := voices[i-1].held(); got != want {
				return fmt.Errorf("%s holds %d routes, want %d", loop(i), got, want)
			}
			return nil
		})
	}
	for i := 1; i <= 4; i++ {
		holds(i, 30)
	}
	silent := func(who int, about ...int) {
		var all []liveness.Verdict
		for _, a := range about {
			all = append(all, liveness.Verdict{Address: loop(a), Misses: 4})
		}
		voices[who-1].speaker.Judge(all)
	}
	established := func() error {
		for _, s := range voices[3].sessions(t) {
			if s.State != Established {
				return fmt.Errorf("%+v", s)
			}
		}
		return nil
	}
	eventually(t, 20*time.Second, established)
	silent(4, 1, 2) // so it seems to it; both live
	eventually(t, 10*time.Second, func() error {
		s := voices[3].speaker.Standing()
		if s.Lost != 2 {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	holds(4, 30)
	eventually(t, 10*time.Second, func() error {
		if s := voices[3].speaker.Standing(); s.Kept != 0 {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	eventually(t, 20*time.Second, func() error {
		for _, s := range voices[3].sessions(t) {
			if s.State != Established || s.Flaps != 1 || s.Silent {
				return fmt.Errorf("%+v", s)
			}
		}
		return nil
	})
}
