package api

import (
	"context"
	"net/http"

	"github.com/rolling-swarm/rolling/manager/engine"
	"github.com/rolling-swarm/rolling/manager/project"
	"github.com/rolling-swarm/rolling/manager/release"
)

// EnvironmentPath names an environment in an address.
type EnvironmentPath struct {
	ProjectPath
	Environment project.EnvironmentName `path:"environment" maxLength:"63" doc:"The environment's name." example:"production"`
}

// ServicePath names a service in an address.
type ServicePath struct {
	EnvironmentPath
	Service project.ServiceName `path:"service" maxLength:"63" doc:"The service's short name." example:"web"`
}

// NewRollout asks to bring an environment to a release.
type NewRollout struct {
	Project     project.Name            `json:"project" example:"orders"`
	Environment project.EnvironmentName `json:"environment" example:"production"`
	Release     release.ID              `json:"release" doc:"The one that runs there brings a changed project file into force."`
	Overwrite   bool                    `json:"overwrite,omitempty" doc:"Also write over what was changed by hand."`
}

// Back asks to go back.
type Back struct {
	Overwrite bool `json:"overwrite,omitempty" doc:"Also write over what was changed by hand."`
}

// Count asks for a count of a service's tasks.
type Count struct {
	Replicas  *uint64 `json:"replicas" maximum:"10000" doc:"How many tasks; null: as many as the project file says."`
	Overwrite bool    `json:"overwrite,omitempty" doc:"Also write over what was changed by hand."`
}

type (
	planInput struct {
		EnvironmentPath
		Release release.ID `query:"release" maxLength:"63" doc:"Absent: the one that runs there."`
	}
	planOutput  struct{ Body engine.Plan }
	deployInput struct {
		Repeatable
		Body NewRollout
	}
	rollbackInput struct {
		EnvironmentPath
		Repeatable
		Body *Back
	}
	scaleInput struct {
		ServicePath
		Body Count
	}
	rolloutBegun struct {
		Location string `header:"Location" doc:"The rollout that has begun."`
		Body     engine.Rollout
	}
)

func (a *API) deploymentRoutes() {
	const environment = "/api/v1/projects/{project}/environments/{environment}"
	serve(a, a.operation(http.MethodGet, environment+"/plan", "planDeployment", "deployments", http.StatusOK, "Say what a deployment would do, and do nothing"), a.plan)
	serve(a, a.operation(http.MethodPost, "/api/v1/rollouts", "deploy", "deployments", http.StatusAccepted, "Bring an environment to a release"), a.deploy)
	serve(a, a.operation(http.MethodPost, environment+"/rollback", "rollback", "deployments", http.StatusAccepted, "Bring an environment back to its last good release"), a.rollback)
	serve(a, a.operation(http.MethodPut, environment+"/services/{service}/scale", "scale", "deployments", http.StatusAccepted, "Bring a service to another count"), a.scale)
}

func (a *API) plan(ctx context.Context, in *planInput) (*planOutput, error) {
	p, err := a.parts.Deployments.Plan(ctx, engine.PlanOf{Project: in.Project, Environment: in.Environment, Release: in.Release})
	return &planOutput{p}, err
}

func (a *API) deploy(ctx context.Context, in *deployInput) (*rolloutBegun, error) {
	return begun(a.parts.Deployments.Deploy(ctx, engine.Deploy{
		Project: in.Body.Project, Environment: in.Body.Environment, Release: in.Body.Release, By: caller(ctx), Overwrite: in.Body.Overwrite,
	}))
}

func (a *API) rollback(ctx context.Context, in *rollbackInput) (*rolloutBegun, error) {
	var asked Back
	if in.Body != nil {
		asked = *in.Body
	}
	return begun(a.parts.Deployments.Rollback(ctx, engine.Rollback{
		Project: in.Project, Environment: in.Environment, By: caller(ctx), Overwrite: asked.Overwrite,
	}))
}

func (a *API) scale(ctx context.Context, in *scaleInput) (*rolloutBegun, error) {
	return begun(a.parts.Deployments.Scale(ctx, engine.Scale{
		Project: in.Project, Environment: in.Environment, Service: in.Service,
		Replicas: in.Body.Replicas, By: caller(ctx), Overwrite: in.Body.Overwrite,
	}))
}

func begun(r engine.Rollout, err error) (*rolloutBegun, error) {
	return &rolloutBegun{"/api/v1/rollouts/" + string(r.ID), r}, err
}
