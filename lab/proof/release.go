package proof

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/api/types/swarm"
	"github.com/moby/moby/client"
)

const (
	production = "orders-production_web"
	test       = "orders-test_web"
	upstream   = "orders"
	serverSet  = "/service/orders"
)

// Release are the proofs of one release's way: gates, plans, discovery, rollouts, faults.
func Release() []Proof {
	return []Proof{
		{8, "orders reaches production through test by the very same digest, and not otherwise", promoted},
		{9, "a plan after a deployment is empty; an image change's plan names it and nothing else", plansAreExact},
		{10, "nginx answers through every member, and a real finagle client through ZooKeeper", membersAnswer},
		{11, "scaling and a full rollout under steady requests lose none", rolloutUnderLoad},
		{12, "a bad image and one that never gets healthy are rolled back with the cause", badReleases},
		{13, "a node loses power: requests through nginx are right again", nodeLosesPower},
		{14, "the leader's agent and the manager killed -9: discovery goes on", discoveryGoesOn},
		{15, "a change by hand shows as drift and is not touched unasked", driftIsShown},
	}
}

func promoted(ctx context.Context, w *World) (string, error) {
	if err := w.clearStack(ctx, "orders"); err != nil {
		return "", err
	}
	for _, part := range []string{"registry", "bird", "nginx", "zookeeper"} {
		if err := w.Lab.StartPart(ctx, part); err != nil {
			return "", err
		}
	}
	image, err := w.pushVariant(ctx, "1", "RELEASE=1")
	if err != nil {
		return "", err
	}
	if err := w.all(ctx,
		[]string{"project", "apply", "-f", filepath.Join(w.Root, "examples/orders/rolling.yml")},
		[]string{"release", "create", "orders", "--id", "r-1", "--commit", strings.Repeat("1", 40), "--image", "web=" + w.repository() + ":1"},
	); err != nil {
		return "", err
	}
	refused, err := w.ends(ctx, 6, "deploy", "orders", "production", "r-1")
	if err != nil {
		return "", err
	}
	start := time.Now()
	if err := w.all(ctx, []string{"deploy", "orders", "test", "r-1"}, []string{"release", "promote", "orders", "r-1", "--to", "production"}); err != nil {
		return "", err
	}
	_, digest, _ := strings.Cut(image, "@")
	for _, service := range []string{test, production} {
		if runs, err := w.imageOf(ctx, service); err != nil || !strings.HasSuffix(runs, digest) {
			return "", fmt.Errorf("%s runs %s, want the digest %s: %w", service, runs, digest, err)
		}
	}
	return fmt.Sprintf("straight to production: %q; through test in %.1f s; both run %s", lastLine(refused.stderr), time.Since(start).Seconds(), digest[:19]), nil
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}

func (w *World) imageOf(ctx context.Context, service string) (image string, err error) {
	leader, err := w.leader(ctx)
	if err != nil {
		return "", err
	}
	image, err = w.Lab.Docker(ctx, leader, "service", "inspect", "--format", "{{.Spec.TaskTemplate.ContainerSpec.Image}}", service)
	return strings.TrimSpace(image), err
}

// clearStack removes a stack and waits until Swarm has let its network go.
func (w *World) clearStack(ctx context.Context, stack string) error {
	leader, err := w.leader(ctx)
	if err != nil {
		return err
	}
	if _, err := w.Lab.Docker(ctx, leader, "stack", "rm", stack); err != nil && !strings.Contains(err.Error(), "othing found") {
		return err
	}
	return eventually(ctx, time.Minute, "stack "+stack+" gone", func(ctx context.Context) error {
		return w.on(leader, func(c *client.Client) error {
			ours := make(client.Filters).Add("label", "com.docker.stack.namespace="+stack)
			networks, err := c.NetworkList(ctx, client.NetworkListOptions{Filters: ours})
			if err == nil && len(networks.Items) > 0 {
				err = fmt.Errorf("network %s is still there", networks.Items[0].Name)
			}
			return err
		})
	})
}

func plansAreExact(ctx context.Context, w *World) (string, error) {
	if _, err := w.ends(ctx, 0, "plan", "orders", "production"); err != nil {
		return "", err
	}
	if _, err := w.pushVariant(ctx, "2", "RELEASE=2"); err != nil {
		return "", err
	}
	if err := w.all(ctx, []string{"release", "create", "orders", "--id", "r-2", "--commit", strings.Repeat("2", 40), "--image", "web=" + w.repository() + ":2"}); err != nil {
		return "", err
	}
	changed, err := w.ends(ctx, 2, "plan", "orders", "production", "r-2")
	if err != nil {
		return "", err
	}
	lines := strings.Split(strings.TrimSpace(changed.stdout), "\n")
	if len(lines) != 3 || !strings.HasPrefix(lines[1], "~ service "+production) || !strings.HasPrefix(strings.TrimSpace(lines[2]), "image: ") {
		return "", fmt.Errorf("the plan of an image change says\n%s", changed.stdout)
	}
	return "nothing to do; then " + lines[0] + ", its image alone", nil
}

func membersAnswer(ctx context.Context, w *World) (string, error) {
	want, err := w.tasksOf(ctx, production, 3)
	if err != nil {
		return "", err
	}
	start := time.Now()
	through := w.nginxLoad(ctx, upstream)
	if err := through.reach(ctx, 15*time.Second, want); err != nil {
		return "", fmt.Errorf("nginx: %w", err)
	}
	viaNginx := time.Since(start)
	if _, err := through.end("nginx"); err != nil {
		return "", err
	}
	finagle, err := w.finagleLoad(ctx, serverSet, time.Minute)
	if err != nil {
		return "", err
	}
	if err := finagle.reach(ctx, 45*time.Second, want); err != nil {
		return "", fmt.Errorf("finagle: %w", err)
	}
	answers, err := finagle.end("finagle")
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("all 3 members behind nginx (within %.1f s) and in finagle's ServerSet (%d answers)", viaNginx.Seconds(), answers), nil
}

// reach waits until every one of the tasks has answered.
func (l *load) reach(ctx context.Context, within time.Duration, tasks []Task) error {
	return eventually(ctx, within, "every member answers", func(context.Context) error {
		seen := l.members()
		for _, t := range tasks {
			if _, ok := seen[t.Addresses[0].String()]; !ok {
				l.mu.Lock()
				defer l.mu.Unlock()
				last := ""
				if len(l.failed) > 0 {
					last = ": " + l.failed[len(l.failed)-1].what
				}
				return fmt.Errorf("%s of task %s has not answered (%d answers by %d others, %d failures%s)", t.Addresses[0], t.ID, l.answers, len(seen), len(l.failed), last)
			}
		}
		return nil
	})
}

// tasksOf waits until the service has that many running tasks, and returns them.
func (w *World) tasksOf(ctx context.Context, service string, want int) ([]Task, error) {
	var tasks []Task
	err := eventually(ctx, 90*time.Second, fmt.Sprintf("%d tasks of %s", want, service), func(ctx context.Context) error {
		leader, err := w.Lab.Leader(ctx)
		if err != nil {
			return err
		}
		all, err := w.tasks(ctx, leader)
		if err != nil {
			return err
		}
		tasks = slices.DeleteFunc(all, func(t Task) bool { return t.Service != service })
		if len(tasks) != want {
			return fmt.Errorf("%d run", len(tasks))
		}
		return nil
	})
	return tasks, err
}

func rolloutUnderLoad(ctx context.Context, w *World) (string, error) {
	before, err := w.tasksOf(ctx, production, 3)
	if err != nil {
		return "", err
	}
	through := w.nginxLoad(ctx, upstream)
	defer through.stop()
	finagle, err := w.finagleLoad(ctx, serverSet, 5*time.Minute)
	if err != nil {
		return "", err
	}
	defer finagle.stop()
	if err := errors.Join(through.reach(ctx, 15*time.Second, before), finagle.reach(ctx, 45*time.Second, before)); err != nil {
		return "", err
	}
	if err := w.all(ctx, []string{"scale", "orders", "production", "web=5"}); err != nil {
		return "", err
	}
	five, err := w.tasksOf(ctx, production, 5)
	if err != nil {
		return "", err
	}
	if err := errors.Join(through.reach(ctx, 15*time.Second, five), finagle.reach(ctx, 15*time.Second, five)); err != nil {
		return "", err
	}
	lagNginx, lagFinagle, err := lags(before, five, through, finagle)
	if err != nil {
		return "", err
	}
	if err := w.all(ctx, []string{"scale", "orders", "production", "web=3"}, []string{"deploy", "orders", "test", "r-2"}, []string{"release", "promote", "orders", "r-2", "--to", "production"}); err != nil {
		return "", err
	}
	if _, err := w.drained(ctx, production); err != nil {
		return "", err
	}
	viaNginx, err := through.end("nginx")
	if err != nil {
		return "", err
	}
	viaFinagle, err := finagle.end("finagle")
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("3 to 5 seen by nginx %.1f s and by finagle %.1f s after healthy; 5 to 3 and release 1 to 2: %d requests through nginx and %d through finagle, none failed",
		lagNginx.Seconds(), lagFinagle.Seconds(), viaNginx, viaFinagle), nil
}

// lags is the longest time from healthy (Swarm's running) to the first answer of the tasks that are new.
func lags(before, after []Task, through, finagle *load) (nginx, zookeeper time.Duration, err error) {
	for _, t := range after {
		if slices.ContainsFunc(before, func(b Task) bool { return b.ID == t.ID }) {
			continue
		}
		nginx = max(nginx, through.members()[t.Addresses[0].String()].Sub(t.Since))
		zookeeper = max(zookeeper, finagle.members()[t.Addresses[0].String()].Sub(t.Since))
	}
	if nginx > 2*time.Second || zookeeper > 2*time.Second {
		return nginx, zookeeper, fmt.Errorf("a new member answered %s after healthy through nginx and %s through finagle, want 2 s or less", nginx, zookeeper)
	}
	return nginx, zookeeper, nil
}

// drained waits until no old task of the service runs any more.
func (w *World) drained(ctx context.Context, service string) (time.Duration, error) {
	start := time.Now()
	err := eventually(ctx, 90*time.Second, "old tasks of "+service+" ended", func(ctx context.Context) error {
		leader, err := w.Lab.Leader(ctx)
		if err != nil {
			return err
		}
		return w.on(leader, func(c *client.Client) error {
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
	return time.Since(start), err
}
