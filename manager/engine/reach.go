package engine

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/internal/wire"
	"github.com/rolling-swarm/rolling/manager/doctor"
)

// errNoAgents is the answer of a manager that no agent dials.
var errNoAgents = errors.New("the network is asked of the nodes' agents, and this manager has no line to them: `rolling line init`, and Rolling's stack")

// Reach says whether one container, task or service, or an address, may connect to another's port: the nodes of both are
// asked, since both judge. The goal is NAME:PORT or ADDRESS:PORT, with /udp or /tcp at its end.
func (e *Engine) Reach(ctx context.Context, from, goal string) (doctor.Reach, error) {
	name, door, err := readGoal(goal)
	if err != nil {
		return doctor.Reach{}, err
	}
	if e.options.Fabric == nil {
		return doctor.Reach{}, errNoAgents
	}
	all, err := e.Addresses(ctx, AddressesOf{})
	if err != nil {
		return doctor.Reach{}, err
	}
	a, err := endOf(all, from)
	if err != nil {
		return doctor.Reach{}, err
	}
	b, err := endOf(all, name)
	if err != nil {
		return doctor.Reach{}, err
	}
	if a.Node == "" && b.Node == "" {
		return doctor.Reach{}, refusal(NotFound, "neither %s nor %s is a container's address of this Swarm: no node here judges what goes between them", a.Address, b.Address)
	}
	at := fmt.Sprintf("%s:%s", b.Address, door)
	if b.Address.Is6() {
		at = fmt.Sprintf("[%s]:%s", b.Address, door)
	}
	var views []doctor.View
	for _, node := range []string{a.Node, b.Node} { // who is asked has the last word
		if node != "" && !slices.ContainsFunc(views, func(v doctor.View) bool { return v.Node == node }) {
			views = append(views, e.view(ctx, node, a.Address.String(), at))
		}
	}
	return doctor.CanReach(a, b, door, views), ctx.Err()
}

func (e *Engine) view(ctx context.Context, name, from, to string) doctor.View {
	v := doctor.View{Node: name}
	n, err := e.node(ctx, name)
	if err == nil {
		v.Says, err = e.options.Fabric.Reach(ctx, n.ID, from, to)
	}
	if err != nil {
		v.Silence = err.Error()
	}
	return v
}

// readGoal splits NAME:PORT[/PROTOCOL]; the protocol is tcp unless said.
func readGoal(text string) (name, door string, err error) {
	bad := refusal(Invalid, "%q: want NAME:PORT or ADDRESS:PORT, with /tcp or /udp at its end if need be, such as orders-production_web:8080", text)
	at := strings.LastIndexByte(text, ':')
	if at <= 0 {
		return "", "", bad
	}
	number, protocol, said := strings.Cut(text[at+1:], "/")
	if !said {
		protocol = "tcp"
	}
	port, err := strconv.ParseUint(number, 10, 16)
	if err != nil || port == 0 || protocol != "tcp" && protocol != "udp" {
		return "", "", bad
	}
	return strings.Trim(text[:at], "[]"), fmt.Sprintf("%d/%s", port, protocol), nil
}

// endOf finds who is meant: an address; a container by name or id; a task by id; a service by Swarm's name of it or by
// project/environment/service; one slot of it. Of a service any running task will do: all of one are judged alike.
func endOf(all []Address, text string) (doctor.End, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		for _, x := range all {
			if x.Address == a || a.Is6() && derived(a, x.Address) {
				return endFrom(all, x, a), nil
			}
		}
		return doctor.End{Address: a}, nil
	}
	var names []string
	for _, x := range all {
		if x.Node != "" && x.called(text) {
			return endFrom(all, x, x.Address), nil
		}
		names = append(names, x.full)
	}
	why := fmt.Sprintf("%q is no address, and no running container, task or service on a network of rolling/net", text)
	if near := contract.Nearest(text, names); near != "" {
		why += fmt.Sprintf("; did you mean %q?", near)
	}
	return doctor.End{}, refusal(NotFound, "%s", why)
}

// shortestID of a task or container that somebody may cut it to.
const shortestID = 6

// called says that a word means this one.
func (a Address) called(text string) bool {
	whole := strings.Trim(a.Project+"/"+a.Environment+"/"+a.Service, "/")
	name := a.full + "." + a.Slot
	if slices.Contains([]string{whole, ownerOf(a)}, text) || a.full != "" && slices.Contains([]string{a.full, name, name + "." + a.Task}, text) {
		return true
	}
	return len(text) >= shortestID && (strings.HasPrefix(a.Task, text) || strings.HasPrefix(a.container, text))
}

// endFrom is an end that some task has; a virtual address is judged on the node of one of its service's tasks.
func endFrom(all []Address, x Address, a netip.Addr) doctor.End {
	end := doctor.End{Address: a, Owner: ownerOf(x), Service: x.full, Node: x.Node}
	for _, y := range all {
		if end.Node == "" && x.full != "" && y.full == x.full {
			end.Node = y.Node
		}
	}
	return end
}

// derived says that an IPv6 address is made of an IPv4 one.
func derived(six, four netip.Addr) bool {
	if !four.Is4() {
		return false
	}
	b, f := six.As16(), four.As4()
	return [4]byte(b[12:]) == f
}

// accessOf are those who may connect to an address, in words, as its node has it.
func accessOf(d *wire.Driver, a netip.Addr) []string {
	if d == nil || d.Access == nil {
		return nil
	}
	at := slices.IndexFunc(d.Endpoints, func(x wire.Endpoint) bool { return x.Address == a })
	if at < 0 {
		return nil
	}
	x := d.Endpoints[at]
	switch {
	case x.Project == "":
		return []string{"everybody: its network belongs to no project"}
	case x.Open:
		return []string{"everybody: its network says rolling.isolation=open"}
	}
	who := []string{"its own project " + x.Project}
	for _, p := range d.Access.Permits {
		if p.To != x.Project {
			continue
		}
		word := p.From
		if p.Port != 0 {
			word += fmt.Sprintf(":%d", p.Port)
		}
		if p.Protocol != "" {
			word += "/" + p.Protocol
		}
		who = append(who, word+", by the label rolling.allow-from of "+p.By)
	}
	if d.Access.Outside == "open" {
		who = append(who, "the company's other networks: ROLLING_OUTSIDE=open")
	}
	return who
}
