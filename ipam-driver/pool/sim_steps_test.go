package pool

import (
	"net/netip"
	"slices"
	"time"
)

func (s *sim) step() {
	switch n := s.r.IntN(100); {
	case n < 6:
		s.addNetwork()
	case n < 36:
		s.startTask(false)
	case n < 41:
		s.startTask(true)
	case n < 60:
		s.stopTask()
	case n < 63:
		s.removeNetwork()
	case n < 69:
		s.endContainer()
	case n < 72:
		s.changeLeader()
	case n < 80:
		s.ask()
	case n < 82:
		s.crash()
	case n < 86:
		s.onNode()
	case n < 89:
		s.nodes()
	case n < 90:
		s.reserve()
	default:
		s.wait()
	}
}

func (s *sim) pick() *simNetwork {
	if len(s.networks) == 0 {
		return nil
	}
	return s.networks[s.r.IntN(len(s.networks))]
}

func (s *sim) addNetwork() {
	if len(s.networks) >= 8 {
		return
	}
	t := s.menu[s.r.IntN(len(s.menu))]
	g, heard, err := s.requestPool(t)
	if err != nil {
		s.fail("a network with %s was refused: %v", t, err)
	}
	if !heard {
		s.changeLeader()
		return
	}
	for _, n := range s.networks {
		if n.gateway == g.Gateway.Addr() && !t.Gateway.IsValid() && s.plugins[s.leader].book.blind == 0 { // blind, it can only draw lots
			s.fail("gateway %s was offered to two networks", n.gateway)
		}
	}
	s.say("network %s made, gateway %s", t.Key(), g.Gateway)
	s.networks = append(s.networks, &simNetwork{t, g.Gateway.Addr(), s.now})
}

func (s *sim) startTask(named bool) {
	n := s.pick()
	if n == nil {
		return
	}
	var want netip.Addr
	if named {
		first := number(n.terms.Subnet.Addr())
		want = fromNumber(first + uint32(s.r.IntN(1<<(32-n.terms.Subnet.Bits()))))
		if !s.mayName(n, want) {
			return
		}
	}
	a, heard, err := s.requestAddress(n.terms, want)
	if !heard {
		s.changeLeader()
		return
	}
	if err != nil {
		return
	}
	s.judge(n, a, named)
	task := &simTask{net: n, addr: a, node: []string{"n1", "n2", "n3"}[s.r.IntN(3)], listed: true, running: true, named: named, start: s.now}
	for !s.down[task.node].IsZero() {
		task.node = []string{"n1", "n2", "n3", "n4"}[s.r.IntN(4)]
	}
	s.say("task on %s has %s (named %v) of %s", task.node, a, named, n.terms.Key())
	s.tasks = append(s.tasks, task)
}

// mayName leaves out what the book cannot tell apart: the same address named twice while the engine may repeat a call,
// and an occupied address while a replay may be under way.
func (s *sim) mayName(n *simNetwork, a netip.Addr) bool {
	t := s.occupied(a)
	if t == nil {
		sh := s.plugins[s.leader].book.shares[n.terms.Key()]
		return !n.own(a) || sh != nil && sh.Reign != sh.Term // a replay names what it likes, and a crash may let one go on
	}
	quiet := true
	for _, m := range s.networks {
		quiet = quiet && s.now.Sub(m.made) > 2*time.Minute
	}
	p := s.plugins[s.leader]
	if sh := p.book.shares[n.terms.Key()]; sh == nil || sh.ByName || p.book.blind != 0 {
		return false // its ledger was lost: a named address may be a replay, for all it knows
	}
	if l := s.leaseAt(p, t.net.terms, a); l != nil && l.asked && p.lastKept()-l.seq < lastCalls {
		return false // should the plugin crash in this call, it is the one before once more, for all the book knows
	}
	if l := s.leaseAt(p, t.net.terms, a); l != nil && l.current() && !l.old && !l.again && p.book.informed(millis(s.clock(p))) && !p.book.replaying(p.book.shares[n.terms.Key()], millis(s.clock(p))) {
		return true // given in this term, and views come in: the book must know
	}
	quiet = quiet && s.clock(p).Sub(moment(p.book.began)) > p.book.policy.Repeat
	if sh := p.book.shares[n.terms.Key()]; p.records().latest()-sh.replay <= replayLasts {
		return false // should the plugin crash in this call, a replay may go on, for all the book knows
	}
	return quiet && t.listed && !p.viewed.IsZero() && p.viewed.Sub(t.start) > time.Minute && s.now.Sub(s.lastReplay()) > 2*time.Minute
}

// own reports whether the address is the router's, or behind one the subnet's first or last.
func (n *simNetwork) own(a netip.Addr) bool {
	return n.terms.Gateway.IsValid() && (a == n.terms.Subnet.Addr() || a == n.terms.Gateway || a == lastOf(n.terms.Subnet))
}

func (s *sim) lastReplay() time.Time {
	var last time.Time
	for _, sh := range s.plugins[s.leader].book.shares {
		if at := moment(sh.replay).Add(-s.plugins[s.leader].skew); at.After(last) {
			last = at
		}
	}
	return last
}

// judge checks an address that a new task was given.
func (s *sim) judge(n *simNetwork, a netip.Addr, named bool) {
	if !n.terms.Subnet.Contains(a) {
		s.fail("%s is outside %s", a, n.terms)
	}
	for t := s.occupied(a); t != nil; t = s.occupied(a) {
		if s.unheardOf(t) {
			s.excused++
			t.running, t.listed = false, false
			continue
		}
		s.fail("%s was given to %s (named %v) while a task of %s has it (listed %v, lost %v)", a, n.terms.Key(), named, t.net.terms.Key(), t.listed, t.lost)
	}
	if n.own(a) {
		s.fail("%s is the router's or the subnet's own and was given to %s (named %v)", a, n.terms.Key(), named)
	}
	if named {
		return
	}
	if _, plan := s.plugins[s.leader].book.Settled(); s.reservedIn(plan, a) {
		s.fail("%s is reserved and was handed out to %s", a, n.terms.Key())
	}
	if r := n.terms.Range; !r.IsZero() && (a.Less(r.First) || r.Last.Less(a)) {
		s.fail("%s is outside range %s", a, r)
	}
	held := 1
	for _, t := range s.tasks {
		if t.listed && t.net.terms.Key() == n.terms.Key() && slices.Contains(s.networks, t.net) {
			held++
		}
	}
	if q := n.terms.Quota; q > 0 && held > q {
		s.fail("%s is address %d of quota %d", a, held, q)
	}
	p := s.plugins[s.leader]
	if f, ok := p.freed[a]; ok && n.terms.Range.IsZero() && s.clock(p).Sub(f.at) < f.rest {
		s.fail("%s was freed %s ago and is used again", a, s.clock(p).Sub(f.at))
	}
	delete(p.freed, a)
}

// unheardOf: a new leader is not told of the tasks of a removed network and of a removed node, and knows them only from its
// first view. If the engine does not answer while a call waits for that, it hands out what it does not know last, which a
// small pool cannot always do.
func (s *sim) unheardOf(t *simTask) bool {
	return s.mute && (t.lost || !slices.Contains(s.networks, t.net)) && s.plugins[s.leader].viewed.IsZero()
}

func (s *sim) stopTask() {
	var live []*simTask
	for _, t := range s.tasks {
		if t.listed && t.running && slices.Contains(s.networks, t.net) && s.down[t.node].IsZero() {
			live = append(live, t)
		}
	}
	if len(live) == 0 {
		return
	}
	t := live[s.r.IntN(len(live))]
	t.running, t.listed, t.ended = false, false, s.now
	s.release(t)
}

func (s *sim) release(t *simTask) {
	skew := s.plugins[s.leader].skew
	repeat := 1 + s.r.IntN(8)/7
	for range repeat {
		heard, err := s.call("ReleaseAddress "+t.addr.String(), func(p *plugin) (Change, error) {
			return p.book.ReleaseAddress(s.clock(p), s.terms(t.net.terms).Key(), t.addr)
		})
		if err != nil {
			s.fail("release of %s: %v", t.addr, err)
		}
		if !heard {
			s.changeLeader()
			return
		}
	}
	s.say("%s released", t.addr)
	if p := s.plugins[s.leader]; p.skew == skew { // else its clock jumped after the ledger had it
		rest := time.Minute
		if q := t.net.terms.Quarantine; q >= 0 {
			rest = q
		}
		p.freed[t.addr] = simRest{s.clock(p), rest}
	}
}

// removeNetwork is `stack rm`: the gateway and the pool are released at once, the tasks' addresses never.
func (s *sim) removeNetwork() {
	n := s.pick()
	if n == nil {
		return
	}
	s.networks = slices.DeleteFunc(s.networks, func(o *simNetwork) bool { return o == n })
	heard, err := s.call("ReleaseAddress "+n.gateway.String(), func(p *plugin) (Change, error) {
		return p.book.ReleaseAddress(s.clock(p), s.terms(n.terms).Key(), n.gateway)
	})
	if heard && err == nil {
		heard, err = s.call("ReleasePool", func(p *plugin) (Change, error) {
			key := s.terms(n.terms).Key()
			c, err := p.book.ReleasePool(s.clock(p), key)
			if sh := p.book.shares[key]; s.bugs.poolFrees && sh != nil {
				for _, l := range sh.pool.leasesOf(sh) {
					if l.state == held {
						p.book.layDown(l, millis(s.clock(p)))
						c.Leases = append(c.Leases, l.record())
					}
				}
			}
			return c, err
		})
	}
	if err != nil {
		s.fail("remove: %v", err)
	}
	s.say("network %s (gateway %s) removed", n.terms.Key(), n.gateway)
	if !heard {
		s.changeLeader()
	}
}

// endContainer ends a container of a removed stack: in the same second its task is gone.
func (s *sim) endContainer() {
	for _, t := range s.tasks {
		if t.running && !slices.Contains(s.networks, t.net) && !t.lost && s.down[t.node].IsZero() {
			t.running, t.listed = false, false
			return
		}
	}
}

func (s *sim) crash() {
	p := s.plugins[s.r.IntN(len(s.plugins))]
	switch s.r.IntN(10) {
	case 1: // its file is gone without a trace; the door asks at once
		s.say("a plugin's ledger is gone (leader: %v)", p == s.plugins[s.leader])
		s.wipe(p)
		if p == s.plugins[s.leader] {
			s.view = nil
			s.bring(s.look())
		}
	case 2, 3: // nobody asks it for addresses of the Swarm
		if p != s.plugins[s.leader] {
			p.keep(p.book.Follow(s.clock(p)))
		}
	case 0: // its file is set aside; nobody tells the plugin what was before
		s.say("a plugin loses its ledger (leader: %v)", p == s.plugins[s.leader])
		s.wipe(p)
		if p == s.plugins[s.leader] {
			s.view = nil
		}
		p.keep(p.book.Blind(s.clock(p)))
		if s.bugs.seeTooSoon {
			p.keep(p.book.Follow(s.clock(p).Add(time.Second)))
		}
	default:
		s.restart(p)
	}
}

func (s *sim) wait() {
	d := time.Duration(s.r.IntN(20_000)) * time.Millisecond
	if s.r.IntN(12) == 0 {
		d = time.Duration(s.r.IntN(300)) * time.Second
	}
	s.now = s.now.Add(d)
}

// nodes fail, come back, and are removed by force while their containers still run.
func (s *sim) nodes() {
	node := []string{"n1", "n2", "n3"}[s.r.IntN(3)]
	since, isDown := s.down[node]
	p := s.plugins[s.leader]
	switch {
	case !isDown:
		if len(s.down) == 0 {
			s.say("node %s is down", node)
			s.down[node] = s.now
		}
	case s.r.IntN(3) > 0 || !p.viewed.After(since):
		s.say("node %s is back", node)
		delete(s.down, node)
		for _, t := range s.tasks {
			if t.node == node && t.lost {
				t.running, t.lost = false, false // Swarm stops what it no longer knows
			}
		}
	default:
		s.say("node %s is removed by force", node)
		for _, t := range s.tasks {
			l := s.leaseAt(p, t.net.terms, t.addr)
			if t.node == node && t.listed && t.running && slices.Contains(s.networks, t.net) && l != nil && l.owner != nil && l.owner.Node == node {
				t.listed, t.lost, t.ended = false, true, s.now
				s.release(t)
				p = s.plugins[s.leader]
			}
		}
	}
}
