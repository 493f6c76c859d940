package api

import (
	"context"
	"net/http"

	"github.com/rolling-swarm/rolling/manager/engine"
	"github.com/rolling-swarm/rolling/manager/project"
)

// RolloutPath names a rollout in an address.
type RolloutPath struct {
	Rollout engine.RolloutID `path:"rollout" maxLength:"63" doc:"The rollout's id." example:"ro7"`
}

type (
	listRollouts struct {
		Project     project.Name            `query:"project" maxLength:"63" doc:"Only this project's."`
		Environment project.EnvironmentName `query:"environment" maxLength:"63" doc:"Only this environment's; the project must be said too."`
		Paging
	}
	cancelInput struct {
		RolloutPath
		Repeatable
	}
	rolloutList   struct{ Body List[engine.Rollout] }
	rolloutOutput struct{ Body engine.Rollout }
)

func (a *API) rolloutRoutes() {
	const at, one = "/api/v1/rollouts", "/api/v1/rollouts/{rollout}"
	serve(a, a.operation(http.MethodGet, at, "listRollouts", "rollouts", http.StatusOK, "List rollouts, newest first, without plan and lines"), a.listRollouts)
	serve(a, a.operation(http.MethodGet, one, "showRollout", "rollouts", http.StatusOK, "Show a rollout: how it stands or how it ended, and why"), a.showRollout)
	serve(a, a.operation(http.MethodPost, one+"/cancellation", "cancelRollout", "rollouts", http.StatusAccepted, "Make a rollout go back"), a.cancelRollout)
}

// listRollouts asks for one more than the page holds, to know whether there is another: there may be very many rollouts.
func (a *API) listRollouts(ctx context.Context, in *listRollouts) (*rolloutList, error) {
	if in.Environment != "" && in.Project == "" {
		return nil, problem(http.StatusUnprocessableEntity, CodeInvalidRequest, "environment: want the project too, since every project may have an environment of that name")
	}
	before, err := readCursor(in.Cursor)
	if err != nil {
		return nil, problem(http.StatusBadRequest, CodeInvalidRequest, err.Error())
	}
	found, err := a.parts.Rollouts.Rollouts(ctx, engine.RolloutsOf{
		Project: in.Project, Environment: in.Environment, Limit: in.Limit + 1, Before: engine.RolloutID(before),
	})
	if err != nil {
		return nil, err
	}
	list := List[engine.Rollout]{Items: append([]engine.Rollout{}, found[:min(len(found), in.Limit)]...)}
	if len(found) > in.Limit {
		list.NextCursor = writeCursor(string(found[in.Limit-1].ID))
	}
	return &rolloutList{list}, nil
}

func (a *API) showRollout(ctx context.Context, in *RolloutPath) (*rolloutOutput, error) {
	r, err := a.parts.Rollouts.Rollout(ctx, in.Rollout)
	return &rolloutOutput{r}, err
}

func (a *API) cancelRollout(ctx context.Context, in *cancelInput) (*rolloutBegun, error) {
	return begun(a.parts.Rollouts.Cancel(ctx, engine.Cancel{Rollout: in.Rollout, By: caller(ctx)}))
}
