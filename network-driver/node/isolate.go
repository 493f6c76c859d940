package node

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/rolling-swarm/rolling/internal/permits"
	"github.com/rolling-swarm/rolling/network-driver/isolation"
	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// Wall is the firewall between projects.
type Wall interface {
	Set(four, six isolation.Wall) error
	Doubt() // the next Set compares with the kernel
	Recall() (map[netip.Addr]isolation.Number, error)
	Cut(allowed func(from, to netip.Addr, protocol permits.Protocol, port uint16) bool) (int, error)
	Denied() (uint64, error)
}

// Isolation is how projects are kept apart.
type Isolation struct {
	Wall    Wall
	Outside bool             // the company's other networks may connect to every project
	Guarded []isolation.Port // of the node itself, for no container
}

// apart is what the loop knows of it.
type apart struct {
	document permits.Document
	trouble  string // why the newest document is not in force
	marks    topology.Marks
	recalled topology.Marks // what an earlier run knew, until the fabric is known
	own      []isolation.Class
	policy   isolation.Policy
	carried  topology.Fast    // what the fast path was told last
	wall     isolation.Wall   // what was laid last
	wall6    isolation.Wall   // the same for IPv6
	owed     bool             // connections may go on that the wall does not allow
	cut      int              // connections ended since they are not allowed any more
	pending  []topology.Route // told, and not yet known to the fast path
	news     []netip.Addr     // of which the mark is new, and not yet known to the firewall
}

// Permit takes a policy. One that could not be read changes nothing, and is said.
func (n *Node) Permit(ctx context.Context, d permits.Document, trouble error) {
	_, _ = do(ctx, n, func() (nothing, error) { // it ends only with the process
		n.permit(d, trouble)
		return nothing{}, nil
	})
}

func (n *Node) permit(d permits.Document, trouble error) {
	n.note("policy", trouble)
	if trouble != nil {
		n.apart.trouble = trouble.Error()
		return
	}
	n.apart.document, n.apart.trouble = d, ""
	n.parts.Log.Info("the policy", "revision", d.Revision, "projects", len(d.Projects), "permits", len(d.Permits))
	if n.refused == nil {
		n.fast()
		n.place()
	}
}

// book is what isolation has to know at this moment.
func (n *Node) book() isolation.Book {
	own := n.state.Classes()
	slices.SortFunc(own, func(a, b isolation.Class) int { return slices.Compare([]byte(a.String()), []byte(b.String())) })
	own = slices.Compact(own)
	if n.apart.policy.Revision != n.apart.document.Revision || !slices.Equal(own, n.apart.own) || n.apart.own == nil {
		n.apart.own, n.apart.policy = append([]isolation.Class{}, own...), isolation.NewPolicy(n.apart.document, own)
	}
	far := n.apart.marks
	if len(n.inherited)+len(n.apart.recalled) > 0 {
		far = topology.Marks{}
		maps.Copy(far, n.apart.recalled)
		maps.Copy(far, n.apart.marks)
		for p := range n.inherited {
			if _, told := far[p.Addr()]; !told && p.IsSingleIP() {
				far[p.Addr()] = n.apart.recalled[p.Addr()]
			}
		}
	}
	b := topology.BookOf(n.state, far, n.apart.policy, n.parts.Isolation.Outside)
	if len(n.serving.announce) > 0 {
		guard := n.guard()
		for a, home := range n.serving.announce { // who may not connect to its backends may not by it
			_, taken := b.Here[a]
			if w, known := n.state.Networks[home]; known && !taken && guard.Holds(a) == nil {
				b.Here[a] = w.Options.Class()
			}
		}
	}
	return b.Without(slices.Concat(n.membership.Managers, n.membership.Nodes, []netip.Addr{n.membership.Self}))
}

// fast is carry, where a failure is noted and tried again, and everything is looked at.
func (n *Node) fast() { _ = n.carry(nil) }

// carry tells firewall and fast path the whole of what they should know, after these links alone changed. What closes is closed on the fast path first,
// what opens is opened there last: at no moment does it carry what the firewall would not let pass.
func (n *Node) carry(touched []string) error {
	b := n.book()
	f := topology.FastOf(n.state, n.far(), n.guard(), n.uplink, b)
	if n.yield(); n.idle != "" {
		f = f.Idle()
	}
	f.Touched = touched
	closed := f.Within(n.apart.carried)
	var problem error
	if n.apart.carried.Exceeds(f) {
		if problem = n.parts.Fast.Set(closed); problem == nil {
			n.apart.carried = closed
		}
	}
	err := n.build(b)
	if err == nil && problem == nil {
		if problem = n.parts.Fast.Set(f); problem == nil {
			n.apart.carried = f
			n.apart.carried.Far = maps.Clone(f.Far)
		}
	}
	n.note("fast path", problem)
	n.sources(f.Legs)
	n.sizes()
	return err
}

// build makes the firewall keep apart what the book says. What stands is let go on unseen, as long as all that is not
// allowed any more can be ended; else each packet is judged.
func (n *Node) build(b isolation.Book) error {
	w, w6 := b.Wall(isolation.Four, n.parts.Isolation.Guarded), b.Wall(isolation.Six, n.parts.Isolation.Guarded)
	if len(n.apart.wall.Rules)+len(n.apart.wall6.Rules) == 0 && len(w.Rules)+len(w6.Rules) > 0 {
		n.apart.owed = true // nobody knows what has begun before
	}
	err := n.raise(w, w6)
	n.clashes(b.Policy.Clashes)
	if err != nil {
		return err
	}
	before := n.apart.owed
	n.apart.owed = before || n.apart.wall.Exceeds(w) || n.apart.wall6.Exceeds(w6)
	n.apart.wall, n.apart.wall6 = w, w6
	if n.apart.owed && (n.settled || len(n.inherited) == 0) { // before, little is known of who is where
		n.end(b)
	}
	if n.apart.owed != before {
		return n.raise(w, w6)
	}
	return nil
}

// raise lays the wall, eased while nothing is owed.
func (n *Node) raise(w, w6 isolation.Wall) error {
	if !n.apart.owed {
		w, w6 = w.Eased(), w6.Eased()
	}
	err := n.parts.Isolation.Wall.Set(w, w6)
	n.note("isolation", err)
	return err
}

// end cuts connections that the firewall lets go on. What fails is tried again with the next look at everything.
func (n *Node) end(b isolation.Book) {
	gone, err := n.parts.Isolation.Wall.Cut(func(from, to netip.Addr, protocol permits.Protocol, port uint16) bool {
		_, here := b.Here[from]
		if _, there := b.Here[to]; !here && !there {
			return true
		}
		return b.Judge(from, to, protocol, port).Allowed
	})
	n.apart.owed = err != nil
	n.note("connections", err)
	if n.apart.cut += gone; gone > 0 {
		n.parts.Log.Info("ended connections that are not allowed any more", "connections", gone)
	}
}

func (n *Node) clashes(all []string) {
	var err error
	if len(all) > 0 {
		err = fmt.Errorf("%d numbers of projects are taken twice: %s", len(all), all[0])
	}
	n.note("projects", err)
}

// reopen follows single changes of other nodes' containers: what is carried of them and is no longer so is closed first.
func (n *Node) reopen(news []netip.Addr) {
	b := n.book()
	gone := map[netip.Addr]topology.Group{}
	for _, a := range news {
		if g := n.apart.carried.Far[a]; g != 0 && g != topology.Group(b.Group(a)) {
			gone[a] = 0
			delete(n.apart.carried.Far, a)
		}
	}
	if len(gone) > 0 {
		n.note("fast path", n.parts.Fast.Learn(gone))
	}
	if len(n.state.Addresses()) > 0 {
		_ = n.build(b) // noted, and tried again
	}
}

// Explanation is a verdict, and who carries it out.
type Explanation struct {
	isolation.Verdict
	By string `json:"by"`
}

// Explain says whether the one may connect to the other, and why, as this node sees it.
func (n *Node) Explain(ctx context.Context, from, to netip.Addr, protocol permits.Protocol, port uint16) (Explanation, error) {
	return serve(ctx, n, func() (Explanation, error) {
		b := n.book()
		e := Explanation{Verdict: b.Judge(from, to, protocol, port)}
		g, o := b.Group(from), b.Group(to)
		carried := g != 0 && o != 0 && (g == o || slices.Contains(n.apart.carried.Pairs, topology.Pair{From: topology.Group(g), To: topology.Group(o)}))
		switch {
		case e.From.Kind != isolation.Local && e.To.Kind != isolation.Local:
			e.By = "nobody here: neither is a container of this node: ask a node that has one of them"
		case carried && n.idle == "" && n.parts.Fast.Name() != topology.Plain:
			e.By = "the fast path (" + n.parts.Fast.Name() + ")"
		case b.Isolates():
			e.By = "the firewall's chain ROLLING-ISOLATE"
		default:
			e.By = "nobody: no project has a container on this node"
		}
		return e, nil
	})
}

// Apart is how it stands with isolation.
type Apart struct {
	Outside  string                     `json:"outside"`  // open or closed
	Revision string                     `json:"revision"` // of the policy in force
	Trouble  string                     `json:"trouble,omitempty"`
	Projects int                        `json:"projects"`
	Permits  []permits.Permit           `json:"permits"`
	Clashes  []string                   `json:"clashes,omitempty"`
	Here     map[string]isolation.Class `json:"here"`
	Unknown  []netip.Addr               `json:"unknown,omitempty"` // other nodes' containers without a mark to trust
	Rules    int                        `json:"rules"`
	Denied   uint64                     `json:"denied"` // packets
	Cut      int                        `json:"cut"`    // connections
}

func (n *Node) standing() Apart {
	b := n.book()
	a := Apart{
		Outside: "closed", Revision: n.apart.document.Revision, Trouble: n.apart.trouble, Projects: len(n.apart.document.Projects),
		Permits: n.apart.document.Permits, Clashes: b.Policy.Clashes, Here: map[string]isolation.Class{}, Rules: len(n.apart.wall.Rules), Cut: n.apart.cut,
	}
	if b.Outside {
		a.Outside = "open"
	}
	for address, c := range b.Here {
		a.Here[address.String()] = c
	}
	for address, mark := range b.Far {
		if _, ok := b.Policy.ClassOf(mark); !ok {
			a.Unknown = append(a.Unknown, address)
		}
	}
	slices.SortFunc(a.Unknown, netip.Addr.Compare)
	return a
}
