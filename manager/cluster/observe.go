package cluster

import (
	"context"
	"fmt"
	"sync"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/swarm"
	"github.com/moby/moby/client"

	"github.com/rolling-swarm/rolling/manager/plan"
)

// Observe takes a snapshot of all that a plan is compared with.
func (s *Swarm) Observe(ctx context.Context) (plan.Observed, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	var o plan.Observed
	err := together(
		func() error {
			got, err := s.api.ServiceList(ctx, client.ServiceListOptions{Status: true})
			o.Services = got.Items
			return asked(err, "services")
		},
		func() error {
			got, err := s.api.NetworkList(ctx, client.NetworkListOptions{Filters: make(client.Filters).Add("scope", "swarm")})
			for _, n := range got.Items {
				o.Networks = append(o.Networks, plan.NetworkOf(n.Network))
			}
			return asked(err, "networks")
		},
		func() error {
			got, err := s.api.ConfigList(ctx, client.ConfigListOptions{})
			o.Configs = got.Items
			return asked(err, "configs")
		},
		func() error {
			got, err := s.api.SecretList(ctx, client.SecretListOptions{})
			o.Secrets = got.Items
			return asked(err, "secrets")
		},
	)
	if err != nil {
		return plan.Observed{}, err
	}
	return o, nil
}

// together runs functions side by side and gives the first error in their order.
func together(all ...func() error) error {
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, f := range all {
		wg.Go(func() { errs[i] = f() })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func asked(err error, what string) error {
	if err != nil {
		return fmt.Errorf("list the Swarm's %s: %w: %w", what, ErrAway, err)
	}
	return nil
}

// Look gives one service and all tasks that Swarm still knows of it, ended ones too. The service is nil when there is none
// of that id; its tasks may outlive it.
func (s *Swarm) Look(ctx context.Context, serviceID string) (*swarm.Service, []swarm.Task, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	got, err := s.api.ServiceInspect(ctx, serviceID, client.ServiceInspectOptions{})
	if errdefs.IsNotFound(err) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("look at service %s: %w: %w", serviceID, ErrAway, err)
	}
	tasks, err := s.api.TaskList(ctx, client.TaskListOptions{Filters: make(client.Filters).Add("service", serviceID)})
	if errdefs.IsNotFound(err) { // it went between the two questions, and Swarm knows the filter's service no more
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("list the tasks of service %s: %w: %w", got.Service.Spec.Name, ErrAway, err)
	}
	return &got.Service, tasks.Items, nil
}

// Tasks lists every task that Swarm still knows: those of services, and those that stand for containers of docker run on
// an attachable network.
func (s *Swarm) Tasks(ctx context.Context) ([]swarm.Task, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	var ofServices, attachments client.TaskListResult
	err := together(
		func() (err error) {
			ofServices, err = s.api.TaskList(ctx, client.TaskListOptions{})
			return asked(err, "tasks")
		},
		func() (err error) {
			attachments, err = s.api.TaskList(ctx, client.TaskListOptions{Filters: make(client.Filters).Add("runtime", "attachment")})
			return asked(err, "attachments")
		},
	)
	if err != nil {
		return nil, err
	}
	return append(ofServices.Items, attachments.Items...), nil
}

// Nodes lists the Swarm's nodes.
func (s *Swarm) Nodes(ctx context.Context) ([]swarm.Node, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	got, err := s.api.NodeList(ctx, client.NodeListOptions{})
	if err != nil {
		return nil, asked(err, "nodes")
	}
	return got.Items, nil
}
