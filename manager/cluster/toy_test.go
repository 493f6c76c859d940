package cluster_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/moby/moby/api/types/swarm"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/manager/cluster"
	"github.com/rolling-swarm/rolling/manager/cluster/clustertest"
	"github.com/rolling-swarm/rolling/manager/plan"
)

func TestTheToyIsASwarm(t *testing.T) {
	for _, c := range clustertest.Checks() {
		t.Run(c.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { c.Do(t, toyWorld()) })
		})
	}
}

func TestANetworkThatItsDriverRefusesIsTakenAwayAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := clustertest.NewToy(time.Now).Swarm()
		_, err := s.Apply(t.Context(), plan.CreateNetwork{Spec: swarm.NetworkSpec{
			Annotations: swarm.Annotations{Name: "net"}, DriverConfiguration: &swarm.Driver{Name: clustertest.Refusing}}})
		if !errors.Is(err, cluster.ErrRefused) || !strings.Contains(err.Error(), "leader's engine") {
			t.Errorf("the error is %v", err)
		}
		if o, err := s.Observe(t.Context()); err != nil || len(o.Networks) != 0 {
			t.Errorf("left: %v %v", o.Networks, err)
		}
	})
}

// heardNo is a refusal that the caller learned of by another way.
type heardNo struct{}

func (heardNo) Error() string        { return "a plugin said no" }
func (heardNo) Is(target error) bool { return target == cluster.ErrRefused }

func TestWhoLearnsOfARefusalEndsTheWaitForTheNetwork(t *testing.T) {
	for _, c := range []struct {
		name  string
		cause error
		left  int // a caller that merely gives up may come again: the network is his
	}{
		{"of a refusal: it is taken away at once", heardNo{}, 0},
		{"of nothing: it stays", nil, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := clustertest.NewToy(time.Now).Swarm()
				ctx, stop := context.WithCancelCause(t.Context())
				time.AfterFunc(2*time.Second, func() { stop(c.cause) })
				begun := time.Now()
				_, err := s.Apply(ctx, plan.CreateNetwork{Spec: swarm.NetworkSpec{
					Annotations: swarm.Annotations{Name: "net"}, DriverConfiguration: &swarm.Driver{Name: clustertest.Refusing}}})
				if c.cause != nil && !errors.Is(err, cluster.ErrRefused) || err == nil || time.Since(begun) > 3*time.Second {
					t.Errorf("after %s the error is %v", time.Since(begun), err)
				}
				if o, err := s.Observe(t.Context()); err != nil || len(o.Networks) != c.left {
					t.Errorf("left: %v %v", o.Networks, err)
				}
			})
		})
	}
}

func toyWorld() clustertest.World {
	toy := clustertest.NewToy(time.Now)
	toy.Runs("good:latest", clustertest.Program{Start: 300 * time.Millisecond, Stop: 100 * time.Millisecond, Lines: []string{clustertest.GoodLine}})
	toy.Runs("crash:latest", clustertest.Program{Exits: clustertest.Exit(3), After: 50 * time.Millisecond, Lines: []string{clustertest.CrashLine}})
	toy.Runs("absent:latest", clustertest.Program{Absent: true})
	return clustertest.World{
		Swarm: toy.Swarm(), Driver: contract.PluginNet, IPAM: contract.PluginIPAM,
		Good: swarm.ContainerSpec{Image: "good"}, Crash: swarm.ContainerSpec{Image: "crash"}, Absent: swarm.ContainerSpec{Image: "absent"},
	}
}
