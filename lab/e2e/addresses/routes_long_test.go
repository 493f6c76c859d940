//go:build lab && long

package addresses

import (
	"context"
	"flag"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/lab/proof"
)

var (
	routedContainers = flag.Int("routes.containers", 500, "containers on all nodes, the churning ones among them")
	churning         = flag.Int("routes.churning", 100, "of them those that are killed and replaced all the time")
)

const (
	// routesWithin is how long the router may differ from the set of live containers after a fault: a plugin that comes back
	// waits for its neighbours' tables, and a view of some hundred containers takes seconds on a busy machine.
	routesWithin = time.Minute
	// churnFor is how long the churn goes on after each fault.
	churnFor = 20 * time.Second
)

// TestTheRoutersTableIsTheSetOfLiveContainers: while a hundred containers come and go, something breaks; when both are over,
// the router has a route to every live container, by its node, and no other.
func TestTheRoutersTableIsTheSetOfLiveContainers(t *testing.T) {
	o := newOffice(t, 3, 3)
	o.network("many", "10.213.0.0/21", "--ipam-opt", "rolling.quarantine=5s")
	o.serve("many", "many", 0)
	still := *routedContainers - *churning
	begun := time.Now()
	o.grow("many", still)
	running := time.Since(begun)
	o.agree("with all of them", still, 5*time.Minute)
	t.Logf("%d containers: running after %v, and on all nodes, in the ledger and at the router as they should be after %v", still, running.Round(time.Second), time.Since(begun).Round(time.Second))
	o.serve("churn", "many", 0)
	o.grow("churn", *churning)
	for _, f := range []struct {
		name string
		do   func(*office)
	}{
		{"nothing but the churn", func(*office) {}},
		{"a follower's network plugin is killed", func(o *office) { o.kill(o.follower(), "/network-driver") }},
		{"the leader's network plugin is killed", func(o *office) { o.kill(o.leader(), "/network-driver") }},
		{"all network plugins are killed at once", (*office).networkPluginsDie},
		{"a follower's engine is killed", (*office).engineIsKilled},
		{"the router's BIRD is restarted", (*office).routerRestarts},
		{"a cable is away for three seconds", (*office).cableIsAway},
		{"a follower loses its power and comes back", (*office).followerLosesPower},
	} {
		if !t.Run(f.name, func(t *testing.T) {
			o.in(t).breaks(f.name, f.do, still)
		}) {
			t.FailNow()
		}
	}
}

// grow scales a service up by and by: a few processors that start hundreds of containers at once forget to tell Swarm that
// they live, and get those of the others as well.
func (o *office) grow(service string, tasks int) {
	o.Helper()
	const step = 30
	for n := min(step, tasks); ; n = min(n+step, tasks) {
		o.scale(service, n)
		o.runs(service, n, 10*time.Minute)
		if n == tasks {
			return
		}
	}
}

// breaks does something while containers come and go, and waits until all is as it should be.
func (o *office) breaks(what string, do func(*office), still int) {
	stop := o.churn("churn")
	do(o)
	time.Sleep(churnFor)
	killed := stop()
	o.scale("churn", *churning)
	begun := time.Now()
	o.runs("churn", *churning, 10*time.Minute)
	o.runs("many", still, 10*time.Minute)
	settled := time.Since(begun)
	begun = time.Now()
	v := o.witness("after " + what)
	o.Logf("%d containers killed; Swarm had replaced all after %v; %v later %d containers and %d routes are the same", killed, settled.Round(time.Second), time.Since(begun).Round(100*time.Millisecond), len(v.Containers), len(v.Routes))
}

// witness waits until all say the same, and fails with what they say differently in the end: each look is taken to its end,
// since on a busy machine one at hundreds of containers takes seconds.
func (o *office) witness(when string) proof.View {
	o.Helper()
	last := ""
	for deadline := time.Now().Add(routesWithin); ; time.Sleep(200 * time.Millisecond) {
		v, err := o.world.Observe(o.Context(), true)
		said := proof.Disagreements(v)
		if err == nil && len(said) == 0 {
			o.Logf("the last of the contradictions: %s", last)
			return v
		}
		if len(said) > 0 {
			last = said[len(said)-1]
		}
		if time.Now().After(deadline) {
			o.whoSays(said)
			o.Fatalf("%s, %v: %d contradictions: %s", when, err, len(said), strings.Join(said[:min(len(said), 10)], "; "))
		}
	}
}

// whoSays logs what the router has been told by whom, and what each node's kernel has, of the addresses in question.
func (o *office) whoSays(said []string) {
	o.Helper()
	for _, a := range slices.Compact(slices.Sorted(slices.Values(regexp.MustCompile(`10\.213\.\d+\.\d+`).FindAllString(strings.Join(said[:min(len(said), 10)], " "), -1)))) {
		told, err := o.lab.RoutesTo(o.Context(), a)
		o.Logf("the router of %s, %v:\n%s", a, err, told)
		for _, n := range o.lab.Nodes() {
			has, err := o.lab.Exec(o.Context(), n, "sh", "-c", "ip -4 route show "+a+"; ip -4 -o addr | grep -w "+a)
			o.Logf("%s: %v %s", n, err, has)
		}
	}
}

// churn kills some containers of a service on every node, and scales it up and down, until it is stopped; it tells how
// many it killed. What fails meanwhile fails since something else is broken, too.
func (o *office) churn(service string) (stop func() int) {
	ctx, cancel := context.WithCancel(o.Context())
	var killed atomic.Int64
	var all sync.WaitGroup
	kill := "docker ps -q --filter label=com.docker.swarm.service.name=" + service + " | shuf -n 5 | xargs -r docker kill | wc -l"
	for _, n := range o.lab.Nodes() {
		all.Go(func() {
			for ctx.Err() == nil {
				more := int64(0)
				if out, err := o.lab.Exec(ctx, n, "timeout", "20", "sh", "-c", kill); err == nil {
					_, _ = fmt.Sscan(out, &more)
				}
				killed.Add(more)
				time.Sleep(100 * time.Millisecond)
			}
		})
	}
	all.Go(func() {
		for round := 0; ctx.Err() == nil; round++ {
			if leader, err := o.lab.Leader(ctx); err == nil {
				_, _ = o.lab.Docker(ctx, leader, "service", "scale", "--detach", fmt.Sprintf("%s=%d", service, *churning-5+round%2*10))
			}
			time.Sleep(time.Second)
		}
	})
	return func() int {
		cancel()
		all.Wait()
		return int(killed.Load())
	}
}

// kill is kill -9; the engine starts a plugin again.
func (o *office) kill(node, program string) {
	o.Helper()
	if out, err := o.lab.Exec(o.Context(), node, "sh", "-c", "kill -9 $(pidof "+program+")"); err != nil {
		o.Fatalf("kill %s of %s: %v %s", program, node, err, out)
	}
}

func (o *office) networkPluginsDie() {
	for _, n := range o.lab.Nodes() {
		o.kill(n, "/network-driver")
	}
}

func (o *office) engineIsKilled() {
	if err := o.lab.KillEngine(o.Context(), o.follower()); err != nil {
		o.Fatal(err)
	}
	o.ready(len(o.lab.Nodes()))
}

func (o *office) routerRestarts() {
	for _, f := range []func(context.Context, string) error{o.lab.StopPart, o.lab.StartPart} {
		if err := f(o.Context(), "bird"); err != nil {
			o.Fatal(err)
		}
	}
}

// cableIsAway for less than the 15 s after which Swarm calls a node down.
func (o *office) cableIsAway() {
	victim := o.follower()
	if err := o.lab.Cut(o.Context(), victim); err != nil {
		o.Fatal(err)
	}
	time.Sleep(3 * time.Second)
	if err := o.lab.Join(o.Context(), victim); err != nil {
		o.Fatal(err)
	}
}

func (o *office) followerLosesPower() {
	victim := o.follower()
	if err := o.lab.Kill(o.Context(), victim); err != nil {
		o.Fatal(err)
	}
	time.Sleep(churnFor)
	if err := o.lab.Start(o.Context(), victim); err != nil {
		o.Fatal(err)
	}
	o.ready(len(o.lab.Nodes()))
}
