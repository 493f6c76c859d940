package api

import (
	"context"
	"net/http"
	"net/netip"

	"github.com/rolling-swarm/rolling/internal/allotment"
	"github.com/rolling-swarm/rolling/manager/engine"
	"github.com/rolling-swarm/rolling/manager/network"
	"github.com/rolling-swarm/rolling/manager/project"
)

// Networks makes networks beforehand, and says how full they are. Warnings say what could not be asked.
type Networks interface {
	CreateNetwork(ctx context.Context, o engine.NewNetwork) (n engine.Network, warnings []string, err error)
	Networks(ctx context.Context, o engine.NetworksOf) (all []engine.Network, warnings []string, err error)
	Network(ctx context.Context, name string) (n engine.Network, warnings []string, err error)
	RemoveNetwork(ctx context.Context, name, by string) (warnings []string, err error)
}

// Pools gives prefixes names.
type Pools interface {
	Pools(ctx context.Context) (all []engine.Pool, warnings []string, err error)
	CreatePool(ctx context.Context, o engine.NewPool) (p engine.Pool, warnings []string, err error)
	RemovePool(ctx context.Context, name, by string) (warnings []string, err error)
}

// NetworkWish is a network as a client wishes for it.
type NetworkWish struct {
	Name         string `json:"name" doc:"As services and docker run name it." example:"wide"`
	Pool         string `json:"pool,omitempty" doc:"A named pool, in place of a subnet." example:"prod"`
	Subnet       string `json:"subnet,omitempty" example:"10.210.3.0/24"`
	Project      string `json:"project,omitempty" doc:"Whose it is: routes and isolation go by it."`
	Environment  string `json:"environment,omitempty"`
	Block        int    `json:"block,omitempty" doc:"Length of the blocks that it takes of the subnet." example:"28"`
	Quota        int    `json:"quota,omitempty" doc:"Most addresses at once."`
	Range        string `json:"range,omitempty" doc:"An exact range, as FIRST-LAST or a prefix." example:"10.210.9.0-10.210.9.7"`
	Quarantine   string `json:"quarantine,omitempty" doc:"How long a freed address rests." example:"60s"`
	Mode         string `json:"mode,omitempty" doc:"routed, unless l2 is said."`
	Parent       string `json:"parent,omitempty" doc:"Of mode l2: the nodes' interface."`
	Attach       string `json:"attach,omitempty" doc:"Of mode l2: bridge, unless macvlan is said."`
	Gateway      string `json:"gateway,omitempty" doc:"Of mode l2: the router inside the subnet."`
	MTU          int    `json:"mtu,omitempty"`
	Isolation    string `json:"isolation,omitempty" doc:"project or open."`
	Announce     string `json:"announce,omitempty" doc:"host or aggregate."`
	AnnounceWhen string `json:"announceWhen,omitempty" doc:"ready or healthy."`
	IPv6         string `json:"ipv6,omitempty" doc:"The /96 in which IPv6 addresses are derived."`
	Attachable   bool   `json:"attachable,omitempty" doc:"docker run may join."`
	Internal     bool   `json:"internal,omitempty"`
}

// PoolWish is a name for a prefix.
type PoolWish struct {
	Name   string `json:"name" example:"prod"`
	Prefix string `json:"prefix" example:"10.210.0.0/16"`
	Block  int    `json:"block,omitempty" doc:"Length of the blocks that its networks take, unless they say otherwise."`
	Quota  int    `json:"quota,omitempty" doc:"Most addresses of a network at once, unless it says otherwise."`
	Why    string `json:"why,omitempty"`
}

type (
	listNetworks struct {
		Project     project.Name            `query:"project" maxLength:"63" doc:"Only this project's."`
		Environment project.EnvironmentName `query:"environment" maxLength:"63" doc:"Only this environment's."`
		Paging
	}
	networkInput struct {
		Network string `path:"network" maxLength:"255" doc:"Its name or id." example:"wide"`
	}
	createNetwork struct {
		Repeatable
		DryRun bool `query:"dryRun" doc:"Only say what is wrong, and what would be made."`
		Body   NetworkWish
	}
	listPools  struct{ Paging }
	createPool struct {
		Repeatable
		Body PoolWish
	}
	poolInput struct {
		Pool string `path:"pool" maxLength:"63" doc:"Its name." example:"prod"`
	}
	networkList   struct{ Body List[engine.Network] }
	networkOutput struct{ Body engine.Network }
	poolList      struct{ Body List[engine.Pool] }
	poolOutput    struct{ Body engine.Pool }
)

func (a *API) networkRoutes() {
	const networks, pools = "/api/v1/networks", "/api/v1/pools"
	serve(a, a.operation(http.MethodGet, networks, "listNetworks", "swarm", http.StatusOK, "List by name the networks whose addresses Rolling gives, and how full they are"), a.listNetworks)
	serve(a, a.operation(http.MethodPost, networks, "createNetwork", "swarm", http.StatusCreated, "Make a network and wait until Swarm's leader has made it"), a.createNetwork)
	serve(a, a.operation(http.MethodGet, networks+"/{network}", "showNetwork", "swarm", http.StatusOK, "Show a network, who uses it, and how full it is"), a.showNetwork)
	serve(a, a.operation(http.MethodDelete, networks+"/{network}", "removeNetwork", "swarm", http.StatusNoContent, "Remove a network that nobody uses"), a.removeNetwork)
	serve(a, a.operation(http.MethodGet, pools, "listPools", "swarm", http.StatusOK, "List named pools, and how full they are"), a.listPools)
	serve(a, a.operation(http.MethodPost, pools, "createPool", "swarm", http.StatusCreated, "Give a prefix a name"), a.createPool)
	serve(a, a.operation(http.MethodDelete, pools+"/{pool}", "removePool", "swarm", http.StatusNoContent, "Take a name away from a prefix that no network draws from"), a.removePool)
}

func (a *API) listNetworks(ctx context.Context, in *listNetworks) (*networkList, error) {
	all, warnings, err := a.parts.Networks.Networks(ctx, engine.NetworksOf{Project: in.Project, Environment: in.Environment})
	if err != nil {
		return nil, err
	}
	list, err := page(all, in.Paging, false, func(n engine.Network) string { return n.Name + " " + n.ID })
	list.Warnings = warnings
	return &networkList{list}, err
}

func (a *API) createNetwork(ctx context.Context, in *createNetwork) (*networkOutput, error) {
	n, warnings, err := a.parts.Networks.CreateNetwork(ctx, engine.NewNetwork{Wish: network.Wish(in.Body), By: caller(ctx), DryRun: in.DryRun})
	n.Warnings = append(n.Warnings, warnings...)
	return &networkOutput{n}, err
}

func (a *API) showNetwork(ctx context.Context, in *networkInput) (*networkOutput, error) {
	n, warnings, err := a.parts.Networks.Network(ctx, in.Network)
	n.Warnings = append(n.Warnings, warnings...)
	return &networkOutput{n}, err
}

func (a *API) listPools(ctx context.Context, in *listPools) (*poolList, error) {
	all, warnings, err := a.parts.Pools.Pools(ctx)
	if err != nil {
		return nil, err
	}
	list, err := page(all, in.Paging, false, func(p engine.Pool) string { return p.Name })
	list.Warnings = warnings
	return &poolList{list}, err
}

func (a *API) createPool(ctx context.Context, in *createPool) (*poolOutput, error) {
	b := in.Body
	prefix, why := allotment.ReadPrefix(b.Prefix)
	if why != "" {
		return nil, problem(http.StatusUnprocessableEntity, Code(engine.Invalid), "pool "+b.Name+": prefix: "+why+": nothing changed", Detail{Path: "prefix", Text: why})
	}
	p, warnings, err := a.parts.Pools.CreatePool(ctx, engine.NewPool{Pool: allotment.Pool{Name: b.Name, Prefix: prefix, Block: b.Block, Quota: b.Quota, Why: b.Why}, By: caller(ctx)})
	p.Warnings = append(p.Warnings, warnings...)
	return &poolOutput{p}, err
}

func (a *API) removePool(ctx context.Context, in *poolInput) (*nothing, error) {
	_, err := a.parts.Pools.RemovePool(ctx, in.Pool, caller(ctx))
	return nil, err
}

// readAddress reads an IPv4 address of a path or a body.
func readAddress(at, text string) (netip.Addr, error) {
	x, err := netip.ParseAddr(text)
	if err != nil || !x.Is4() {
		why := "want an IPv4 address as 10.210.3.7"
		return x, problem(http.StatusUnprocessableEntity, Code(engine.Invalid), at+": "+why, Detail{Path: at, Text: why})
	}
	return x, nil
}

func (a *API) removeNetwork(ctx context.Context, in *networkInput) (*nothing, error) {
	_, err := a.parts.Networks.RemoveNetwork(ctx, in.Network, caller(ctx))
	return nil, err
}
