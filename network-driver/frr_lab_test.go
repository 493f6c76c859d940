//go:build lab

package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/lab/parts"
	"github.com/rolling-swarm/rolling/lab/parts/alone"
	"github.com/rolling-swarm/rolling/network-driver/bgp"
	"github.com/rolling-swarm/rolling/network-driver/lan"
)

// partOn runs a part of the lab, with the configuration that the guide shows, in a namespace of the test's.
func partOn(t *testing.T, s lan.Space, name string, router string, managers ...string) parts.Site {
	t.Helper()
	part, err := parts.Named(name)
	if err != nil {
		t.Fatal(err)
	}
	alone.Install(t, part.Packages...)
	folder, err := os.MkdirTemp("", "part") // a unix socket's path has an end
	if err != nil {
		t.Fatal(err)
	}
	site := parts.Site{Folder: folder, Router: netip.MustParseAddr(router)}
	for _, m := range managers {
		site.Managers = append(site.Managers, netip.MustParseAddr(m))
	}
	program, err := part.Prepare(t.Context(), site)
	if err != nil {
		t.Fatal(err)
	}
	c := s.Command(context.Background(), append([]string{program.Path}, program.Args...)...)
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out := &lockedBuffer{}
	c.Stdout, c.Stderr = out, out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
		_ = c.Wait()
		if t.Failed() {
			t.Logf("%s: %s", name, out)
		}
		os.RemoveAll(folder)
	})
	lan.Eventually(t, part.Within, name+" is ready", func() error { return part.Ready(t.Context(), site) })
	return site
}

// hops are the router's routes to containers, sorted: prefix, via, node.
func hops(router lan.Space, family, pool string) string {
	var got []string
	for _, l := range strings.Split(router.Must("ip "+family+" route show root "+pool), "\n") {
		if f := strings.Fields(l); len(f) > 2 {
			if f[1] == "nhid" { // FRR's
				f = append(f[:1], f[3:]...)
			}
			got = append(got, strings.Join(f[:3], " "))
		}
	}
	return strings.Join(got, "\n")
}

func TestTheGuidesRoutersLearnAndForget(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"frr", "bird"} {
		t.Run(name, func(t *testing.T) {
			f := layFabric(t, 3, 0, "ROLLING_ROUTERS=10.98.0.1+bfd")
			f.startSix()
			router := f.lan.Node("router", "10.98.0.1/24")
			router.Set("net/ipv6/conf/eth0/keep_addr_on_down", "1")
			router.Must("ip -6 addr add fd00:10:98::1/64 dev eth0 nodad")
			router.Must("ip link set eth0 down")
			router.Must("ip link set eth0 name lan")
			router.Must("ip link set lan up")
			site := partOn(t, router, name, "10.98.0.1", nodeAddress(1), nodeAddress(2), nodeAddress(3))
			show := func() string {
				if name == "frr" {
					text, _ := parts.AskFRR(context.Background(), site.Folder, "show bgp summary")
					peers, _ := parts.AskFRR(context.Background(), site.Folder, "show bfd peers brief")
					return text + peers
				}
				out, _ := exec.Command("birdc", "-r", "-s", parts.BirdSocket(site.Folder), "show", "protocols").CombinedOutput()
				return string(out)
			}
			has := func(within time.Duration, want ...int) time.Duration {
				t.Helper()
				return lan.Eventually(t, within, "the router has the routes", func() error {
					var lines, six []string
					for _, i := range want {
						lines = append(lines, containerAddress(i)+" via "+nodeAddress(i))
						six = append(six, containerSix(i)+" via "+nodeSix(i))
					}
					if got := hops(router, "-6", sixPrefix+"/96"); got != strings.Join(six, "\n") {
						return fmt.Errorf("%q, want %q\n%s", got, six, show())
					}
					if got := hops(router, "-4", "10.210.0.0/16"); got != strings.Join(lines, "\n") {
						return fmt.Errorf("%q, want %q\n%s", got, lines, show())
					}
					return nil
				})
			}
			has(40*time.Second, 1, 2, 3)
			lan.Eventually(t, 15*time.Second, "BFD is up with all managers", func() error {
				for _, r := range f.nodes {
					if s := r.state().Probes; len(s.Routers) != 1 || s.Routers[0].State != "up" {
						return fmt.Errorf("%s: %+v\n%s", r.space.Name, s, show())
					}
				}
				return nil
			})
			if err := ping6(router, containerSix(2)); err != nil {
				t.Error(err)
			}
			watch := monitor(t, router)
			f.nodes[0].kill()
			time.Sleep(2 * time.Second)
			f.nodes[0].start()
			time.Sleep(3 * time.Second)
			if changes := watch(); lostPrefixes(changes) {
				t.Errorf("a killed plugin cost the router routes:\n%s", changes)
			}
			lan.Eventually(t, 30*time.Second, "the restart is over", func() error {
				if s := f.nodes[0].state(); !s.Settled || slices.ContainsFunc(s.Neighbours, func(n bgp.Session) bool { return n.State != bgp.Established }) {
					return fmt.Errorf("%+v", s.Neighbours)
				}
				return nil
			})
			has(20*time.Second, 1, 2, 3)
			f.nodes[2].space.Must("ip link set eth0 down")
			t.Logf("%s: a dead manager's routes left after %v", name, has(goneWithin, 1, 2).Round(10*time.Millisecond))
			f.nodes[2].space.Must("ip link set eth0 up")
			t.Logf("%s: and were back after %v", name, has(40*time.Second, 1, 2, 3).Round(10*time.Millisecond))
		})
	}
}

// lostPrefixes says that a prefix was gone, and not only replaced: a kernel that is told the same anew shows both.
func lostPrefixes(changes string) bool {
	for _, l := range strings.Split(changes, "\n") {
		if strings.HasPrefix(l, "Deleted 10.210.") || strings.HasPrefix(l, "Deleted "+sixPrefix) {
			return true
		}
	}
	return false
}
