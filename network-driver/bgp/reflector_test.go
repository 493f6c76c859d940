package bgp

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// figures of one run with all clients joining at once: times, and what the reflector's process alone used.
type figures struct {
	most, all, withdrawn time.Duration
	cpu                  time.Duration
	peak, rest           float64 // MB, and what is kept of it
}

// reflect has clients join a reflector at once, each with its share of the routes, and waits until all have all. The
// clients are another process: what this one uses is the reflector's.
func reflect(t testing.TB, clients, routes int) (f figures) {
	t.Helper()
	j := herd{Reflector: netip.MustParseAddr("127.0.79.1"), Port: freePort(t), Clients: clients, Each: routes / clients}
	nodes := j.nodes()
	v := speak(t, j.Reflector, j.Port, func(s *Settings) { s.Hold = 90 * time.Second })
	meet := func(nodes []netip.Addr) {
		v.speaker.Meet(j.Reflector, topology.Neighbours(topology.Membership{Self: j.Reflector, Manager: true, Nodes: nodes}, nil, testASN, j.Port))
	}
	meet(nodes)
	said, goOn := startHerd(t, j)
	await := func(word string) time.Time {
		t.Helper()
		if !said.Scan() || said.Text() != word {
			t.Fatalf("the clients said %q, %v, want %q", said.Text(), said.Err(), word)
		}
		return time.Now()
	}
	await("open")
	forgetPeak(t)
	before, begun := cpu(t), time.Now()
	goOn()
	f.most = await("most").Sub(begun)
	f.all = await("all").Sub(begun)
	f.cpu, f.peak = cpu(t)-before, memory(t, "VmHWM")
	debug.FreeOSMemory()
	f.rest = memory(t, "VmRSS")
	begun = time.Now()
	meet(nodes[1:])
	f.withdrawn = await("withdrawn").Sub(begun)
	return f
}

// startHerd starts the clients' process, which ends with the test.
func startHerd(t testing.TB, j herd) (said *bufio.Scanner, goOn func()) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Env = append(os.Environ(), asHerd+"="+j.String())
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return bufio.NewScanner(out), func() { _ = in.Close() }
}

// cpu is what this process has used.
func cpu(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// forgetPeak has the kernel count the peak of this process's memory from here on.
func forgetPeak(t testing.TB) {
	t.Helper()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		t.Fatal(err)
	}
}

// memory is VmRSS or VmHWM of this process, in MB.
func memory(t testing.TB, of string) float64 {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), of+":")
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
				b.ReportMetric(f.peak, "MB-peak")
				b.ReportMetric(f.rest, "MB-rest")
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
