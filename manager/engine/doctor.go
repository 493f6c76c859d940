package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/swarm"
	"golang.org/x/sync/errgroup"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/manager/doctor"
)

// knownAfter: so long after a task has begun to run, all nodes should have a route to it.
const knownAfter = 10 * time.Second

// Examination is what the doctor found.
type Examination struct {
	At       time.Time        `json:"at"`
	Nodes    int              `json:"nodes"`  // that were looked at
	Checks   []string         `json:"checks"` // what was looked for
	Wrong    int              `json:"wrong"`  // findings that are faults
	Findings []doctor.Finding `json:"findings"`
}

// Examine looks at the network of all nodes. With a node's name only what concerns that one is told; all are asked
// nevertheless, since much shows only in comparison.
func (e *Engine) Examine(ctx context.Context, node string) (Examination, error) {
	only := ""
	if node != "" {
		n, err := e.node(ctx, node)
		if err != nil {
			return Examination{}, err
		}
		only = n.Name
	}
	p, err := e.picture(ctx, true)
	if err != nil {
		return Examination{}, err
	}
	x := Examination{At: e.now(), Nodes: len(p.Nodes), Checks: doctor.Checks(), Findings: doctor.Examine(p)}
	if only != "" {
		x.Nodes = 1
		x.Findings = slices.DeleteFunc(x.Findings, func(f doctor.Finding) bool { return f.Node != "" && f.Node != only })
	}
	for _, f := range x.Findings {
		if f.Severity == doctor.Wrong {
			x.Wrong++
		}
	}
	return x, nil
}

// picture asks Swarm and, side by side, all agents. Routes are the larger part of it, and left out unless wanted.
func (e *Engine) picture(ctx context.Context, withRoutes bool) (doctor.Picture, error) {
	var p doctor.Picture
	if e.options.Fabric == nil {
		return p, errNoAgents
	}
	nodes, err := e.Nodes(ctx)
	if err != nil {
		return p, err
	}
	p.Nodes = make([]doctor.Node, len(nodes))
	var group errgroup.Group
	group.SetLimit(nodesAtOnce)
	for i, n := range nodes {
		group.Go(func() error {
			p.Nodes[i] = e.ask(ctx, n, withRoutes)
			return nil
		})
	}
	_ = group.Wait() // no function of it fails
	return p, errors.Join(e.imply(ctx, &p), ctx.Err())
}

func (e *Engine) ask(ctx context.Context, n Node, withRoutes bool) doctor.Node {
	d := doctor.Node{Name: n.Name, Address: n.Address, State: n.State, Availability: n.Availability, Asked: e.now()}
	var err error
	d.Facts, err = e.options.Fabric.Network(ctx, n.ID)
	d.Answered = e.now()
	if err == nil && withRoutes {
		routes, fault := e.options.Fabric.RoutesOf(ctx, n.ID)
		d.Routes, err = routes.Routes, fault
	}
	if err != nil {
		d.Silence = strings.TrimPrefix(err.Error(), "node "+n.ID+": ")
	}
	return d
}

// imply adds what the Swarm's networks and tasks say that there should be. It is asked after the agents: what has come
// since is too young to count.
func (e *Engine) imply(ctx context.Context, p *doctor.Picture) error {
	observed, err := e.options.Cluster.Observe(ctx)
	if err != nil {
		return err
	}
	routed := map[string]bool{}
	for _, n := range observed.Networks {
		v := viewOfNetwork(n)
		if v.Driver != contract.PluginNet || v.Mode == "l2" || !v.Subnet.IsValid() {
			continue // an l2 network lies in the nodes' own on purpose
		}
		routed[v.Name] = true
		w := doctor.Network{Name: v.Name, Subnet: v.Subnet}
		if d := n.Spec.DriverConfiguration; d != nil {
			w.MTU, _ = strconv.Atoi(d.Options[contract.MTU]) // the plugin took it
		}
		p.Networks = append(p.Networks, w)
	}
	tasks, err := e.options.Cluster.Tasks(ctx)
	if err != nil {
		return fmt.Errorf("what the tasks imply: %w", err)
	}
	long := map[string]bool{}
	for _, t := range tasks {
		long[t.ID] = t.Status.State == swarm.TaskStateRunning && t.DesiredState == swarm.TaskStateRunning && e.now().Sub(t.Status.Timestamp) > knownAfter
	}
	all, err := e.Addresses(ctx, AddressesOf{})
	if err != nil {
		return fmt.Errorf("what the tasks imply: %w", err)
	}
	for _, a := range all {
		if long[a.Task] && routed[a.Network] && a.Node != "" {
			p.Addresses = append(p.Addresses, doctor.Address{Address: a.Address, Node: a.Node, Owner: ownerOf(a)})
		}
	}
	return nil
}

// ownerOf is whose an address is, in a word: project/environment/service.slot.
func ownerOf(a Address) string {
	who := strings.Trim(a.Project+"/"+a.Environment+"/"+a.Service, "/")
	if a.Slot != "" {
		who += "." + a.Slot
	}
	return who
}
