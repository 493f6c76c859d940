package apitest

import (
	"context"
	"net/netip"
	"strings"

	"github.com/rolling-swarm/rolling/internal/wire"
	"github.com/rolling-swarm/rolling/manager/doctor"
	"github.com/rolling-swarm/rolling/manager/engine"
)

// drained are the nodes of this world that drain. Each question lets one of their tasks end.
type drained struct {
	left map[string]int  // tasks
	back map[string]bool // active again, and the agent has not come yet
}

// NodeDetail gives one.
func (e *Engine) NodeDetail(ctx context.Context, name string) (engine.NodeDetail, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.nodeDetail(ctx, name)
}

func (e *Engine) nodeDetail(ctx context.Context, name string) (engine.NodeDetail, error) {
	all, _ := e.Nodes(ctx)
	for _, n := range all {
		if n.Name != name {
			continue
		}
		left, leaves := e.away.left[name]
		d := engine.NodeDetail{Node: n, Marked: &leaves}
		if leaves {
			d.Availability = "drain"
		}
		for i := range left {
			d.Remaining = append(d.Remaining, engine.NodeTask{ID: "tk" + string(rune('1'+i)), Service: "orders-test_web", Slot: string(rune('1' + i)), State: "running"})
		}
		if left > 0 && name != "n3" { // what runs on n3 does not end
			e.away.left[name]--
		}
		return d, nil
	}
	return engine.NodeDetail{}, no(engine.NotFound, "node %s: the Swarm has none of that name", name)
}

// DrainNode drains one; n1 has the manager.
func (e *Engine) DrainNode(ctx context.Context, o engine.NodeChange) (engine.NodeDetail, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if o.Node == "n1" && !o.Force {
		return engine.NodeDetail{}, no(engine.Blocked, "node n1: this manager runs there and would have to go: drain it with --force")
	}
	if e.away.left == nil {
		e.away.left, e.away.back = map[string]int{}, map[string]bool{}
	}
	if _, leaves := e.away.left[o.Node]; !leaves {
		if _, err := e.nodeDetail(ctx, o.Node); err != nil {
			return engine.NodeDetail{}, err
		}
		e.away.left[o.Node] = 2
	}
	return e.nodeDetail(ctx, o.Node)
}

// ActivateNode undoes it; the agent comes with the second question.
func (e *Engine) ActivateNode(ctx context.Context, o engine.NodeChange) (engine.NodeDetail, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, leaves := e.away.left[o.Node]; leaves {
		delete(e.away.left, o.Node)
		d, err := e.nodeDetail(ctx, o.Node)
		d.Marked, d.Warnings = nil, []string{"its routes may be marked still: its agent has no line to this manager"}
		return d, err
	}
	return e.nodeDetail(ctx, o.Node)
}

// Examine finds nothing wrong, until a node has been drained.
func (e *Engine) Examine(ctx context.Context, node string) (engine.Examination, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	x := engine.Examination{At: Begin, Nodes: 3, Checks: []string{"agent", "mtu"}, Findings: []doctor.Finding{}}
	if node != "" {
		if _, err := e.nodeDetail(ctx, node); err != nil {
			return x, err
		}
	}
	if len(e.away.left) > 0 {
		x.Wrong = 1
		x.Findings = []doctor.Finding{
			{Severity: doctor.Wrong, Check: "mtu", Node: "n3", Text: "its uplink has MTU 1400, on most nodes it is 1500", Remedy: "give the uplink (eth0) MTU 1500"},
			{Severity: doctor.Notice, Check: "agent", Node: "n2", Text: "the node is drained", Remedy: "`rolling node activate n2` brings it back"},
		}
	}
	return x, nil
}

// Reach knows two projects, of which one lets the other in by one port.
func (e *Engine) Reach(_ context.Context, from, goal string) (doctor.Reach, error) {
	a := doctor.End{Address: netip.MustParseAddr("10.210.4.7"), Owner: "payments/test/api.1", Service: "payments-test_api", Node: "n1"}
	b := doctor.End{Address: netip.MustParseAddr("10.210.3.9"), Owner: "orders/test/web.2", Service: "orders-test_web", Node: "n2"}
	says := wire.Reach{Rule: "no-entry", Why: "no service of project orders has payments in its label rolling.allow-from", By: "the firewall's chain ROLLING-ISOLATE"}
	says.From.Class.Project, says.To.Class.Project = "payments", "orders"
	door := "8080/tcp"
	if strings.HasSuffix(goal, ":9090") {
		door = "9090/tcp"
		says.Allowed, says.Rule, says.Service, says.Why = true, "label", "orders-test_web", "service orders-test_web says rolling.allow-from: payments:9090"
	}
	if from == "nobody" {
		return doctor.Reach{}, no(engine.NotFound, "%q is no address, and no running container, task or service on a network of rolling/net", from)
	}
	return doctor.CanReach(a, b, door, []doctor.View{{Node: "n1", Says: says}, {Node: "n2", Says: says}}), nil
}
