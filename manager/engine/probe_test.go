package engine

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	"github.com/moby/moby/api/types/swarm"

	"github.com/rolling-swarm/rolling/internal/contract"
)

// probeAll is a probe that knows which addresses answer, and counts who was asked.
type probeAll struct {
	good  map[string]bool
	asked chan string
}

func (p probeAll) Probe(_ context.Context, at netip.AddrPort, path string) error {
	p.asked <- at.String() + path
	if !p.good[at.Addr().String()] {
		return errors.New("probe: not yet")
	}
	return nil
}

func TestATaskThatDoesNotAnswerTheProbeIsNotRunningYet(t *testing.T) {
	task := func(id, address string, state, desired swarm.TaskState) swarm.Task {
		k := swarm.Task{ID: id, DesiredState: desired, Status: swarm.TaskStatus{State: state}}
		a := swarm.NetworkAttachment{Addresses: []netip.Prefix{netip.MustParsePrefix(address)}}
		a.Network.DriverState.Name = contract.PluginNet
		k.NetworksAttachments = []swarm.NetworkAttachment{{}, a}
		return k
	}
	tasks := func() []swarm.Task {
		return []swarm.Task{
			task("good", "10.0.0.1/32", swarm.TaskStateRunning, swarm.TaskStateRunning),
			task("bad", "10.0.0.2/32", swarm.TaskStateRunning, swarm.TaskStateRunning),
			task("starting", "10.0.0.3/32", swarm.TaskStateStarting, swarm.TaskStateRunning),
			task("ending", "10.0.0.4/32", swarm.TaskStateRunning, swarm.TaskStateShutdown),
		}
	}
	service := &swarm.Service{Spec: swarm.ServiceSpec{Annotations: swarm.Annotations{Labels: map[string]string{contract.Probe: "8080/ready"}}}}
	p := probeAll{good: map[string]bool{"10.0.0.1": true}, asked: make(chan string, 10)}
	w := &work{e: &Engine{options: Options{Probe: p}}, ready: map[string]bool{}}
	for round, want := range [][]string{{"10.0.0.1:8080/ready", "10.0.0.2:8080/ready"}, {"10.0.0.2:8080/ready"}} {
		seen := tasks()
		w.probe(t.Context(), service, seen)
		if seen[0].Status.State != swarm.TaskStateRunning || seen[1].Status.State != swarm.TaskStateStarting || seen[1].Status.Err != "probe: not yet" ||
			seen[3].Status.State != swarm.TaskStateRunning {
			t.Errorf("round %d: %+v", round, seen)
		}
		asked := map[string]bool{}
		for len(p.asked) > 0 {
			asked[<-p.asked] = true
		}
		if len(asked) != len(want) || !asked[want[len(want)-1]] {
			t.Errorf("round %d: asked %v, want %v", round, asked, want)
		}
	}
	p.good["10.0.0.2"] = true
	seen := tasks()
	if w.probe(t.Context(), service, seen); seen[1].Status.State != swarm.TaskStateRunning {
		t.Errorf("it answers now: %+v", seen[1])
	}
	for _, label := range []string{"", "http", "0/x", "70000"} {
		service.Spec.Labels[contract.Probe] = label
		if _, _, ok := probeOf(service.Spec); ok {
			t.Errorf("%q was taken for a port", label)
		}
	}
	service.Spec.Labels[contract.Probe] = "8080"
	if port, path, ok := probeOf(service.Spec); port != 8080 || path != "/" || !ok {
		t.Errorf("%d %q %v", port, path, ok)
	}
}
