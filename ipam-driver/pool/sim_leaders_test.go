package pool

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// changeLeader elects a leader and replays to it what Raft holds, in any order, and now and then not to the end.
func (s *sim) changeLeader() {
	for range 3 {
		s.leader, s.reign = s.r.IntN(len(s.plugins)), s.reign+1
		s.now = s.now.Add(time.Duration(6+s.r.IntN(12)) * time.Second)
		if s.replay() {
			return
		}
	}
	s.leader, s.reign = s.r.IntN(len(s.plugins)), s.reign+1
	for !s.replay() {
		s.reign++
		s.now = s.now.Add(10 * time.Second)
	}
}

func (s *sim) replay() bool {
	p := s.plugins[s.leader]
	p.freed, p.viewed = map[netip.Addr]simRest{}, time.Time{}
	if s.r.IntN(8) > 0 {
		p.keep(p.book.Introduce())
	}
	s.say("new leader")
	stop := s.r.IntN(400)
	for _, i := range s.r.Perm(len(s.networks)) {
		n := s.networks[i]
		if stop--; stop == 0 {
			return false
		}
		if _, heard, err := s.requestPool(n.terms); err != nil {
			s.fail("the replay of network %s was refused: %v", n.terms, err)
		} else if !heard {
			return false
		}
		heard, err := s.call("RequestGateway "+n.gateway.String(), func(p *plugin) (Change, error) {
			got, c, err := p.book.RequestGateway(s.clock(p), s.terms(n.terms).Key(), n.gateway)
			if err == nil && got.Addr() != n.gateway {
				err = fmt.Errorf("got %s", got)
			}
			return c, err
		})
		if err != nil {
			s.fail("the replay of gateway %s was refused: %v", n.gateway, err)
		}
		if !heard {
			return false
		}
	}
	for _, i := range s.r.Perm(len(s.tasks)) {
		t := s.tasks[i]
		if !t.listed || !slices.Contains(s.networks, t.net) {
			continue
		}
		if stop--; stop == 0 {
			return false
		}
		a, heard, err := s.requestAddress(t.net.terms, t.addr)
		if err != nil || heard && a != t.addr {
			s.fail("the replay of %s (%s) was answered %s, %v", t.addr, t.net.terms.Key(), a, err)
		}
		if !heard {
			return false
		}
	}
	s.say("replayed")
	return true
}

// ask begins a view of Swarm, or brings the one under way to the book: a view may be old when it arrives.
func (s *sim) ask() {
	if s.view == nil {
		s.view, s.viewOf = s.look(), s.reign
		return
	}
	v := s.view
	s.view = nil
	if s.viewOf == s.reign {
		s.bring(v)
	}
}

func (s *sim) look() *View {
	p := s.plugins[s.leader]
	v := &View{Space: Global, Began: s.clock(p), Nodes: map[string]Node{}}
	for _, n := range []string{"n1", "n2", "n3", "n4"} {
		v.Nodes[n] = Node{n, s.down[n].IsZero()}
	}
	for _, n := range s.networks {
		v.Networks = append(v.Networks, Network{Key: s.terms(n.terms).Key(), Gateway: n.gateway})
	}
	for _, t := range s.tasks {
		if t.listed {
			h := Holding{Key: s.terms(t.net.terms).Key(), Addr: t.addr, Owner: Owner{Kind: "task", Node: t.node}}
			v.Holdings = append(v.Holdings, h)
		} else if !t.ended.IsZero() && (t.lost || s.now.Sub(t.ended) < 5*time.Minute) {
			v.Holdings = append(v.Holdings, Holding{Key: s.terms(t.net.terms).Key(), Addr: t.addr, Owner: Owner{Kind: "task", Node: t.node}, Ended: t.ended.Add(p.skew), Lost: t.lost})
		}
	}
	return v
}

func (s *sim) bring(v *View) {
	p := s.plugins[s.leader]
	if s.bugs.listThenFree {
		v.Began = s.clock(p)
	}
	p.viewed = v.Began.Add(-p.skew)
	if s.bugs.keepUndone {
		for _, pl := range p.book.pools {
			for _, l := range pl.leases {
				l.touched = max(l.touched, millis(v.Began)-1)
			}
		}
	}
	n := 1
	if s.bugs.listThenFree {
		n = 2
		for _, pl := range p.book.pools {
			for _, l := range pl.leases {
				l.touched -= 2
			}
		}
	}
	for range n {
		c, seen := p.book.Observe(s.clock(p), *v)
		p.keep(c)
		for _, l := range c.Leases {
			if !l.Resting && l.Touched != millis(v.Began) {
				continue
			}
			s.say("a view of %s: %s resting %v for %s", v.Began.Add(-p.skew).Format("15:04:05"), l.Addr, l.Resting, p.book.byID[l.Share].Key)
		}
		if seen.Freed+seen.Adopted > 0 {
			s.say("a view of %s frees %d and adopts %d", v.Began.Add(-p.skew).Format("15:04:05"), seen.Freed, seen.Adopted)
		}
		v.Began = v.Began.Add(time.Millisecond)
	}
	p.keep(p.book.Tidy(s.clock(p)))
}

// onNode is the local space of a plugin, maybe the leader's: nothing that it is told there touches the global one.
func (s *sim) onNode() {
	n := s.pick()
	if n == nil || len(s.tasks) == 0 {
		return
	}
	p := s.plugins[s.r.IntN(len(s.plugins))]
	t := s.tasks[s.r.IntN(len(s.tasks))]
	terms := t.net.terms
	terms.Space = Local
	before := p.book.globalSize()
	_, c, err := p.book.RequestPool(s.clock(p), terms)
	p.keep(c)
	if err == nil {
		_, c, err = p.book.RequestGateway(s.clock(p), terms.Key(), t.net.gateway)
		p.keep(c)
	}
	if err == nil {
		var got netip.Prefix
		got, c, err = p.book.RequestAddress(s.clock(p), terms.Key(), t.addr)
		p.keep(c)
		if err == nil && got.Addr() != t.addr {
			err = fmt.Errorf("got %s", got)
		}
	}
	if err != nil {
		s.fail("a node was refused %s: %v", t.addr, err)
	}
	key := terms.Key()
	if s.bugs.localFrees {
		key = t.net.terms.Key()
	}
	for range 2 {
		if c, err = p.book.ReleaseAddress(s.clock(p), key, t.addr); err == nil {
			p.keep(c)
		}
		if c, err = p.book.ReleasePool(s.clock(p), key); err == nil {
			p.keep(c)
		}
	}
	if after := p.book.globalSize(); after != before && !s.bugs.localFrees {
		s.fail("the local space changed the global one: %s, was %s", after, before)
	}
}

func (b *Book) globalSize() string {
	leases, shares, networks := 0, 0, 0
	for _, p := range b.pools {
		for _, l := range p.leases {
			if p.space == Global && l.state == held {
				leases++
			}
		}
	}
	for _, s := range b.shares {
		if s.terms.Space == Global {
			shares++
			networks += s.Networks
		}
	}
	return fmt.Sprintf("%d leases, %d shares, %d networks", leases, shares, networks)
}

// settle lets everything come to rest: then the book holds what Swarm holds, nothing more and nothing less, and every
// other address can be had.
func (s *sim) settle() {
	s.unreserve()
	s.down = map[string]time.Time{}
	for _, t := range s.tasks {
		if !slices.Contains(s.networks, t.net) || t.lost {
			t.running, t.listed = false, false
		}
	}
	if s.r.IntN(2) == 0 {
		s.changeLeader()
	}
	for range 4 {
		s.now = s.now.Add(time.Minute)
		s.bring(s.look())
	}
	s.now = s.now.Add(25 * time.Hour)
	s.bring(s.look())
	want := map[netip.Addr]bool{}
	for _, t := range s.tasks {
		if t.listed {
			want[t.addr] = true
		}
	}
	p := s.plugins[s.leader]
	for _, l := range p.book.Leases(s.clock(p)) {
		if l.Pool[0] != byte(Global) {
			continue
		}
		if !want[l.Addr] {
			s.fail("%s leaked: %+v", l.Addr, l)
		}
		delete(want, l.Addr)
	}
	if len(want) > 0 {
		s.fail("the book lacks %v", want)
	}
	gateways := map[netip.Addr]bool{}
	for _, n := range s.networks {
		gateways[n.gateway] = true
	}
	for a := range p.book.gateways {
		if !gateways[a] {
			s.fail("gateway %s leaked", a)
		}
	}
	s.exhaust(p)
}

// exhaust asks for every address that is left.
func (s *sim) exhaust(p *plugin) {
	for _, n := range s.networks {
		got := 0
		for {
			a, _, err := p.book.RequestAddress(s.clock(p), s.terms(n.terms).Key(), netip.Addr{})
			if err != nil {
				break
			}
			if t := s.occupied(a.Addr()); t != nil {
				s.fail("%s was given out and is held", a)
			}
			if got++; got > 64 {
				s.fail("%s has no end", n.terms)
			}
		}
		if sh := p.book.shares[s.terms(n.terms).Key()]; sh.terms.Quota == 0 && sh.terms.Block == 0 {
			for a := sh.pool.first; a <= sh.pool.last; a++ {
				if l := sh.pool.leases[a]; (l == nil || l.state == resting) && sh.pool.in(sh.zone, a) && p.book.fits(sh, a) {
					s.fail("%s of %s is free and cannot be had", fromNumber(a), n.terms.Key())
				}
			}
		}
	}
}
