package api

import (
	"context"
	"encoding/hex"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/rolling-swarm/rolling/manager/engine"
	"github.com/rolling-swarm/rolling/manager/project"
)

// Route is where the fabric is told that a prefix is.
type Route struct {
	Prefix      netip.Prefix `json:"prefix" example:"10.210.3.1/32"`
	NextHop     netip.Addr   `json:"nextHop,omitzero" doc:"Where it is; absent as long as no other node has heard of it."`
	Node        string       `json:"node,omitempty" doc:"Who announces it; absent: a router of the site, a node whose agent is away, or nobody any more."`
	Project     string       `json:"project,omitempty"`
	Environment string       `json:"environment,omitempty"`
	Container   string       `json:"container,omitempty" doc:"Service and slot of who has the address, as Swarm knows it." example:"web.1"`
	Since       time.Time    `json:"since,omitzero" doc:"When its container got the address."`
	MissingOn   []string     `json:"missingOn,omitempty" doc:"Nodes that have not heard of it."`
}

type (
	listNodes  struct{ Paging }
	listRoutes struct {
		Node string `query:"node" maxLength:"255" doc:"Only what this one announces."`
		Paging
	}
	listAddresses struct {
		Project     project.Name            `query:"project" maxLength:"63" doc:"Only this project's."`
		Environment project.EnvironmentName `query:"environment" maxLength:"63" doc:"Only this environment's."`
		Paging
	}
	nodeList    struct{ Body List[engine.Node] }
	addressList struct{ Body List[engine.Address] }
	routeList   struct{ Body List[Route] }
)

func (a *API) swarmRoutes() {
	serve(a, a.operation(http.MethodGet, "/api/v1/nodes", "listNodes", "swarm", http.StatusOK, "List the Swarm's nodes by name"), a.listNodes)
	serve(a, a.operation(http.MethodGet, "/api/v1/addresses", "listAddresses", "swarm", http.StatusOK, "List by address who has which one on Rolling's networks"), a.listAddresses)
	serve(a, a.operation(http.MethodGet, "/api/v1/routes", "listRoutes", "swarm", http.StatusOK, "List by prefix where the fabric is told that addresses are"), a.listRoutes)
}

func (a *API) listNodes(ctx context.Context, in *listNodes) (*nodeList, error) {
	all, err := a.parts.Swarm.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	list, err := page(all, in.Paging, false, func(n engine.Node) string { return n.Name + " " + n.ID })
	return &nodeList{list}, err
}

func (a *API) listAddresses(ctx context.Context, in *listAddresses) (*addressList, error) {
	all, err := a.parts.Swarm.Addresses(ctx, engine.AddressesOf{Project: in.Project, Environment: in.Environment})
	if err != nil {
		return nil, err
	}
	list, err := page(all, in.Paging, false, func(x engine.Address) string { return byNumber(x.Address) + " " + x.Network + " " + x.Task })
	return &addressList{list}, err
}

func (a *API) listRoutes(ctx context.Context, in *listRoutes) (*routeList, error) {
	if a.parts.Routes == nil {
		return nil, problem(http.StatusServiceUnavailable, CodeUnavailable, "routes are asked of the nodes' agents, and none reports to this manager")
	}
	all, missing, err := a.parts.Routes.Routes(ctx)
	if err != nil {
		return nil, err
	}
	holders, err := a.parts.Swarm.Addresses(ctx, engine.AddressesOf{})
	if err != nil {
		missing = append(missing, "whose the addresses are: "+err.Error()) // the routes themselves are known
	}
	all = held(all, holders, in.Node)
	list, err := page(all, in.Paging, false, func(r Route) string {
		return byNumber(r.Prefix.Addr()) + " " + r.Prefix.String() + " " + r.Node + " " + byNumber(r.NextHop)
	})
	list.Warnings = missing
	return &routeList{list}, err
}

// held names the holders of addresses, and leaves out what others than one node announce.
func held(all []Route, holders []engine.Address, node string) []Route {
	names := map[string]string{}
	for _, h := range holders {
		if h.Service != "" {
			names[h.Address.String()+" "+h.Node] = strings.Trim(h.Service+"."+h.Slot, ".")
		}
	}
	kept := []Route{}
	for _, r := range all {
		if node != "" && r.Node != node {
			continue
		}
		r.Container = names[r.Prefix.Addr().String()+" "+r.Node]
		kept = append(kept, r)
	}
	return kept
}

// byNumber writes an address so that texts sort as addresses do.
func byNumber(ip netip.Addr) string {
	if !ip.IsValid() {
		return ""
	}
	sixteen := ip.As16()
	return hex.EncodeToString(sixteen[:])
}
