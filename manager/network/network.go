// Package network decides whether a network that somebody wishes for can be, says all that is wrong with it at once, and
// turns it into what Swarm is asked for. It knows options, named pools, and which subnets are taken; it knows no Swarm.
package network

import (
	"fmt"
	"math"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/swarm"

	"github.com/rolling-swarm/rolling/internal/allotment"
	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/manager/project"
)

// Wish is a network as somebody wishes for it. What is empty or 0 was not said.
type Wish struct {
	Name         string
	Pool         string // named; in place of Subnet
	Subnet       string
	Project      string
	Environment  string
	Block        int
	Quota        int
	Range        string // FIRST-LAST, or a prefix
	Quarantine   string
	Mode         string // routed or l2
	Parent       string
	Attach       string // bridge or macvlan
	Gateway      string
	MTU          int
	Isolation    string
	Announce     string
	AnnounceWhen string
	IPv6         string
	Attachable   bool
	Internal     bool
}

// Taken is a subnet that a network of the Swarm has.
type Taken struct {
	Name   string
	Subnet netip.Prefix
	Ours   bool // Rolling's IPAM gives its addresses: several networks may have the very same subnet
}

var (
	networkName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$`)
	ownerName   = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,63}$`)
	parentName  = regexp.MustCompile(`^[^/\s]{1,15}$`)
)

// longestQuarantine is as in a project file.
const longestQuarantine = 24 * time.Hour

type draft struct {
	Wish
	subnet   netip.Prefix
	options  map[string]string // of the network driver
	ipam     map[string]string
	problems []project.Problem
}

func (d *draft) say(at, format string, args ...any) {
	d.problems = append(d.problems, project.Problem{Path: at, Text: fmt.Sprintf(format, args...)})
}

// Draw makes a wish into what Swarm is asked for, or says all that is wrong with it.
func Draw(w Wish, p allotment.Plan, taken []Taken) (swarm.NetworkSpec, []project.Problem) {
	d := &draft{Wish: w, options: map[string]string{}, ipam: map[string]string{}}
	d.name(taken)
	d.place(p)
	d.owner()
	d.share()
	d.mode()
	if d.subnet.IsValid() {
		for _, text := range Clashes(d.subnet, p, taken) {
			d.say("subnet", "%s", text)
		}
	}
	slices.SortStableFunc(d.problems, func(a, b project.Problem) int { return strings.Compare(a.Path, b.Path) })
	return swarm.NetworkSpec{
		Annotations:         swarm.Annotations{Name: d.Name},
		DriverConfiguration: &swarm.Driver{Name: contract.PluginNet, Options: d.options},
		IPAMOptions:         &swarm.IPAMOptions{Driver: swarm.Driver{Name: contract.PluginIPAM, Options: d.ipam}, Configs: []swarm.IPAMConfig{{Subnet: d.subnet}}},
		Attachable:          d.Attachable, Internal: d.Internal, Scope: "swarm",
	}, d.problems
}

// Clashes are the sentences on what a subnet overlaps without being equal to it, or what it must not be equal to.
func Clashes(subnet netip.Prefix, p allotment.Plan, taken []Taken) []string {
	var all []string
	for _, pool := range p.Pools {
		if pool.Prefix.Overlaps(subnet) && pool.Prefix != subnet {
			all = append(all, fmt.Sprintf("%s overlaps pool %s (%s): use the pool, or a subnet outside of it", subnet, pool.Name, pool.Prefix))
		}
	}
	for _, t := range taken {
		switch {
		case !t.Subnet.IsValid() || !t.Subnet.Overlaps(subnet):
		case t.Subnet != subnet:
			all = append(all, fmt.Sprintf("%s overlaps %s of network %s: use that very subnet, or one beside it", subnet, t.Subnet, t.Name))
		case !t.Ours:
			all = append(all, fmt.Sprintf("%s is the subnet of network %s, whose addresses another IPAM driver gives: use one beside it", subnet, t.Name))
		}
	}
	slices.Sort(all)
	return all
}

func (d *draft) name(taken []Taken) {
	if !networkName.MatchString(d.Name) {
		d.say("name", "%.70q: want 1 to 63 letters, digits, '-', '_' or '.', the first one a letter or a digit", d.Name)
	}
	if slices.ContainsFunc(taken, func(t Taken) bool { return t.Name == d.Name }) {
		d.say("name", "the Swarm has a network %s already", d.Name)
	}
}

// place finds the subnet, and what the pool gives unless the wish says otherwise.
func (d *draft) place(p allotment.Plan) {
	switch {
	case d.Pool != "" && d.Subnet != "":
		d.say("pool", "a pool and a subnet were said: want one of them")
	case d.Pool != "":
		pool, err := p.Named(d.Pool)
		if err != nil {
			d.say("pool", "%v", err)
			return
		}
		d.subnet, d.ipam[contract.Pool] = pool.Prefix, pool.Name
		if d.Quota == 0 {
			d.Quota = pool.Quota
		}
		if d.Block == 0 && d.Range == "" {
			d.Block = pool.Block
		}
	case d.Subnet == "":
		d.say("subnet", "want a named pool or a subnet such as 10.210.3.0/24")
	default:
		var why string
		if d.subnet, why = allotment.ReadPrefix(d.Subnet); why != "" {
			d.say("subnet", "%s", why)
		}
	}
}

func (d *draft) owner() {
	for _, o := range []struct{ at, key, value string }{{"project", contract.Project, d.Project}, {"environment", contract.Environment, d.Environment}} {
		switch {
		case o.value == "":
		case !ownerName.MatchString(o.value):
			d.say(o.at, "%.70q: want 1 to 63 letters, digits, '-', '_' or '.'", o.value)
		default:
			d.options[o.key], d.ipam[o.key] = o.value, o.value
		}
	}
	if d.Environment != "" && d.Project == "" {
		d.say("environment", "name its project too")
	}
}

// share is what the network gets of the subnet.
func (d *draft) share() {
	if d.Block != 0 {
		least := 8
		if d.subnet.IsValid() {
			least = d.subnet.Bits()
		}
		d.whole("block", contract.Block, d.Block, least, 32)
	}
	if d.Quota != 0 {
		d.whole("quota", contract.Quota, d.Quota, 1, 1<<24)
	}
	if d.Range != "" {
		d.exact()
	}
	if d.Quarantine != "" {
		rest, err := time.ParseDuration(d.Quarantine)
		if err != nil || rest < 0 || rest > longestQuarantine {
			d.say("quarantine", "%.50q: want a time from 0s to %s, as 60s", d.Quarantine, longestQuarantine)
		}
		d.ipam[contract.Quarantine] = d.Quarantine
	}
}

func (d *draft) exact() {
	first, last, err := project.ParseRange(d.Range)
	switch {
	case err != nil:
		d.say("range", "%v", err)
	case d.subnet.IsValid() && (!d.subnet.Contains(first) || !d.subnet.Contains(last)):
		d.say("range", "%s-%s is not inside %s", first, last, d.subnet)
	case d.Block != 0:
		d.say("range", "blocks and an exact range exclude one another: keep one of them")
	}
	d.ipam[contract.Range] = d.Range
}

func (d *draft) whole(at, key string, n, least, most int) {
	if n < least || n > most {
		d.say(at, "%d: want %d to %d", n, least, most)
	}
	d.ipam[key] = strconv.Itoa(n)
}

func (d *draft) choice(at, key, value string, choices ...string) {
	switch {
	case value == "":
		return
	case !slices.Contains(choices, value):
		text := fmt.Sprintf("%.50q is none of %s", value, strings.Join(choices, ", "))
		if near := contract.Nearest(value, choices); near != "" {
			text += fmt.Sprintf("; did you mean %q?", near)
		}
		d.say(at, "%s", text)
	}
	d.options[key] = value
}

// mode is how containers are joined to the rest of the company.
func (d *draft) mode() {
	d.choice("mode", contract.Mode, d.Mode, "routed", "l2")
	d.choice("attach", contract.Attach, d.Attach, "bridge", "macvlan")
	d.choice("isolation", contract.Isolation, d.Isolation, "project", "open")
	d.choice("announce", contract.Announce, d.Announce, "host", "aggregate")
	d.choice("announceWhen", contract.AnnounceWhen, d.AnnounceWhen, "ready", "healthy")
	if d.MTU != 0 {
		if d.MTU < 576 || d.MTU > math.MaxUint16 {
			d.say("mtu", "%d: want 576 to 65535", d.MTU)
		}
		d.options[contract.MTU] = strconv.Itoa(d.MTU)
	}
	if d.IPv6 != "" {
		if p, err := netip.ParsePrefix(d.IPv6); err != nil || !p.Addr().Is6() || p.Bits() != 96 || p != p.Masked() {
			d.say("ipv6", "%.60q: want a /96 such as fd00:10:201::/96, in which addresses are derived", d.IPv6)
		}
		d.options[contract.IPv6] = d.IPv6
	}
	bridged := d.Mode == "l2"
	switch {
	case !bridged && d.Parent != "":
		d.say("parent", "only a network of mode l2 has a parent interface")
	case !bridged && d.Attach != "":
		d.say("attach", "only a network of mode l2 is attached to an interface")
	case bridged && !parentName.MatchString(d.Parent):
		d.say("parent", "%.50q: want the interface that nodes have in that network", d.Parent)
	case bridged:
		d.options[contract.Parent] = d.Parent
	}
	d.router(bridged)
}

func (d *draft) router(bridged bool) {
	if !bridged {
		if d.Gateway != "" {
			d.say("gateway", "a routed network has a gateway of its own: leave it out, or choose mode l2")
		}
		return
	}
	a, err := netip.ParseAddr(d.Gateway)
	if err != nil || d.subnet.IsValid() && !d.subnet.Contains(a) {
		d.say("gateway", "%.50q: want the router's address inside the subnet", d.Gateway)
	}
	d.options[contract.Gateway], d.ipam[contract.Gateway] = d.Gateway, d.Gateway
}
