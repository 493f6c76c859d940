package rollout

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/moby/moby/api/types/swarm"
	"github.com/moby/moby/client"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/lab/bench/orders"
	"github.com/rolling-swarm/rolling/lab/bench/site"
)

const (
	twinName     = "bench-twin"
	twinUpstream = "bench-twin"
	// startWithin bounds the start of all tasks, drainWithin the end of the old ones, on a machine with other work.
	startWithin = 3 * time.Minute
	drainWithin = 2 * time.Minute
	foundWithin = time.Minute
)

// twin makes a service with the very spec that Rolling wrote, members of an upstream of its own, that nobody but
// `docker service update` changes.
func (b *bench) twin(ctx context.Context) (side, error) {
	leader, err := b.Lab.Leader(ctx)
	if err != nil {
		return side{}, err
	}
	err = b.With(leader, func(c *client.Client) error {
		got, err := c.ServiceInspect(ctx, orders.Service, client.ServiceInspectOptions{})
		if err != nil {
			return err
		}
		_, err = c.ServiceCreate(ctx, client.ServiceCreateOptions{Spec: twinOf(got.Service.Spec)})
		return err
	})
	if err != nil {
		return side{}, err
	}
	_, _, err = b.Running(ctx, twinName, orders.Tasks, startWithin)
	return side{peerName, twinName, twinUpstream, b.update}, err
}

// twinOf is another service by the same spec. What makes a service Rolling's is left out: the manager would take it for
// one that no project wants.
func twinOf(s swarm.ServiceSpec) swarm.ServiceSpec {
	s.Name = twinName
	s.Labels = map[string]string{contract.DiscoveryNginx: twinUpstream + ":8080", contract.DiscoveryZooKeeper: "/service/" + twinUpstream + ":8080"}
	container := *s.TaskTemplate.ContainerSpec
	container.Labels = maps.Clone(container.Labels)
	maps.DeleteFunc(container.Labels, func(label, _ string) bool { return label != contract.Drain })
	s.TaskTemplate.ContainerSpec = &container
	return s
}

// update is the peer.
func (b *bench) update(ctx context.Context, to int) error {
	leader, err := b.Lab.Leader(ctx)
	if err != nil {
		return err
	}
	_, err = b.Lab.Docker(ctx, leader, "service", "update", "--quiet", "--detach=false", "--no-resolve-image", "--image", b.images[to], twinName)
	return err
}

// rollOut changes the service while requests go to it, and waits until its old tasks have ended.
func (b *bench) rollOut(ctx context.Context, s side, to int) (run, error) {
	old, _, err := b.Running(ctx, s.service, orders.Tasks, startWithin)
	if err != nil {
		return run{}, err
	}
	loaded := time.Now()
	l := b.begin(ctx, s.upstream)
	defer l.end()
	if _, err := b.answered(ctx, l, old); err != nil {
		return run{}, err
	}
	begun := time.Now()
	if err := s.change(ctx, to); err != nil {
		return run{}, err
	}
	r := run{took: time.Since(begun)}
	tasks, _, err := b.Running(ctx, s.service, orders.Tasks, startWithin)
	if err != nil {
		return r, err
	}
	if r.swarm, err = b.ended(ctx, s.service, b.images[to], begun); err != nil {
		return r, err
	}
	if r.found, err = b.answered(ctx, l, renewed(old, tasks)); err != nil {
		return r, err
	}
	if err := b.drained(ctx, s.service); err != nil {
		return r, err
	}
	r.requests, r.failures = l.end()
	r.lasted = time.Since(loaded)
	return r, nil
}

// renewed are the tasks that were not there before and have an address that was nobody's: an answer from it is theirs.
func renewed(old, now []site.Task) []site.Task {
	taken := map[string]bool{}
	for _, t := range old {
		taken[t.ID], taken[t.Address.String()] = true, true
	}
	var out []site.Task
	for _, t := range now {
		if !taken[t.ID] && !taken[t.Address.String()] {
			out = append(out, t)
		}
	}
	return out
}

// answered waits until each of the tasks has answered, and tells how long after it ran.
func (b *bench) answered(ctx context.Context, l *load, tasks []site.Task) ([]time.Duration, error) {
	var after []time.Duration
	err := b.Lab.Eventually(ctx, foundWithin, "an answer of every task through nginx", func() error {
		after = nil
		seen := l.members()
		for _, t := range tasks {
			at, ok := seen[t.Address.String()]
			if !ok {
				return fmt.Errorf("task %s at %s has not answered; %d others have", t.ID, t.Address, len(seen))
			}
			after = append(after, at.Sub(t.Since))
		}
		return nil
	})
	return after, err
}

// ended checks that Swarm's updater has brought the service to the image since then, and tells how long it worked.
func (b *bench) ended(ctx context.Context, service, image string, since time.Time) (took time.Duration, err error) {
	leader, err := b.Lab.Leader(ctx)
	if err != nil {
		return 0, err
	}
	err = b.With(leader, func(c *client.Client) error {
		got, err := c.ServiceInspect(ctx, service, client.ServiceInspectOptions{})
		if err == nil {
			took, err = updated(got.Service, image, since)
		}
		return err
	})
	return took, err
}

// updated reads the end of an update that began after since.
func updated(s swarm.Service, image string, since time.Time) (time.Duration, error) {
	u, runs := s.UpdateStatus, s.Spec.TaskTemplate.ContainerSpec
	_, digest, _ := strings.Cut(image, "@")
	switch {
	case runs == nil || digest == "" || !strings.HasSuffix(runs.Image, "@"+digest):
		return 0, fmt.Errorf("service %s does not run %s", s.Spec.Name, image)
	case u == nil || u.StartedAt == nil || u.CompletedAt == nil || u.State != swarm.UpdateStateCompleted:
		return 0, fmt.Errorf("service %s: its update has not completed: %+v", s.Spec.Name, u)
	case u.StartedAt.Before(since):
		return 0, errors.New("service " + s.Spec.Name + ": the update that completed is an earlier one: was the image there already?")
	}
	return u.CompletedAt.Sub(*u.StartedAt), nil
}

// drained waits until no old task of the service runs.
func (b *bench) drained(ctx context.Context, service string) error {
	leader, err := b.Lab.Leader(ctx)
	if err != nil {
		return err
	}
	return b.With(leader, func(c *client.Client) error {
		return b.Lab.Eventually(ctx, drainWithin, "the end of the old tasks of "+service, func() error {
			all, err := c.TaskList(ctx, client.TaskListOptions{Filters: make(client.Filters).Add("service", service)})
			if err != nil {
				return err
			}
			for _, t := range all.Items {
				if t.Status.State == swarm.TaskStateRunning && t.DesiredState != swarm.TaskStateRunning {
					return fmt.Errorf("task %s still runs", t.ID)
				}
			}
			return nil
		})
	})
}
