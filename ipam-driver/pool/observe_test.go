package pool

import (
	"net/netip"
	"testing"
	"time"
)

func holding(key Key, addr string) Holding {
	return Holding{Key: key, Addr: netip.MustParseAddr(addr), Owner: Owner{Kind: "task", Node: "id1"}}
}

func ready(ok bool) map[string]Node { return map[string]Node{"id1": {"n1", ok}} }

func TestALeaseEndsOnlyAfterTwoViewsWithAPause(t *testing.T) {
	d := newDesk(t)
	p := d.pool("10.1.0.0/29")
	d.gets(p, "", "10.1.0.0/32")
	steps := []struct {
		name  string
		after time.Duration
		freed int
	}{
		{"its answer may be on its way into Swarm's store", 29 * time.Second, 0},
		{"the first view that lacks it", 2 * time.Second, 0},
		{"a second one too soon", 9 * time.Second, 0},
		{"a third after the pause", 2 * time.Second, 1},
	}
	for _, s := range steps {
		d.pass(s.after)
		if seen := d.observe(View{}); seen.Freed != s.freed {
			t.Fatalf("%s: freed %d", s.name, seen.Freed)
		}
	}
	d.gets(p, "", "10.1.0.1/32")
	d.pass(61 * time.Second)
	d.gets(p, "", "10.1.0.0/32")
}

func TestACallBetweenTwoViewsStartsTheCountAnew(t *testing.T) {
	d := newDesk(t)
	p := d.pool("10.1.0.0/29")
	d.gets(p, "", "10.1.0.0/32")
	d.pass(time.Minute)
	d.observe(View{})
	d.pool("10.1.0.0/29") // a replay
	d.gets(p, "10.1.0.0", "10.1.0.0/32")
	d.pass(time.Minute)
	if seen := d.observe(View{}); seen.Freed != 0 {
		t.Fatalf("freed %d", seen.Freed)
	}
}

func TestAViewThatIsOldWhenItArrivesChangesNothingNewer(t *testing.T) {
	d := newDesk(t)
	p := d.pool("10.1.0.0/29")
	d.gets(p, "", "10.1.0.0/32")
	d.gets(p, "", "10.1.0.1/32")
	d.pass(time.Minute)
	v := View{Space: Global, Began: d.now, Holdings: []Holding{holding(p, "10.1.0.0")}}
	d.pass(time.Second)
	d.release(p, "10.1.0.0") // after the question was put
	d.gets(p, "", "10.1.0.2/32")
	for range 3 {
		d.pass(15 * time.Second)
		c, seen := d.book.Observe(d.now, v)
		d.kept.keep(c)
		if seen.Adopted+seen.Freed != 0 {
			t.Fatalf("adopted %d, freed %d", seen.Adopted, seen.Freed)
		}
	}
}

func TestWhatTheSwarmHoldsAndTheBookLacksIsAdopted(t *testing.T) {
	d := newDesk(t)
	key := d.terms(Global, "10.1.0.0/29", "", "rolling.project", "a").Key()
	d.kept.keep(d.book.Blind(d.now))
	d.refused(key, "", "try again")
	v := View{Networks: []Network{{Key: key, Gateway: netip.MustParseAddr("169.254.1.3")}}, Holdings: []Holding{holding(key, "10.1.0.1"), holding(key, "10.1.0.4")}, Nodes: ready(true)}
	d.observe(v)
	d.refused(key, "", "try again") // asked at the moment of the loss: an answer of just before may be missing
	d.pass(11 * time.Second)
	d.observe(v)
	d.restart()
	for _, a := range []string{"10.1.0.5/32", "10.1.0.6/32", "10.1.0.7/32", "10.1.0.3/32"} { // what may rest comes last
		d.gets(key, "", a)
	}
	if g := d.network(d.terms(Global, "10.2.0.0/29", "")); g.Gateway.String() != "169.254.1.1/32" {
		t.Fatalf("offered %s", g.Gateway)
	}
	if g := d.network(d.terms(Global, "10.3.0.0/29", "")); g.Gateway.String() != "169.254.1.2/32" {
		t.Fatalf("offered %s", g.Gateway)
	}
	if g := d.network(d.terms(Global, "10.4.0.0/29", "")); g.Gateway.String() != "169.254.1.4/32" {
		t.Fatalf("offered %s", g.Gateway)
	}
}

func TestAnAddressOfALostNodeRestsUntilItIsBack(t *testing.T) {
	start := func(t *testing.T) (*desk, Key, View) {
		d := newDesk(t)
		p := d.pool("10.1.0.0/32")
		d.gets(p, "", "10.1.0.0/32")
		v := View{Networks: []Network{{Key: p}}, Holdings: []Holding{holding(p, "10.1.0.0")}, Nodes: ready(false)}
		d.observe(v)
		d.release(p, "10.1.0.0")
		d.pass(2 * time.Hour)
		d.refused(p, "", "1 of them wait for a lost node")
		v.Holdings = nil
		return d, p, v
	}
	t.Run("a day at most", func(t *testing.T) {
		d, p, _ := start(t)
		d.pass(22 * time.Hour)
		d.gets(p, "", "10.1.0.0/32")
	})
	t.Run("until the node is ready", func(t *testing.T) {
		d, p, v := start(t)
		v.Nodes = ready(true)
		d.observe(v)
		d.restart()
		d.gets(p, "", "10.1.0.0/32")
	})
	t.Run("until somebody knows that it is dead", func(t *testing.T) {
		d, p, v := start(t)
		if _, err := d.book.Free(d.now, netip.MustParseAddr("10.1.0.0"), false); err == nil || !contains(err.Error(), "make sure that it is off") {
			t.Fatalf("got %v", err)
		}
		c, err := d.book.Free(d.now, netip.MustParseAddr("10.1.0.0"), true)
		if err != nil {
			t.Fatal(err)
		}
		d.kept.keep(c)
		v.Nodes = nil
		v.Holdings = []Holding{{Key: p, Addr: netip.MustParseAddr("10.1.0.0"), Owner: Owner{Node: "id1"}, Ended: d.now.Add(-2 * time.Hour), Lost: true}}
		d.observe(v) // Swarm's memory of the lost task does not undo it
		d.gets(p, "", "10.1.0.0/32")
	})
}

func TestANodeThatIsRemovedByForceIsNoticedAfterwards(t *testing.T) {
	d := newDesk(t)
	p := d.pool("10.1.0.0/32")
	d.gets(p, "", "10.1.0.0/32")
	d.observe(View{Holdings: []Holding{holding(p, "10.1.0.0")}, Nodes: ready(true)})
	d.release(p, "10.1.0.0")
	ended := holding(p, "10.1.0.0")
	ended.Ended, ended.Lost = d.now, true
	d.pass(3 * time.Second)
	d.observe(View{Networks: []Network{{Key: p}}, Holdings: []Holding{ended}})
	d.pass(time.Hour)
	d.refused(p, "", "wait for a lost node")
	if l := d.book.Leases(d.now); len(l) != 1 || l[0].Why != "rests 22h59m57s: node n1 was not ready when Swarm let it go" {
		t.Errorf("people know the node by its name: %+v", l)
	}
}

func TestANewLeaderLearnsRestsFromTasksThatEnded(t *testing.T) {
	d := newDesk(t)
	p := d.pool("10.1.0.0/31")
	ended := holding(p, "10.1.0.0")
	ended.Ended = d.now.Add(-20 * time.Second)
	d.observe(View{Networks: []Network{{Key: p}}, Holdings: []Holding{ended}, Nodes: ready(true)})
	d.gets(p, "", "10.1.0.1/32")
	d.refused(p, "", "1 rest (the first is free in 40s)")
}

func TestARestOfANetworkThatIsGoneIsLearntToo(t *testing.T) {
	d := newDesk(t)
	gone := d.terms(Global, "10.1.0.0/31", "", "rolling.project", "gone").Key()
	ended := holding(gone, "10.1.0.0")
	ended.Ended = d.now.Add(-20 * time.Second)
	d.observe(View{Holdings: []Holding{ended}, Nodes: ready(true)})
	p := d.pool("10.1.0.0/31")
	d.gets(p, "", "10.1.0.1/32")
	d.refused(p, "", "1 rest (the first is free in 40s)")
	d.pass(41 * time.Second)
	d.observe(View{Networks: []Network{{Key: p}}, Holdings: []Holding{ended}, Nodes: ready(true)})
	d.kept.keep(d.book.Tidy(d.now))
	if n := len(d.book.Shares(d.now)); n != 1 {
		t.Errorf("%d shares: what no longer rests is not made anew", n)
	}
	d.gets(p, "", "10.1.0.0/32")
}

func TestANewLeaderHandsOutWhatItDoesNotKnowLast(t *testing.T) {
	d := newDesk(t)
	p := d.pool("10.1.0.0/29")
	d.gateway(p, "169.254.1.9", "169.254.1.9/32")
	for _, a := range []string{"10.1.0.0", "10.1.0.2", "10.1.0.5"} {
		d.gets(p, a, a+"/32")
	}
	for _, a := range []string{"6", "7", "4", "3", "1"} { // above all that was seen, then the gaps from the top
		d.gets(p, "", "10.1.0."+a+"/32")
	}
}

func TestTwoHoldersOfOneAddressAreReported(t *testing.T) {
	d := newDesk(t)
	p := d.pool("10.1.0.0/29")
	seen := d.observe(View{Holdings: []Holding{holding(p, "10.1.0.3"), holding(p, "10.1.0.3"), holding(p, "10.1.0.4")}, Nodes: ready(true)})
	if len(seen.Twice) != 1 || len(d.book.Twice()[netip.MustParseAddr("10.1.0.3")]) != 2 {
		t.Fatalf("twice %v", seen.Twice)
	}
}

func TestAnOverlayOnOurPoolIsNeverSwept(t *testing.T) {
	d := newDesk(t)
	p := d.pool("10.1.0.0/29")
	d.gets(p, "", "10.1.0.0/32") // a load balancer's address, which no question shows
	for range 5 {
		d.pass(time.Minute)
		if seen := d.observe(View{Networks: []Network{{Key: p, Opaque: true}}}); seen.Freed != 0 {
			t.Fatal("freed")
		}
	}
}

func TestAShareThatNobodyHasAnyMoreIsForgotten(t *testing.T) {
	d := newDesk(t)
	d.pool("10.1.0.0/29")
	for range 3 {
		d.pass(time.Minute)
		d.observe(View{})
		d.kept.keep(d.book.Tidy(d.now))
	}
	if len(d.book.Shares(d.now)) != 0 || len(d.kept.Shares)+len(d.kept.Leases) != 0 {
		t.Fatalf("left: %+v", d.kept)
	}
}

func TestAClockThatIsSetBackLengthensNoRest(t *testing.T) {
	d := newDesk(t)
	p := d.pool("10.1.0.0/32")
	d.gets(p, "", "10.1.0.0/32")
	d.release(p, "10.1.0.0")
	d.pass(-5 * time.Hour)
	d.restart()
	d.pass(59 * time.Second)
	d.refused(p, "", "1 rest")
	d.pass(2 * time.Second)
	d.restart()
	d.gets(p, "", "10.1.0.0/32")
}

func TestALedgerThatIsGoneWithoutATraceIsNoticedByTheFirstView(t *testing.T) {
	d := newDesk(t)
	key := d.terms(Global, "10.1.0.0/29", "", "rolling.project", "a").Key()
	network := Network{Key: key, Gateway: netip.MustParseAddr("169.254.1.3")}
	v := View{Networks: []Network{network, network}, Holdings: []Holding{holding(key, "10.1.0.0")}, Nodes: ready(true)}
	d.observe(v)
	if !d.book.IsBlind() || d.kept.Meta.Blind == 0 {
		t.Fatal("the loss was not noticed")
	}
	if n := d.book.Shares(d.now)[0].Networks; n != 2 {
		t.Fatalf("%d networks", n)
	}
	d.refused(key, "", "try again")
	d.pass(11 * time.Second)
	v.Holdings = append(v.Holdings, holding(key, "10.1.0.1")) // an answer of just before the loss
	d.observe(v)
	d.gets(key, "", "10.1.0.2/32")
}

func TestABookThatKnowsItsNetworksIsNotTakenForALostOne(t *testing.T) {
	d := newDesk(t)
	d.observe(View{})
	key := d.pool("10.1.0.0/29")
	d.observe(View{Networks: []Network{{Key: key}}, Nodes: ready(true)})
	if d.book.IsBlind() {
		t.Fatal("a network whose pool was requested made the book blind")
	}
	d.gets(key, "", "10.1.0.0/32")
}

func TestALostLedgerIsNoLossOnANodeThatFollows(t *testing.T) {
	cases := []struct {
		name  string
		after func(d *desk) time.Time // when it was asked who leads
		blind bool
	}{
		{"asked after the loss", func(d *desk) time.Time { return d.now.Add(time.Second) }, false},
		{"asked before the loss", func(d *desk) time.Time { return d.now.Add(-time.Second) }, true},
		{"a replay began since it was asked", func(d *desk) time.Time {
			asked := d.now.Add(time.Second)
			d.pass(2 * time.Second)
			d.pool("10.1.0.0/29")
			return asked
		}, true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			d := newDesk(t)
			d.kept.keep(d.book.Blind(d.now))
			d.kept.keep(d.book.Follow(c.after(d)))
			if d.book.IsBlind() != c.blind || (d.kept.Meta.Blind != 0) != c.blind {
				t.Fatalf("blind %v, kept %d", d.book.IsBlind(), d.kept.Meta.Blind)
			}
		})
	}
}

func TestALossInTheFutureOfAClockThatWasSetBackEnds(t *testing.T) {
	d := newDesk(t)
	d.kept.keep(d.book.Blind(d.now))
	d.pass(-5 * time.Hour)
	d.restart()
	d.pass(11 * time.Second)
	d.observe(View{})
	if d.book.IsBlind() {
		t.Fatal("still blind")
	}
}

// The engine repeats a call whose reply it did not get, so a network's release may come twice.
func TestAShareWhoseNetworkIsReleasedTwiceKeepsTheGatewayOfTheOther(t *testing.T) {
	d := newDesk(t)
	first, second := d.network(d.terms(Global, "10.1.0.0/28", "")), d.network(d.terms(Global, "10.1.0.0/28", ""))
	d.pass(time.Minute)
	for range 2 {
		c, err := d.book.ReleasePool(d.now, first.Key)
		if err != nil {
			t.Fatal(err)
		}
		d.kept.keep(c)
	}
	d.observe(View{Networks: []Network{{Key: second.Key, Gateway: second.Gateway.Addr()}}})
	d.pass(time.Minute)
	d.kept.keep(d.book.Tidy(d.now))
	if other := d.network(d.terms(Global, "10.2.0.0/28", "")); other.Gateway == second.Gateway {
		t.Fatalf("gateway %s is offered again", other.Gateway)
	}
	d.observe(View{Networks: []Network{{Key: second.Key, Gateway: second.Gateway.Addr()}}})
	if s := d.book.Shares(d.now)[0]; s.Networks != 1 {
		t.Fatalf("%d networks", s.Networks)
	}
}

// Behind a router inside the subnet the leader before may have freed addresses a moment ago, too.
func TestANewLeaderGivesWhatItDoesNotKnowLastBehindARouter(t *testing.T) {
	d := newDesk(t)
	p := d.pool("10.1.0.0/28", "rolling.gateway", "10.1.0.1")
	_, c, err := d.book.RequestGateway(d.now, p, netip.MustParseAddr("10.1.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	d.kept.keep(c)
	d.gets(p, "10.1.0.4", "10.1.0.4/28")
	d.gets(p, "10.1.0.9", "10.1.0.9/28")
	d.gets(p, "", "10.1.0.10/28")
	d.pass(61 * time.Second)
	d.gets(p, "", "10.1.0.2/28")
}

func TestAPoolThatWasAskedForIsUnheardOfUntilTheSwarmIsSeen(t *testing.T) {
	d := newDesk(t)
	p := d.pool("10.1.0.0/28")
	for _, s := range []struct {
		name string
		do   func()
		want bool
	}{
		{"a new network", func() {}, true},
		{"the Swarm is seen", func() { d.pass(time.Second); d.observe(View{Nodes: ready(true)}) }, false},
		{"a new leader's replay", func() { d.pass(time.Second); d.pool("10.1.0.0/28") }, true},
		{"a view of this node alone", func() { d.pass(time.Second); d.observe(View{Space: Local}) }, true},
		{"the Swarm is seen again", func() { d.pass(time.Second); d.observe(View{Nodes: ready(true)}) }, false},
	} {
		if s.do(); d.book.Unheard(p) != s.want {
			t.Errorf("%s: unheard of is %v", s.name, !s.want)
		}
	}
	if local := d.network(d.terms(Local, "10.9.0.0/28", "")).Key; d.book.Unheard(local) || d.book.Unheard("nonsense") {
		t.Error("a node's own network is nobody else's")
	}
}
