package site

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/swarm"
	"github.com/moby/moby/client"

	"github.com/rolling-swarm/rolling/lab"
)

// A Service is containers that do nothing, on one network. DNS answers their own addresses, unless it is Virtual.
type Service struct {
	Name, Network string
	Virtual       bool   // it has a virtual address, which Docker itself serves on its own networks alone, by IPVS
	Replicas      int    // 0: one on each node
	Node          string // where; empty: anywhere
}

// nowhere is no node's name: such a service gets its addresses and never a node.
const nowhere = "nowhere"

// Start creates the service. It does not wait.
func (s *Site) Start(ctx context.Context, v Service) error {
	leader, err := s.Lab.Leader(ctx)
	if err != nil {
		return err
	}
	args := []string{"service", "create", "--detach", "--quiet", "--no-resolve-image", "--name", v.Name, "--network", v.Network,
		"--stop-signal", "SIGKILL", "--restart-delay", "0s"}
	if !v.Virtual {
		args = append(args, "--endpoint-mode", "dnsrr")
	}
	if v.Replicas > 0 {
		args = append(args, "--replicas", strconv.Itoa(v.Replicas))
	} else {
		args = append(args, "--mode", "global")
	}
	if v.Node != "" {
		args = append(args, "--constraint", "node.hostname=="+v.Node)
	}
	if _, err := s.Lab.Docker(ctx, leader, append(args, lab.ShellImage, "sleep", "1000000")...); err != nil {
		return fmt.Errorf("start service %s: %w", v.Name, err)
	}
	return nil
}

// Scale changes how many tasks the service has. It does not wait.
func (s *Site) Scale(ctx context.Context, service string, replicas int) error {
	leader, err := s.Lab.Leader(ctx)
	if err != nil {
		return err
	}
	if _, err := s.Lab.Docker(ctx, leader, "service", "scale", "--detach", fmt.Sprintf("%s=%d", service, replicas)); err != nil {
		return fmt.Errorf("scale service %s to %d: %w", service, replicas, err)
	}
	return nil
}

// Unplaced is a service that no node takes.
func Unplaced(name, network string, replicas int) Service {
	return Service{Name: name, Network: network, Replicas: replicas, Node: nowhere}
}

// A Task is one of a service's, as Swarm tells it.
type Task struct {
	ID, Node, Container string
	Address             netip.Addr // invalid until one is allocated
	Running             bool
	Since               time.Time // of its state
}

// Tasks are those that Swarm wants to run, and when the service was created.
func (s *Site) Tasks(ctx context.Context, service string) (tasks []Task, created time.Time, err error) {
	leader, err := s.Lab.Leader(ctx)
	if err != nil {
		return nil, created, err
	}
	err = s.With(leader, func(c *client.Client) error {
		got, err := c.ServiceInspect(ctx, service, client.ServiceInspectOptions{})
		if err != nil {
			return err
		}
		created = got.Service.CreatedAt
		if tasks, err = taskList(ctx, c, service); err != nil {
			return err
		}
		return nameNodes(ctx, c, tasks)
	})
	return tasks, created, err
}

func taskList(ctx context.Context, c *client.Client, service string) ([]Task, error) {
	all, err := c.TaskList(ctx, client.TaskListOptions{Filters: make(client.Filters).Add("service", service).Add("desired-state", "running")})
	if err != nil {
		return nil, err
	}
	tasks := make([]Task, len(all.Items))
	for i, t := range all.Items {
		tasks[i] = task(t)
	}
	return tasks, nil
}

func task(t swarm.Task) Task {
	out := Task{ID: t.ID, Node: t.NodeID, Running: t.Status.State == swarm.TaskStateRunning, Since: t.Status.Timestamp}
	if t.Status.ContainerStatus != nil {
		out.Container = t.Status.ContainerStatus.ContainerID
	}
	for _, a := range t.NetworksAttachments {
		for _, p := range a.Addresses {
			out.Address = p.Addr()
		}
	}
	return out
}

// nameNodes puts names in place of ids.
func nameNodes(ctx context.Context, c *client.Client, tasks []Task) error {
	nodes, err := c.NodeList(ctx, client.NodeListOptions{})
	if err != nil {
		return err
	}
	names := map[string]string{}
	for _, n := range nodes.Items {
		names[n.ID] = n.Description.Hostname
	}
	for i := range tasks {
		tasks[i].Node = names[tasks[i].Node]
	}
	return nil
}

// lookEvery is how often a service's tasks are looked at: what is measured are Swarm's own timestamps, and to look costs
// the processors that the tasks start on.
const lookEvery = time.Second

// Running waits until want tasks of the service run.
func (s *Site) Running(ctx context.Context, service string, want int, within time.Duration) (tasks []Task, created time.Time, err error) {
	err = s.Lab.Eventually(ctx, within, fmt.Sprintf("%d tasks of %s running", want, service), func() error {
		tasks, created, err = s.Tasks(ctx, service)
		if err != nil {
			return err
		}
		running := 0
		for _, t := range tasks {
			if t.Running {
				running++
			}
		}
		if running == want && len(tasks) == want {
			return nil
		}
		pause(ctx, min(lookEvery, time.Duration(want)*10*time.Millisecond)) // the start of one task is a figure too
		return fmt.Errorf("%d run of %d", running, len(tasks))
	})
	if err != nil {
		err = fmt.Errorf("%w%s", err, s.trouble(context.WithoutCancel(ctx), service))
	}
	return tasks, created, err
}

// trouble is what Swarm says of a service's tasks that failed, for an error's text.
func (s *Site) trouble(ctx context.Context, service string) string {
	leader, err := s.Lab.Leader(ctx)
	if err != nil {
		return ""
	}
	said, err := s.Lab.Docker(ctx, leader, "service", "ps", "--no-trunc", "--format", "{{.Error}}", service)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(said) {
		if line = strings.TrimSpace(line); line != "" {
			return ": " + line
		}
	}
	return ""
}

// Allocated waits until want tasks of the service have an address, and says when the last was seen to have one.
func (s *Site) Allocated(ctx context.Context, service string, want int, within time.Duration) (time.Duration, error) {
	leader, err := s.Lab.Leader(ctx)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	var took time.Duration
	err = s.With(leader, func(c *client.Client) error {
		got, err := c.ServiceInspect(ctx, service, client.ServiceInspectOptions{})
		for err == nil {
			var tasks []Task
			if tasks, err = taskList(ctx, c, service); err == nil && addressed(tasks) == want {
				took = time.Since(got.Service.CreatedAt)
				return nil
			}
			time.Sleep(5 * time.Millisecond)
		}
		return fmt.Errorf("addresses for %d tasks of %s: %w", want, service, err)
	})
	return took, err
}

func addressed(tasks []Task) int {
	n := 0
	for _, t := range tasks {
		if t.Address.IsValid() {
			n++
		}
	}
	return n
}

// removedWithin: hundreds of containers on two processors take their time to go, and Docker's overlay some more.
const removedWithin = 15 * time.Minute

// Remove removes services and waits until no container of them is left on any node.
func (s *Site) Remove(ctx context.Context, services ...string) error {
	leader, err := s.Lab.Leader(ctx)
	if err != nil {
		return err
	}
	if _, err := s.Lab.Docker(ctx, leader, append([]string{"service", "rm"}, services...)...); err != nil {
		return fmt.Errorf("remove services: %w", err)
	}
	removed := "the containers of " + strings.Join(services, ", ") + " gone"
	return s.Lab.Eventually(ctx, removedWithin, removed, func() error {
		var errs []error
		for _, n := range s.Lab.Nodes() {
			if s.Lab.On(n) {
				errs = append(errs, s.none(ctx, n, services))
			}
		}
		err := errors.Join(errs...)
		if err != nil {
			pause(ctx, lookEvery/2)
		}
		return err
	})
}

// none: the node has no container of these services.
func (s *Site) none(ctx context.Context, node string, services []string) error {
	return s.With(node, func(c *client.Client) error {
		got, err := c.ContainerList(ctx, client.ContainerListOptions{All: true})
		left := 0
		for _, one := range got.Items {
			if slices.Contains(services, one.Labels["com.docker.swarm.service.name"]) {
				left++
			}
		}
		if err == nil && left > 0 {
			err = fmt.Errorf("%s still has %d", node, left)
		}
		return err
	})
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
