package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"

	"github.com/rolling-swarm/rolling/manager/plan"
)

// Apply carries out one step. It fails with ErrConflict when what the step was planned on has changed since, and with
// ErrGone when it is not there any more; nothing was written then. What is to be removed and is gone already is no error.
func (s *Swarm) Apply(ctx context.Context, step plan.Step) (Applied, error) {
	done, err := s.apply(ctx, step)
	if err != nil {
		return Applied{}, fmt.Errorf("%s: %w", step.Object(), sorted(err))
	}
	return done, nil
}

func (s *Swarm) apply(ctx context.Context, step plan.Step) (Applied, error) {
	switch step := step.(type) {
	case plan.CreateNetwork:
		return s.createNetwork(ctx, step.Spec)
	case plan.CreateConfig:
		return s.within(ctx, func(ctx context.Context) (Applied, error) {
			got, err := s.api.ConfigCreate(ctx, client.ConfigCreateOptions{Spec: step.Spec})
			return Applied{ID: got.ID}, created(err)
		})
	case plan.CreateSecret:
		return s.within(ctx, func(ctx context.Context) (Applied, error) {
			got, err := s.api.SecretCreate(ctx, client.SecretCreateOptions{Spec: step.Spec})
			return Applied{ID: got.ID}, created(err)
		})
	case plan.CreateService:
		return s.within(ctx, func(ctx context.Context) (Applied, error) { return s.createService(ctx, step) })
	case plan.UpdateService:
		return s.within(ctx, func(ctx context.Context) (Applied, error) { return s.updateService(ctx, step) })
	case plan.RemoveService:
		return s.within(ctx, func(ctx context.Context) (Applied, error) {
			_, err := s.api.ServiceRemove(ctx, step.ID, client.ServiceRemoveOptions{})
			return Applied{ID: step.ID}, removed(err)
		})
	case plan.RemoveNetwork:
		return s.removeNetwork(ctx, step)
	case plan.RemoveConfig:
		return s.within(ctx, func(ctx context.Context) (Applied, error) {
			_, err := s.api.ConfigRemove(ctx, step.ID, client.ConfigRemoveOptions{})
			return Applied{ID: step.ID}, removed(err)
		})
	case plan.RemoveSecret:
		return s.within(ctx, func(ctx context.Context) (Applied, error) {
			_, err := s.api.SecretRemove(ctx, step.ID, client.SecretRemoveOptions{})
			return Applied{ID: step.ID}, removed(err)
		})
	}
	return Applied{}, fmt.Errorf("a step that nobody knows: %T", step)
}

// sorted adds the kind to a failure that has none yet. An answer of 500 stays without one: it may be a leader that is just
// changing, or a refusal that the engine has no better word for.
func sorted(err error) error {
	var unreached net.Error
	switch {
	case errors.Is(err, ErrConflict), errors.Is(err, ErrGone), errors.Is(err, ErrAway), errors.Is(err, ErrRefused):
		return err
	case client.IsErrConnectionFailed(err), errdefs.IsUnavailable(err), errors.Is(err, context.DeadlineExceeded), errors.As(err, &unreached):
		return fmt.Errorf("%w: %w", ErrAway, err)
	case errors.Is(err, errUnbound), errdefs.IsInvalidArgument(err), errdefs.IsNotFound(err), errdefs.IsPermissionDenied(err),
		errdefs.IsNotImplemented(err), errdefs.IsFailedPrecondition(err), errdefs.IsConflict(err):
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return err
}

func (s *Swarm) within(ctx context.Context, f func(context.Context) (Applied, error)) (Applied, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	return f(ctx)
}

// created: a name that is taken means that somebody made it since the snapshot.
func created(err error) error {
	switch {
	case err == nil:
		return nil
	case errdefs.IsConflict(err) || errdefs.IsAlreadyExists(err) || says(err, "already exists"):
		return fmt.Errorf("%w: %w", ErrConflict, err)
	}
	return fmt.Errorf("create it: %w", err)
}

func removed(err error) error {
	if err == nil || errdefs.IsNotFound(err) {
		return nil
	}
	return fmt.Errorf("remove it: %w", err)
}

// written sorts out what Swarm says to a write over an existing object. Its conflict has no kind of its own: HTTP 500 with
// this text, from swarmkit's store.
func written(err error) error {
	switch {
	case err == nil:
		return nil
	case errdefs.IsNotFound(err):
		return fmt.Errorf("%w: %w", ErrGone, err)
	case says(err, "update out of sequence"):
		return fmt.Errorf("%w: %w", ErrConflict, err)
	}
	return fmt.Errorf("write it: %w", err)
}

// says looks at the text of an error of the engine, where HTTP gives no better sign. It is done in this room only.
func says(err error, text string) bool { return err != nil && strings.Contains(err.Error(), text) }

func (s *Swarm) createService(ctx context.Context, step plan.CreateService) (Applied, error) {
	bound, err := s.bind(ctx, step.Spec)
	if err != nil {
		return Applied{}, err
	}
	got, err := s.api.ServiceCreate(ctx, client.ServiceCreateOptions{Spec: bound})
	if err != nil {
		return Applied{}, created(err)
	}
	return s.numbered(ctx, Applied{ID: got.ID, Warnings: got.Warnings}), nil
}

func (s *Swarm) updateService(ctx context.Context, step plan.UpdateService) (Applied, error) {
	bound, err := s.bind(ctx, step.Spec)
	if err != nil {
		return Applied{}, err
	}
	got, err := s.api.ServiceUpdate(ctx, step.ID, client.ServiceUpdateOptions{Version: step.Version, Spec: bound})
	if err != nil {
		return Applied{}, written(err)
	}
	return s.numbered(ctx, Applied{ID: step.ID, Warnings: got.Warnings}), nil
}

// numbered asks for the version, as the answer to a write has none. It is for people only, and the write is done: an engine
// that does not answer now is no reason to call it failed.
func (s *Swarm) numbered(ctx context.Context, done Applied) Applied {
	got, err := s.api.ServiceInspect(ctx, done.ID, client.ServiceInspectOptions{})
	if err != nil {
		done.Warnings = append(done.Warnings, "its version could not be read back: "+err.Error())
	}
	done.Version = got.Service.Version.Index
	return done
}

// errUnbound is the failure to find what a service names.
var errUnbound = errors.New("the Swarm has no such thing")
