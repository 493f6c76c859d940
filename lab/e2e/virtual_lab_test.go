//go:build lab

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/lab"
)

// Requests by a service's virtual address, in Swarm's own default mode, reach all of its containers evenly, from containers
// and from the rest of the company; none is lost while the service shrinks and grows, and while the plugin is killed,
// switched off and on again.
func TestAVirtualAddressIsServedInsideAndOutside(t *testing.T) {
	servedInsideAndOutside(t, lab.Shared(t))
}

func servedInsideAndOutside(t *testing.T, l *lab.Lab) {
	v := newVirtual(t, l, "vips", "10.202.7.0/24")
	v.start(3)
	inside, outside := v.client("n1"), v.space(lab.Router)
	for from, p := range map[string]space{"a container": inside, "outside": outside} {
		for _, network := range []string{"tcp4", "udp4"} {
			seen := p.spread(t, network, v.address, 60)
			least := 18 // in turn, of 60 by three; a rule that is made anew meanwhile counts from its beginning
			if from == "outside" {
				least = 5 // by the router's hash
			}
			for _, name := range v.containers() {
				if seen.servers[name] < least {
					t.Errorf("from %s by %s: %v, want at least %d of 60 for each", from, network, seen.servers, least)
				}
			}
			want := map[string]string{"a container": v.clientAddress("n1"), "outside": v.lab.Address(lab.Router).String()}[from]
			if len(seen.clients) != 1 || seen.clients[want] == 0 {
				t.Errorf("from %s by %s the containers saw %v, want %s alone", from, network, seen.clients, want)
			}
		}
	}
	v.serversCallThemselves()

	load := inside.load(t, v.address)
	v.outside = outside.load(t, v.address)
	before := v.takers()
	v.step(load, "shrinks to two", func() { v.scale(2) })
	for _, gone := range before { // the one that goes keeps its connections for ten seconds, and ends them by its own end
		if !slices.Contains(v.takers(), gone) {
			load.forgive([]string{gone})
			v.outside.forgive([]string{gone})
		}
	}
	v.step(load, "grows to three", func() { v.scale(3) })
	v.step(load, "the plugin is killed", func() { v.killPlugin("n1") })
	v.step(load, "the plugin is off and on", func() { v.switchPlugin("n1") })
	v.step(load, "the agent is killed", func() { v.killAgent("n1") })
	load.end()
	v.outside.end()
	v.leavesNothing("n1")
}

// step does something to the Swarm while requests go on, of which none may fail.
func (v *virtual) step(l *load, what string, do func()) {
	v.t.Helper()
	if d := v.fault(l, what, do); d.failed > 0 {
		v.t.Errorf("%s: %v", what, l.errors())
	}
}

// fault does something by which a server dies without a word: requests to it may fail, and no connection to another.
func (v *virtual) fault(l *load, what string, do func()) counts {
	v.t.Helper()
	before, beside := l.counts(), v.outside.counts()
	do()
	time.Sleep(time.Second) // of requests after it
	d := l.counts().since(before)
	v.t.Logf("%s: %v", what, d)
	out := v.outside.counts().since(beside)
	v.t.Logf("%s: from outside %v", what, out)
	if d.broken > 0 || d.requests == 0 {
		v.t.Errorf("%s: %v", what, l.errors())
	}
	// The router moves flows to other nodes when one comes or goes: there they are searched for.
	if out.broken > 0 || out.requests == 0 {
		v.t.Errorf("%s: from outside: %v", what, v.outside.errors())
	}
	stay := v.takers()
	for from, l := range map[string]*load{"inside": l, "outside": v.outside} {
		for _, f := range l.leavers() {
			if slices.Contains(stay, f.from) {
				v.t.Errorf("%s: from %s datagrams left a server that goes on: %+v", what, from, f)
			}
		}
	}
	return d
}

func (v *virtual) leavesNothing(node string) {
	v.t.Helper()
	mustDocker(v.t, v.lab, v.leader(), "service", "rm", v.name)
	v.must(v.lab.Eventually(v.t.Context(), 30*time.Second, "no rule for it is left on "+node, func() error {
		got, err := v.rules(node)
		if err == nil && strings.Contains(got, v.address) {
			err = fmt.Errorf("there is\n%s", got)
		}
		return err
	}))
}
