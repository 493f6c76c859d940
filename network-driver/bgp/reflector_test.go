package bgp

import (
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// figures of one run with all clients joining at once.
type figures struct {
	most, all, withdrawn time.Duration
	cpu                  time.Duration
	missing              int // of one client, when all had most
}

// reflect has clients join a reflector at once, each with its share of the routes, and waits until all have all.
func reflect(t testing.TB, clients, routes int) figures {
	t.Helper()
	reflector, port := netip.MustParseAddr("127.0.79.1"), freePort(t)
	var nodes []netip.Addr
	for i := range clients {
		nodes = append(nodes, netip.AddrFrom4([4]byte{127, 0, 78, byte(i + 1)}))
	}
	v := speak(t, reflector, port, func(s *Settings) { s.Hold = 90 * time.Second })
	v.speaker.Meet(reflector, topology.Neighbours(topology.Membership{Self: reflector, Manager: true, Nodes: nodes}, nil, testASN, port))
	each := routes / clients
	var all []*client
	for _, n := range nodes {
		all = append(all, dialReflector(t, n, reflector, port))
	}
	before, begun := cpu(t), time.Now()
	for i, c := range all {
		var own []netip.Addr
		for k := range each {
			own = append(own, netip.AddrFrom4([4]byte{10, 201, byte((i*each + k) / 250), byte((i*each+k)%250) + 1}))
		}
		go c.live(own) //nolint:errcheck // ends with the test; what is missing shows
	}
	worst := func(of []*client, want int) int {
		missing := 0
		for _, c := range of {
			missing = max(missing, want-c.holds())
		}
		return missing
	}
	var f figures
	want := each * (clients - 1)
	eventually(t, 2*time.Minute, func() error {
		missing := worst(all, want)
		if f.most == 0 && missing <= want/200 {
			f.most, f.missing = time.Since(begun), missing
		}
		if missing > 0 {
			return fmt.Errorf("%d routes are missing at a client", missing)
		}
		return nil
	})
	f.all, f.cpu = time.Since(begun), cpu(t)-before
	begun = time.Now()
	v.speaker.Meet(reflector, topology.Neighbours(topology.Membership{Self: reflector, Manager: true, Nodes: nodes[1:]}, nil, testASN, port))
	eventually(t, time.Minute, func() error {
		for _, c := range all[1:] {
			if got := c.holds(); got != want-each {
				return fmt.Errorf("%s holds %d", c.self, got)
			}
		}
		return nil
	})
	f.withdrawn = time.Since(begun)
	return f
}

// cpu is what this process has used: the reflector, and the little that the clients do.
func cpu(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func memory(t testing.TB) float64 {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	kb, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return float64(kb) / 1024
}

func TestAReflectorTellsAllToAll(t *testing.T) {
	f := reflect(t, 10, 1000)
	t.Logf("%+v", f)
}

// BenchmarkReflector is a Swarm of a hundred nodes with ten thousand containers whose one manager starts.
func BenchmarkReflector(b *testing.B) {
	for _, c := range []struct{ clients, routes int }{{20, 10000}, {100, 10000}} {
		b.Run(fmt.Sprintf("%dx%d", c.clients, c.routes), func(b *testing.B) {
			for range b.N {
				f := reflect(b, c.clients, c.routes)
				b.ReportMetric(f.most.Seconds(), "s/99.5%")
				b.ReportMetric(f.all.Seconds(), "s/all")
				b.ReportMetric(f.withdrawn.Seconds(), "s/withdrawal")
				b.ReportMetric(f.cpu.Seconds(), "cpu-s")
				b.ReportMetric(memory(b), "MB")
			}
		})
	}
}

func TestReflectorsDoNotKeepADeadNodesRoutesAliveForEachOther(t *testing.T) {
	for _, c := range []struct {
		name  string
		order []int // in which they meet
	}{
		{"the reflectors met each other first", []int{1, 2, 3}},
		{"the node was there before the second reflector", []int{1, 3, 2}},
		{"the node was there first", []int{3, 2, 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			port := freePort(t)
			all, members := map[int]*voice{}, map[int]topology.Membership{
				1: {Self: loop(1), Manager: true, Managers: []netip.Addr{loop(2)}, Nodes: []netip.Addr{loop(2), loop(3)}},
				2: {Self: loop(2), Manager: true, Managers: []netip.Addr{loop(1)}, Nodes: []netip.Addr{loop(1), loop(3)}},
				3: {Self: loop(3), Managers: []netip.Addr{loop(1), loop(2)}},
			}
			for k, i := range c.order {
				all[i] = speak(t, loop(i), port, nil)
				all[i].speaker.Announce(own(i, 3))
				all[i].speaker.Meet(loop(i), topology.Neighbours(members[i], nil, testASN, port))
				eventually(t, 20*time.Second, func() error {
					for _, j := range c.order[:k+1] {
						if got := all[j].held(); got != 3*k {
							return fmt.Errorf("%d of %d have met, and %s holds %d", k+1, len(c.order), loop(j), got)
						}
					}
					return nil
				})
			}
			all[3].stop()
			for _, i := range []int{1, 2} {
				m := members[i]
				m.Nodes = m.Nodes[:1]
				all[i].speaker.Meet(loop(i), topology.Neighbours(m, nil, testASN, port))
			}
			eventually(t, 10*time.Second, func() error {
				for _, i := range []int{1, 2} {
					if got := all[i].held(); got != 3 {
						return fmt.Errorf("%s holds %d routes", loop(i), got)
					}
				}
				return nil
			})
		})
	}
}
