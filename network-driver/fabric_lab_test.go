//go:build lab

package main

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/network-driver/bgp"
	"github.com/rolling-swarm/rolling/network-driver/lan"
)

// mesh is a Swarm's nodes, each with the plugin and one container, whose engines say what the test wants.
type mesh struct {
	t     *testing.T
	lan   *lan.LAN
	nodes []*rig
	all   []member
}

func nodeAddress(i int) string      { return fmt.Sprintf("10.98.0.%d", 20+i) }
func containerAddress(i int) string { return fmt.Sprintf("10.210.%d.7", i) }

// newFabric starts the nodes: the first managers are managers.
func newFabric(t *testing.T, managers, workers int, extra ...string) *mesh {
	t.Helper()
	f := layFabric(t, managers, workers, extra...)
	f.start()
	return f
}

// layFabric is newFabric before the start.
func layFabric(t *testing.T, managers, workers int, extra ...string) *mesh {
	t.Helper()
	f := &mesh{t: t, lan: lan.NewLAN(t)}
	for i := 1; i <= managers+workers; i++ {
		f.all = append(f.all, member{nodeAddress(i), i <= managers})
	}
	for i := 1; i <= managers+workers; i++ {
		s := f.lan.Node(fmt.Sprintf("n%d", i), nodeAddress(i)+"/24")
		s.Set("net/ipv4/ip_forward", "1")
		usedChains(s)
		r := newRig(t, s, append([]string{"ROLLING_BGP_HOLD=3s"}, extra...)...)
		f.nodes = append(f.nodes, r)
	}
	f.tell()
	return f
}

// start starts all plugins, and a container on each node.
func (f *mesh) start() {
	f.t.Helper()
	for i, r := range f.nodes {
		r.start()
		r.createNetwork(net1, "10.210.0.0/16", "169.254.1.1/32")
		r.container(endpointID(i+1), net1, containerAddress(i+1), fmt.Sprintf("c%d", i+1), 0)
	}
}

// password lays a file that settings name on every node.
func (f *mesh) password(name, key string) {
	f.t.Helper()
	for _, r := range f.nodes {
		folder := filepath.Join(r.folder, "state", "passwords")
		if err := os.MkdirAll(folder, 0o700); err != nil {
			f.t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, name), []byte(key+"\n"), 0o600); err != nil {
			f.t.Fatal(err)
		}
	}
}

func (f *mesh) tell() {
	for i, r := range f.nodes {
		r.engine.swarm(nodeAddress(i+1), f.all...)
	}
}

// roads are a node's routes to other nodes' containers, sorted, a line each.
func roads(s lan.Space) string {
	var lines []string
	for _, l := range strings.Split(s.Must("ip -4 route show proto 82"), "\n") {
		if f := strings.Fields(l); len(f) > 2 && f[1] == "via" {
			lines = append(lines, f[0]+" via "+f[2])
		}
	}
	return strings.Join(lines, "\n")
}

// agree waits until every node routes to every other's container by way of that node.
func (f *mesh) agree(within time.Duration, present ...int) time.Duration {
	f.t.Helper()
	return lan.Eventually(f.t, within, "all nodes have all routes", func() error {
		for _, i := range present {
			var want []string
			for _, j := range present {
				if i != j {
					want = append(want, containerAddress(j)+" via "+nodeAddress(j))
				}
			}
			if got := roads(f.nodes[i-1].space); got != strings.Join(want, "\n") {
				return fmt.Errorf("n%d has %q, want %q", i, got, want)
			}
		}
		return nil
	})
}

// monitor writes down every change of a namespace's routes.
func monitor(t *testing.T, s lan.Space) (stop func() string) {
	t.Helper()
	out := &lockedBuffer{}
	c := exec.Command("nsenter", "--net=/run/netns/"+s.Name, "--", "ip", "monitor", "route")
	c.Stdout = out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	done := false
	stop = func() string {
		if !done {
			done = true
			_ = c.Process.Kill()
			_ = c.Wait()
		}
		return out.String()
	}
	t.Cleanup(func() { stop() })
	return stop
}

func TestEveryNodeLearnsEveryContainer(t *testing.T) {
	t.Parallel()
	f := newFabric(t, 3, 1)
	took := f.agree(20*time.Second, 1, 2, 3, 4)
	t.Logf("all routes %v after the last container", took.Round(10*time.Millisecond))
	for i, n := range f.nodes {
		n.space.Must(fmt.Sprintf("busybox ping -c 1 -W 2 %s", containerAddress((i+1)%4+1)))
	}
	lan.Eventually(t, 10*time.Second, "the worker's sessions with all managers are up", func() error {
		for _, s := range f.nodes[3].state().Neighbours {
			if s.State != bgp.Established || !s.Passive || s.Client {
				return fmt.Errorf("session with %s: %+v", s.Address, s)
			}
		}
		return nil
	})
}

func TestAKilledPluginComesBackWithoutALostRoute(t *testing.T) {
	t.Parallel()
	f := newFabric(t, 3, 1)
	f.agree(20*time.Second, 1, 2, 3, 4)
	time.Sleep(6 * time.Second) // let the repair after the burst of joins pass: it is not what is watched here
	for _, c := range []struct {
		name  string
		node  int
		watch time.Duration // a reflector sends all again when its deferral is over: that must cost nothing either
	}{{"a worker's", 4, 2 * time.Second}, {"a reflector's", 1, 14 * time.Second}} {
		var watches []func() string
		for _, n := range f.nodes {
			watches = append(watches, monitor(t, n.space))
		}
		r := f.nodes[c.node-1]
		r.kill()
		time.Sleep(3 * time.Second)
		r.start()
		took := lan.Eventually(t, 30*time.Second, "its sessions are back", func() error {
			for _, s := range r.state().Neighbours {
				if s.State != bgp.Established || !s.Heard {
					return fmt.Errorf("session with %s is %s", s.Address, s.State)
				}
			}
			if !r.state().Settled {
				return fmt.Errorf("not settled")
			}
			return nil
		})
		time.Sleep(c.watch)
		for i, stop := range watches {
			if changes := stop(); strings.Contains(changes, "Deleted") {
				t.Errorf("%s restart: n%d lost routes:\n%s", c.name, i+1, changes)
			}
		}
		f.agree(time.Second, 1, 2, 3, 4)
		t.Logf("%s sessions all back %v after its start", c.name, took.Round(10*time.Millisecond))
	}
}

func TestTheRoutesOfADeadNodeAreWithdrawn(t *testing.T) {
	t.Parallel()
	f := newFabric(t, 3, 1)
	f.agree(20*time.Second, 1, 2, 3, 4)
	f.nodes[0].space.Must("ip link set eth0 down") // its cable is cut
	took := f.agree(goneWithin, 2, 3, 4)
	t.Logf("withdrawn after %v", took.Round(10*time.Millisecond))
	f.nodes[0].space.Must("ip link set eth0 up")
	took = f.agree(40*time.Second, 1, 2, 3, 4)
	t.Logf("back after %v", took.Round(10*time.Millisecond))
}

// goneWithin is ten times the goal, since two CPUs carry all nodes of all tests here; the hold and the restart time
// together are more than twice as much.
const goneWithin = 10 * time.Second

func TestANodeWhoseProcessHangsIsNotTakenForADeadOne(t *testing.T) {
	t.Parallel()
	f := newFabric(t, 1, 2, "ROLLING_BGP_HOLD=30s")
	f.agree(20*time.Second, 1, 2, 3)
	watch := monitor(t, f.nodes[0].space)
	r := f.nodes[2]
	if err := r.proc.Process.Signal(syscall.SIGSTOP); err != nil { // it gets no CPU at all
		t.Fatal(err)
	}
	time.Sleep(4 * time.Second)
	if err := r.proc.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Second)
	if changes := watch(); strings.Contains(changes, "Deleted") {
		t.Errorf("routes were lost:\n%s", changes)
	}
	for _, n := range f.nodes {
		if s := n.state(); s.Fabric.Lost != 0 {
			t.Errorf("%s ended %d sessions: %+v", n.space.Name, s.Fabric.Lost, s.Probes)
		}
	}
}

func TestANodeThatLosesItsPowerAfterItsProcessDiedIsForgottenAtOnce(t *testing.T) {
	t.Parallel()
	f := newFabric(t, 2, 1)
	f.agree(20*time.Second, 1, 2, 3)
	f.nodes[2].kill()
	time.Sleep(time.Second)
	for i := range 2 {
		if got := roads(f.nodes[i].space); !strings.Contains(got, containerAddress(3)) {
			t.Fatalf("n%d lost the routes of a node whose kernel forwards: %q", i+1, got)
		}
	}
	f.nodes[2].space.Must("ip link set eth0 down")
	took := f.agree(goneWithin, 1, 2)
	t.Logf("withdrawn after %v", took.Round(10*time.Millisecond))
	f.nodes[2].space.Must("ip link set eth0 up")
	f.nodes[2].start()
	f.agree(20*time.Second, 1, 2, 3)
}

func TestWithAllManagersLostNodesForwardByWhatTheyKnow(t *testing.T) {
	t.Parallel()
	f := newFabric(t, 2, 2)
	f.agree(20*time.Second, 1, 2, 3, 4)
	for i := range 2 {
		f.nodes[i].space.Must("ip link set eth0 down")
	}
	f.agree(goneWithin, 3, 4) // not to the managers' containers, but to each other's
	time.Sleep(2 * time.Second)
	f.agree(time.Second, 3, 4)
	f.nodes[3].space.Must("busybox ping -c 1 -W 2 " + containerAddress(3))
	if got := f.nodes[3].state().Fabric.Kept; got != 1 {
		t.Errorf("n4 keeps %d routes, want 1", got)
	}
	for i := range 2 {
		f.nodes[i].space.Must("ip link set eth0 up")
	}
	f.agree(30*time.Second, 1, 2, 3, 4)
	if got := f.nodes[3].state().Fabric.Kept; got != 0 {
		t.Errorf("n4 still keeps %d routes that are told again", got)
	}
}

func TestSessionsFollowTheSwarm(t *testing.T) {
	t.Parallel()
	f := newFabric(t, 1, 2)
	f.agree(20*time.Second, 1, 2, 3)
	time.Sleep(6 * time.Second)
	watch := monitor(t, f.nodes[2].space)
	f.all[1].manager = true // a promotion
	f.tell()
	lan.Eventually(t, 10*time.Second, "n3 peers with the new manager", func() error {
		for _, s := range f.nodes[2].state().Neighbours {
			if s.Address == netip.MustParseAddr(nodeAddress(2)) && s.State == bgp.Established {
				return nil
			}
		}
		return fmt.Errorf("neighbours: %+v", f.nodes[2].state().Neighbours)
	})
	time.Sleep(2 * time.Second)
	if changes := watch(); strings.Contains(changes, "Deleted") {
		t.Errorf("the promotion cost routes:\n%s", changes)
	}
	f.all = f.all[:2] // n3 is removed from the Swarm
	for i := range 2 {
		f.nodes[i].engine.swarm(nodeAddress(i+1), f.all...)
	}
	f.agree(10*time.Second, 1, 2)
	for _, n := range f.nodes {
		n.engine.setDeaf(true)
	}
	time.Sleep(5 * time.Second)
	f.agree(time.Second, 1, 2) // an engine that does not answer changes nothing
	f.nodes[1].kill()
	f.nodes[1].start()
	f.agree(30*time.Second, 1, 2) // whom it peered with is on its disk
}

func TestAStrangerIsRefused(t *testing.T) {
	t.Parallel()
	f := newFabric(t, 1, 1)
	f.agree(20*time.Second, 1, 2)
	stranger := newRig(t, f.lan.Node("n9", "10.98.0.29/24"), "ROLLING_BGP_HOLD=3s")
	stranger.engine.swarm("10.98.0.29", member{nodeAddress(1), true}, member{"10.98.0.29", false}) // it believes to be a member
	stranger.start()
	stranger.createNetwork(net1, "10.210.0.0/16", "169.254.1.1/32")
	stranger.container(endpointID(9), net1, "10.210.9.7", "c9", 0)
	time.Sleep(6 * time.Second)
	f.agree(time.Second, 1, 2)
	if got := roads(stranger.space); got != "" {
		t.Errorf("the stranger learnt %q", got)
	}
}

func TestAMemberThatLiesIsNotBelieved(t *testing.T) {
	t.Parallel()
	f := newFabric(t, 1, 2, "ROLLING_POOLS=10.210.0.0/16", "ROLLING_BGP_MAX_PREFIXES=40")
	f.all = append(f.all, member{"10.98.0.28", false}, member{"10.98.0.29", false})
	f.tell()
	for i, lies := range map[int]string{
		28: "route 0.0.0.0/0 blackhole; route 10.210.0.0/16 blackhole; route 10.210.9.0/24 blackhole; route 10.98.0.22/32 blackhole; route 10.77.0.1/32 blackhole; route 10.210.9.9/32 blackhole;",
		29: strings.Join(many(60, "route 10.210.8.%d/32 blackhole;"), " "),
	} {
		show := bird(t, f.lan.Node(fmt.Sprintf("n%d", i), fmt.Sprintf("10.98.0.%d/24", i)), fmt.Sprintf(`router id 10.98.0.%d;
protocol device { }
protocol direct { ipv4; interface "eth0"; }
protocol static { ipv4; %s }
protocol bgp rr1 {
  local 10.98.0.%d as 64512; neighbor 10.98.0.21 port 1790 as 64512; hold time 9; connect retry time 1; connect delay time 1; error wait time 1, 2;
  ipv4 { import none; export all; next hop self; };
}
`, i, lies, i))
		t.Cleanup(func() {
			if t.Failed() {
				t.Log(show("show protocols all rr1"))
			}
		})
	}
	honest := []string{"10.210.1.7 via 10.98.0.21", "10.210.2.7 via 10.98.0.22", "10.210.3.7 via 10.98.0.23"}
	lan.Eventually(t, 20*time.Second, "the one true word of the liar is believed", func() error {
		for i := range 3 {
			want := strings.Join(append(append(append([]string(nil), honest[:i]...), honest[i+1:]...), "10.210.9.9 via 10.98.0.28"), "\n")
			if got := roads(f.nodes[i].space); got != want {
				return fmt.Errorf("n%d has %q, want %q", i+1, got, want)
			}
		}
		return nil
	})
	lan.Eventually(t, 20*time.Second, "the shouter is cut off", func() error {
		for _, s := range f.nodes[0].state().Neighbours {
			if s.Address == netip.MustParseAddr("10.98.0.29") && s.CutOff && s.State != bgp.Established {
				return nil
			}
		}
		return fmt.Errorf("neighbours: %+v", f.nodes[0].state().Neighbours)
	})
	time.Sleep(2 * time.Second)
	for i := range 3 {
		if got := roads(f.nodes[i].space); strings.Contains(got, "10.210.8.") || strings.Count(got, "\n") != 2 {
			t.Errorf("a little later n%d has %q", i+1, got)
		}
	}
}

func many(n int, format string) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf(format, i))
	}
	return all
}
