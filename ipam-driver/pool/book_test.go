package pool

import (
	"strings"
	"testing"
	"time"
)

func TestAddressesAreHandedOutInOrderAndRestWhenFreed(t *testing.T) {
	d := newDesk(t)
	p := d.pool("10.1.0.0/29")
	d.gets(p, "", "10.1.0.0/32")
	d.gets(p, "", "10.1.0.1/32")
	d.release(p, "10.1.0.0")
	d.gets(p, "", "10.1.0.2/32")
	d.pass(59 * time.Second)
	d.gets(p, "", "10.1.0.3/32")
	d.pass(time.Second)
	d.gets(p, "", "10.1.0.0/32")
}

func TestTheLeastRecentlyFreedComesFirst(t *testing.T) {
	d := newDesk(t)
	p := d.pool("10.1.0.0/30")
	for _, a := range []string{"10.1.0.0/32", "10.1.0.1/32", "10.1.0.2/32", "10.1.0.3/32"} {
		d.gets(p, "", a)
	}
	for _, a := range []string{"10.1.0.2", "10.1.0.0", "10.1.0.3"} {
		d.release(p, a)
		d.pass(time.Second)
	}
	d.refused(p, "", "no available addresses: 1 of 4 addresses used, 3 rest (the first is free in 57s)")
	d.pass(time.Minute)
	d.restart()
	for _, a := range []string{"10.1.0.2/32", "10.1.0.0/32", "10.1.0.3/32"} {
		d.gets(p, "", a)
	}
	d.refused(p, "", "no available addresses: 4 of 4 addresses used")
}

func TestEveryAddressOfARoutedPoolIsUsable(t *testing.T) {
	d := newDesk(t)
	p := d.pool("10.1.0.4/31")
	d.gets(p, "", "10.1.0.4/32")
	d.gets(p, "", "10.1.0.5/32")
	d.refused(p, "", "2 of 2 addresses used")
}

func TestBehindARouterNetworkAndBroadcastAreNotUsed(t *testing.T) {
	d := newDesk(t)
	g := d.network(d.terms(Global, "10.1.0.0/29", "", "rolling.gateway", "10.1.0.1"))
	if g.Gateway.String() != "10.1.0.1/29" {
		t.Fatalf("gateway %s", g.Gateway)
	}
	d.gateway(g.Key, "10.1.0.1", "10.1.0.1/29")
	for _, a := range []string{"10.1.0.2/29", "10.1.0.3/29", "10.1.0.4/29", "10.1.0.5/29", "10.1.0.6/29"} {
		d.gets(g.Key, "", a)
	}
	d.refused(g.Key, "", "no available addresses")
}

func TestBehindARouterNobodyGetsTheRoutersAddressByNamingIt(t *testing.T) {
	d := newDesk(t)
	t1 := d.terms(Global, "10.1.0.0/29", "", "rolling.gateway", "10.1.0.1")
	p := d.network(t1).Key
	d.refused(p, "10.1.0.1", "address 10.1.0.1 is a router's: choose another, or none")
	d.refused(p, "10.1.0.0", "the network's own")
	d.refused(p, "10.1.0.7", "the broadcast address")
	other := d.pool("10.1.0.0/29", "rolling.project", "routed")
	d.refused(other, "10.1.0.1", "is a router's")
	d.gets(other, "10.1.0.7", "10.1.0.7/32") // routed alone, it is one as any other
	again := New(d.book.policy)              // a new leader: an older version gave it
	d.book, d.kept = again, Records{}
	d.network(t1)
	d.gateway(p, "10.1.0.1", "10.1.0.1/29")
	d.gets(p, "10.1.0.1", "10.1.0.1/29")
}

func TestEachNetworkIsOfferedTheNextGateway(t *testing.T) {
	d := newDesk(t)
	for i, want := range []string{"169.254.1.1/32", "169.254.1.2/32", "169.254.1.3/32"} {
		g := d.network(d.terms(Global, "10.1.0.0/16", "", "rolling.project", []string{"a", "a", "b"}[i]))
		if g.Gateway.String() != want {
			t.Fatalf("network %d: offered %s, want %s", i, g.Gateway, want)
		}
	}
	d.release(d.terms(Global, "10.1.0.0/16", "", "rolling.project", "a").Key(), "169.254.1.2")
	if g := d.network(d.terms(Global, "10.2.0.0/16", "")); g.Gateway.String() != "169.254.1.2/32" {
		t.Fatalf("offered %s", g.Gateway)
	}
}

func TestAReplayNamesItsGatewayAndTheOfferIsDropped(t *testing.T) {
	d := newDesk(t)
	a := d.pool("10.1.0.0/16")
	d.gateway(a, "169.254.1.7", "169.254.1.7/32")
	b := d.pool("10.2.0.0/16")
	d.gateway(b, "169.254.1.1", "169.254.1.1/32")
	d.restart()
	if g := d.network(d.terms(Global, "10.3.0.0/16", "")); g.Gateway.String() != "169.254.1.2/32" {
		t.Fatalf("offered %s", g.Gateway)
	}
}

func TestMetadataAddressesAreNeverGateways(t *testing.T) {
	d := newDesk(t)
	k := d.terms(Global, "10.1.0.0/16", "")
	for n := uint32(169<<24 | 254<<16 | 1<<8); n < 169<<24|254<<16|168<<8|245; n++ {
		d.book.gateways[fromNumber(n)] = 1
	}
	var last string
	for range 20 {
		last = d.network(k).Gateway.String()
		if strings.HasPrefix(last, "169.254.169.") || strings.HasPrefix(last, "169.254.170.") {
			t.Fatalf("offered %s", last)
		}
	}
	if last != "169.254.171.10/32" {
		t.Fatalf("the last of 20 is %s", last)
	}
	if _, _, err := d.book.RequestGateway(d.now, k.Key(), fromNumber(169<<24|254<<16|169<<8|254)); err == nil {
		t.Fatal("169.254.169.254 was accepted when named")
	}
}

func TestANewTermMarksAndNeverClears(t *testing.T) {
	d := newDesk(t)
	p := d.pool("10.1.0.0/29")
	d.gets(p, "", "10.1.0.0/32")
	d.gets(p, "", "10.1.0.1/32")
	d.pool("10.1.0.0/29")
	if got := d.book.Leases(d.now); len(got) != 2 || got[0].State != Unconfirmed || got[1].State != Unconfirmed {
		t.Fatalf("leases %+v", got)
	}
	d.gets(p, "10.1.0.1", "10.1.0.1/32")
	d.gets(p, "", "10.1.0.2/32")
	if got := d.book.Leases(d.now); got[0].State != Unconfirmed || got[1].State != Reserved {
		t.Fatalf("leases %+v", got)
	}
}

func TestAReplayAlwaysSucceedsInsideThePool(t *testing.T) {
	cases := []struct {
		name string
		do   func(d *desk) Key
		addr string
	}{
		{"of an address never seen before", func(d *desk) Key { return d.pool("10.1.0.0/29") }, "10.1.0.6"},
		{"of a leased address", func(d *desk) Key {
			p := d.pool("10.1.0.0/29")
			d.gets(p, "", "10.1.0.0/32")
			return d.pool("10.1.0.0/29")
		}, "10.1.0.0"},
		{"of an address that rests here", func(d *desk) Key {
			p := d.pool("10.1.0.0/29")
			d.gets(p, "", "10.1.0.0/32")
			d.release(p, "10.1.0.0")
			return d.pool("10.1.0.0/29")
		}, "10.1.0.0"},
		{"of an address that rests for a lost node", func(d *desk) Key {
			p := d.pool("10.1.0.0/29")
			d.gets(p, "", "10.1.0.0/32")
			d.observe(View{Nodes: map[string]Node{"n": {"n1", false}}, Holdings: []Holding{{Key: p, Addr: fromNumber(10<<24 | 1<<16), Owner: Owner{Node: "n"}}}})
			d.release(p, "10.1.0.0")
			d.refused(p, "10.1.0.0", "node n1 was not ready")
			return d.pool("10.1.0.0/29")
		}, "10.1.0.0"},
		{"of an address that another network had under an earlier leader", func(d *desk) Key {
			p := d.pool("10.1.0.0/29", "rolling.project", "a")
			d.gets(p, "", "10.1.0.0/32")
			d.pass(time.Hour)
			b := d.pool("10.1.0.0/29", "rolling.project", "b")
			d.gateway(b, "169.254.1.9", "169.254.1.9/32")
			return b
		}, "10.1.0.0"},
		{"of an address in another network's block", func(d *desk) Key {
			p := d.pool("10.1.0.0/29", "rolling.block", "30")
			d.gets(p, "", "10.1.0.0/32")
			return d.pool("10.1.0.0/29")
		}, "10.1.0.3"},
		{"outside the range", func(d *desk) Key { return d.pool("10.1.0.0/29", "rolling.range", "10.1.0.1-10.1.0.2") }, "10.1.0.5"},
		{"beyond the quota", func(d *desk) Key {
			p := d.pool("10.1.0.0/29", "rolling.quota", "1")
			d.gets(p, "", "10.1.0.0/32")
			return p
		}, "10.1.0.5"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			d := newDesk(t)
			p := c.do(d)
			d.gets(p, c.addr, c.addr+"/32")
			d.gets(p, c.addr, c.addr+"/32") // the engine repeats a call whose reply was lost
			d.restart()
			d.gets(p, c.addr, c.addr+"/32")
			if err := d.book.check(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestANamedAddressThatIsInUseIsRefusedWithItsOwner(t *testing.T) {
	d := newDesk(t)
	p := d.pool("10.1.0.0/29", "rolling.project", "orders")
	d.gets(p, "", "10.1.0.0/32")
	d.refused(p, "10.1.0.0", "address 10.1.0.0 is in use since 2026-03-01T12:00:00Z by somebody else")
	d.observe(View{Nodes: map[string]Node{"id1": {"n1", true}}, Holdings: []Holding{{Key: p, Addr: fromNumber(10<<24 | 1<<16), Owner: Owner{Kind: "task", Service: "web", Slot: "2", Node: "id1"}}}})
	d.refused(p, "10.1.0.0", "by task of service web slot 2 on node n1 (pool 10.1.0.0/29 (project orders))")
	other := d.pool("10.1.0.0/29", "rolling.project", "pay")
	d.refused(other, "10.1.0.0", "in use")
	d.gets(p, "10.1.0.4", "10.1.0.4/32")
	d.refused(p, "10.1.0.4", "in use") // views come in, so this is somebody else
	d.release(p, "10.1.0.4")
	d.gets(p, "10.1.0.4", "10.1.0.4/32") // docker restart of a container with --ip
}

func TestTheSameCallGetsTheSameAnswer(t *testing.T) {
	d := newDesk(t)
	p := d.pool("10.1.0.0/29")
	for range 3 {
		d.gets(p, "10.1.0.4", "10.1.0.4/32")
	}
	d.restart()
	d.gets(p, "10.1.0.4", "10.1.0.4/32")
	d.pass(31 * time.Second)
	d.refused(p, "10.1.0.4", "in use") // the engine repeats a call for 30 s
}

func TestASecondNetworkOnTheSameTermsDoesNotOpenLeasesToOthers(t *testing.T) {
	d := newDesk(t)
	p := d.pool("10.1.0.0/29")
	d.gets(p, "", "10.1.0.0/32")
	d.pool("10.1.0.0/29")
	d.pass(2 * time.Minute)
	d.observe(View{Networks: []Network{{Key: p}, {Key: p}}, Holdings: []Holding{{Key: p, Addr: fromNumber(10<<24 | 1<<16), Owner: Owner{Kind: "task"}}}})
	d.refused(p, "10.1.0.0", "in use")
}

func TestNetworksThatShareASubnetNeverShareAnAddress(t *testing.T) {
	d := newDesk(t)
	a := d.pool("10.1.0.0/28", "rolling.project", "a")
	b := d.pool("10.1.0.0/28", "rolling.project", "b", "rolling.quota", "2")
	d.gets(a, "", "10.1.0.0/32")
	d.gets(b, "", "10.1.0.1/32")
	d.gets(a, "", "10.1.0.2/32")
	d.gets(b, "", "10.1.0.3/32")
	d.refused(b, "", "no available addresses: 2 of quota 2 leased")
	d.release(b, "10.1.0.1")
	d.gets(b, "", "10.1.0.4/32")
}

func TestSwarmsOwnOptionsDoNotSplitAPool(t *testing.T) {
	d := newDesk(t)
	one := d.terms(Global, "10.1.0.0/16", "", "rolling.project", "a")
	two := d.terms(Global, "10.1.0.0/16", "", "rolling.project", "a", "com.docker.network.driver.mtu", "1400", "RequestAddressType", "x")
	if one.Key() != two.Key() {
		t.Fatalf("%s and %s", one.Key(), two.Key())
	}
}

func TestReleaseTwiceIsReleaseOnce(t *testing.T) {
	d := newDesk(t)
	p := d.pool("10.1.0.0/29")
	d.gets(p, "", "10.1.0.0/32")
	d.release(p, "10.1.0.0")
	d.pass(40 * time.Second)
	d.release(p, "10.1.0.0")
	d.release(p, "10.1.0.5")
	d.pass(20 * time.Second)
	d.gets(p, "", "10.1.0.0/32")
}

func TestReleasePoolFreesNothing(t *testing.T) {
	d := newDesk(t)
	p := d.pool("10.1.0.0/30")
	for range 4 {
		if _, err := d.ask(p, ""); err != nil {
			t.Fatal(err)
		}
	}
	c, err := d.book.ReleasePool(d.now, p)
	if err != nil {
		t.Fatal(err)
	}
	d.kept.keep(c)
	d.pass(time.Hour)
	d.kept.keep(d.book.Tidy(d.now))
	d.pool("10.1.0.0/30")
	d.refused(p, "", "4 of 4 addresses used")
}
