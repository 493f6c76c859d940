package api

import (
	"context"
	"net/http"

	"github.com/rolling-swarm/rolling/manager/engine"
)

// Draining says how sure somebody is.
type Draining struct {
	Force bool `json:"force,omitempty" doc:"Also if its routes cannot be marked first, if no other node can take its tasks, or if the manager itself runs there."`
}

// NodePath names a node in an address.
type NodePath struct {
	Node string `path:"node" maxLength:"255" doc:"Its name or id." example:"n2"`
}

type (
	nodeInput  struct{ NodePath }
	drainInput struct {
		NodePath
		Body Draining
	}
	examineInput struct {
		Node string `query:"node" maxLength:"255" doc:"Only what concerns this one."`
	}
	reachInput struct {
		From string `query:"from" required:"true" maxLength:"255" doc:"Who connects: an address, or a container, task or service." example:"payments-production_api"`
		To   string `query:"to" required:"true" maxLength:"300" doc:"To whom and by which port." example:"orders-production_web:8080"`
	}
	reachOutput       struct{ Body Reach }
	nodeOutput        struct{ Body engine.NodeDetail }
	examinationOutput struct{ Body engine.Examination }
)

func (a *API) nodeRoutes() {
	const one = "/api/v1/nodes/{node}"
	serve(a, a.operation(http.MethodGet, one, "showNode", "swarm", http.StatusOK, "Show a node, and what still runs there while it drains"), a.showNode)
	serve(a, a.operation(http.MethodPost, one+"/drain", "drainNode", "swarm", http.StatusOK, "Mark a node's routes for a shutdown, then have Swarm move its tasks"), a.drainNode)
	serve(a, a.operation(http.MethodPost, one+"/activate", "activateNode", "swarm", http.StatusOK, "Undo a drain"), a.activateNode)
	serve(a, a.operation(http.MethodGet, "/api/v1/doctor", "examine", "swarm", http.StatusOK, "Say what is wrong with the network, where, and what to do"), a.examine)
	serve(a, a.operation(http.MethodGet, "/api/v1/doctor/reach", "reach", "swarm", http.StatusOK, "Say whether one may connect to another, who decided and why, and what opens it"), a.reach)
}

func (a *API) showNode(ctx context.Context, in *nodeInput) (*nodeOutput, error) {
	d, err := a.parts.Nodes.NodeDetail(ctx, in.Node)
	return &nodeOutput{d}, err
}

func (a *API) drainNode(ctx context.Context, in *drainInput) (*nodeOutput, error) {
	d, err := a.parts.Nodes.DrainNode(ctx, engine.NodeChange{Node: in.Node, Force: in.Body.Force, By: caller(ctx)})
	return &nodeOutput{d}, err
}

func (a *API) activateNode(ctx context.Context, in *nodeInput) (*nodeOutput, error) {
	d, err := a.parts.Nodes.ActivateNode(ctx, engine.NodeChange{Node: in.Node, By: caller(ctx)})
	return &nodeOutput{d}, err
}

func (a *API) examine(ctx context.Context, in *examineInput) (*examinationOutput, error) {
	x, err := a.parts.Doctor.Examine(ctx, in.Node)
	return &examinationOutput{x}, err
}

func (a *API) reach(ctx context.Context, in *reachInput) (*reachOutput, error) {
	r, err := a.parts.Doctor.Reach(ctx, in.From, in.To)
	return &reachOutput{r}, err
}
