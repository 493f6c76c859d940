package pool

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/internal/allotment"
)

func (d *desk) settle(number uint64, text string) {
	d.t.Helper()
	p, err := allotment.Parse([]byte(text))
	if err != nil {
		d.t.Fatal(err)
	}
	c, err := d.book.Settle(number, p)
	if err != nil {
		d.t.Fatal(err)
	}
	d.kept.keep(c)
}

const somePlan = `{"version":1,
 "pools":[{"name":"prod","prefix":"10.1.0.0/28","block":30,"quota":8},{"name":"lab","prefix":"10.9.0.0/24"}],
 "reservations":[
  {"address":"10.1.0.0","owner":"the printer in rack 3","why":"it cannot be moved"},
  {"address":"10.1.0.1","project":"orders","environment":"production","why":"a firewall knows it"},
  {"address":"10.1.0.2","network":"legacy","why":"the exchange dials it"}]}`

func (d *desk) named(name string, options ...string) Key {
	d.t.Helper()
	m := map[string]string{"rolling.pool": name}
	for i := 0; i < len(options); i += 2 {
		m[options[i]] = options[i+1]
	}
	subnet, err := d.book.Subnet(Global, m)
	if err != nil {
		d.t.Fatal(err)
	}
	return d.pool(subnet, append(options, "rolling.pool", name)...)
}

func TestANetworkMayNameItsPoolInsteadOfASubnet(t *testing.T) {
	d := newDesk(t)
	if _, err := d.book.Subnet(Global, map[string]string{"rolling.pool": "prod"}); err == nil || !strings.Contains(err.Error(), "have not been read") {
		t.Errorf("before a plan was read: %v", err)
	}
	d.settle(3, somePlan)
	for _, c := range []struct {
		name  string
		space Space
		want  string
	}{
		{"prd", Global, `rolling.pool: pool "prd" is none of lab, prod; did you mean "prod"?`},
		{"zzzzzz", Global, `pool "zzzzzz" is none of lab, prod`},
		{"prod", Local, "pass --subnet"},
	} {
		if _, err := d.book.Subnet(c.space, map[string]string{"rolling.pool": c.name}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	key := d.named("prod", "rolling.project", "orders")
	if want := Key("g|10.1.0.0/28|pool=prod&project=orders"); key != want {
		t.Errorf("its key is %s: a later change of the pool's block must not change it; want %s", key, want)
	}
	s := d.book.Shares(d.now)[0]
	if s.Block != 30 || s.Quota != 8 || s.Name != "prod" {
		t.Errorf("%+v", s)
	}
}

func TestWhatAPoolHadWhenANetworkWasMadeStaysWithIt(t *testing.T) {
	d := newDesk(t)
	d.settle(1, somePlan)
	key := d.named("prod", "rolling.project", "a")
	d.gets(key, "", "10.1.0.3/32")
	d.gets(key, "", "10.1.0.4/32")
	d.settle(2, `{"version":1,"pools":[{"name":"prod","prefix":"10.1.0.0/28","block":29}]}`)
	d.restart()
	if s := d.book.Shares(d.now)[0]; s.Block != 30 || s.Quota != 8 || len(s.Blocks) != 2 {
		t.Fatalf("%+v", s)
	}
	if n, p := d.book.Settled(); n != 2 || p.Pools[0].Block != 29 {
		t.Fatalf("after a restart plan %d rules: %+v", n, p)
	}
	if said := d.named("prod", "rolling.project", "b", "rolling.block", "31", "rolling.quota", "2"); true {
		for _, s := range d.book.Shares(d.now) {
			if s.Key == said && (s.Block != 31 || s.Quota != 2) {
				t.Errorf("what the network says itself: %+v", s)
			}
		}
	}
}

func TestAReservedAddressIsForWhomItIsKeptAndOnlyWhenNamed(t *testing.T) {
	d := newDesk(t)
	d.settle(1, somePlan)
	anyone := d.pool("10.1.0.0/28")
	orders := d.pool("10.1.0.0/28", "rolling.project", "orders", "rolling.environment", "production")
	testing_ := d.pool("10.1.0.0/28", "rolling.project", "orders", "rolling.environment", "test")
	legacy := d.pool("10.1.0.0/28", "rolling.project", "old")
	d.gets(anyone, "", "10.1.0.3/32")
	d.gets(orders, "", "10.1.0.4/32")
	d.refused(anyone, "10.1.0.0", "address 10.1.0.0 is reserved for the printer in rack 3 (it cannot be moved): choose another, or none")
	d.refused(testing_, "10.1.0.1", "reserved for project orders in production")
	d.gets(orders, "10.1.0.1", "10.1.0.1/32")
	d.refused(legacy, "10.1.0.2", "how this network is called is not known yet")
	d.observe(View{Networks: []Network{{Name: "legacy", Key: legacy}, {Name: "other", Key: anyone}}, Holdings: []Holding{}})
	d.pass(time.Second)
	d.gets(legacy, "10.1.0.2", "10.1.0.2/32")
	d.pass(10 * time.Minute)
	d.refused(anyone, "10.1.0.0", "choose another")
	if got := d.book.Shares(d.now)[0]; got.Reserved != 1 || got.Free() != 16-4-1 {
		t.Errorf("%d reserved, %d free", got.Reserved, got.Free())
	}
	if got := d.book.Trespass(); len(got) != 0 {
		t.Errorf("%v", got)
	}
}

func TestAReservationOfAnAddressInUseMovesNobodyAndIsTold(t *testing.T) {
	d := newDesk(t)
	p := d.pool("10.1.0.0/28")
	d.gateway(p, "169.254.1.1", "169.254.1.1/32")
	d.gets(p, "", "10.1.0.0/32")
	d.settle(1, somePlan)
	if got := strings.Join(d.book.Trespass(), "|"); !strings.HasPrefix(got, "10.1.0.0 is reserved for the printer in rack 3 (it cannot be moved), and somebody has it") {
		t.Error(got)
	}
	// another leader, whose replay must succeed whatever the plan says
	other := newDesk(t)
	other.settle(1, somePlan)
	q := other.pool("10.1.0.0/28")
	other.gateway(q, "169.254.1.1", "169.254.1.1/32")
	other.gets(q, "10.1.0.0", "10.1.0.0/32")
	// a node is told the leader's choice
	l := other.network(other.terms(Local, "10.1.0.0/28", "")).Key
	other.gets(l, "10.1.0.2", "10.1.0.2/32")
	// once it is free, nobody gets it again
	d.release(p, "10.1.0.0")
	d.pass(2 * time.Minute)
	d.gets(p, "", "10.1.0.3/32")
}

func TestAFullPoolSaysHowManyAreReserved(t *testing.T) {
	d := newDesk(t)
	d.settle(1, `{"version":1,"reservations":[{"address":"10.1.0.1","owner":"x","why":"y"}]}`)
	p := d.pool("10.1.0.0/31")
	d.gets(p, "", "10.1.0.0/32")
	d.refused(p, "", "no available addresses: 1 of 2 addresses used, 1 are reserved")
	if s := d.book.Shares(d.now)[0]; s.Fullness() != 1 {
		t.Errorf("fullness %v", s.Fullness())
	}
	d.settle(2, `{"version":1}`)
	d.gets(p, "", "10.1.0.1/32")
}

func TestALedgersPlanThatMakesNoSenseIsNone(t *testing.T) {
	d := newDesk(t)
	d.kept.Plan = &PlanRecord{9, `{"version":2}`}
	d.restart()
	if n, _ := d.book.Settled(); n != 0 {
		t.Errorf("plan %d rules", n)
	}
	p := d.pool("10.1.0.0/28")
	d.gets(p, "", netip.MustParseAddr("10.1.0.0").String()+"/32")
}
