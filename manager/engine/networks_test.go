package engine_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/swarm"

	"github.com/rolling-swarm/rolling/internal/allotment"
	"github.com/rolling-swarm/rolling/internal/wire"
	"github.com/rolling-swarm/rolling/manager/cluster"
	"github.com/rolling-swarm/rolling/manager/engine"
	"github.com/rolling-swarm/rolling/manager/network"
	"github.com/rolling-swarm/rolling/manager/plan"
	"github.com/rolling-swarm/rolling/manager/store/storetest"
)

// plugin plays the leader's IPAM plugin.
type plugin struct {
	is     wire.Addresses
	swarm  engine.Settlements // what it reads when it is told to
	told   []string
	refuse error
	away   bool
}

func (p *plugin) Addresses(_ context.Context, node string, leases bool, one netip.Addr) (wire.Addresses, error) {
	if p.away {
		return wire.Addresses{}, errors.New("node n1: its agent has no line to this manager")
	}
	is := p.is
	is.Leases = nil
	for _, l := range p.is.Leases {
		if leases || l.Address == one {
			is.Leases = append(is.Leases, l)
		}
	}
	return is, nil
}

func (p *plugin) Free(_ context.Context, node string, a netip.Addr, sure bool) error {
	p.told = append(p.told, fmt.Sprintf("free %s on %s, sure %t", a, node, sure))
	return p.refuse
}

func (p *plugin) ReadSettled(ctx context.Context, node string) error {
	if p.away {
		return errors.New("no line")
	}
	all, err := p.swarm.Settled(ctx)
	p.is.Settled.Number, p.is.Settled.Plan, _ = allotment.Newest(all)
	return err
}

// office is a manager that keeps named pools and reservations, and hears the leader's plugin.
type office struct {
	*bench
	plugin *plugin
	swarm  *cluster.Swarm
}

func offices(t *testing.T, name string, f func(o *office)) {
	story(t, name, func(b *bench) {
		o := &office{bench: b, swarm: b.toy.Swarm()}
		o.plugin = &plugin{swarm: o.swarm}
		e, err := engine.New(engine.Options{Store: &storetest.Memory{}, Cluster: o.swarm, Live: o.swarm, Registry: registries{}, Settled: o.swarm, Ledger: o.plugin})
		if err != nil {
			t.Fatal(err)
		}
		b.Networks(b.Context(), engine.NetworksOf{}) //nolint:errcheck // without a ledger it is no panic
		o.bench = &bench{T: b.T, Engine: e, toy: b.toy, stop: b.stop}
		f(o)
	})
}

func (o *office) pool(name, prefix string, block int) {
	o.Helper()
	_, warnings, err := o.CreatePool(o.Context(), engine.NewPool{Pool: allotment.Pool{Name: name, Prefix: netip.MustParsePrefix(prefix), Block: block}, By: "ann"})
	if err != nil || len(warnings) > 0 {
		o.Fatal(warnings, err)
	}
}

func (o *office) network(w network.Wish) engine.Network {
	o.Helper()
	n, _, err := o.CreateNetwork(o.Context(), engine.NewNetwork{Wish: w, By: "ann"})
	if err != nil {
		o.Fatal(err)
	}
	return n
}

func TestNetworks(t *testing.T) {
	offices(t, "one of a named pool is made with what the pool gives, and listed with what the plugin counts", func(o *office) {
		o.pool("prod", "10.210.0.0/16", 28)
		made := o.network(network.Wish{Name: "wide", Pool: "prod", Project: "orders", Environment: "production"})
		if made.ID == "" || made.Subnet.String() != "10.210.0.0/16" || made.Block != 28 || made.Pool != "prod" || made.Project != "orders" || made.Mode != "routed" {
			o.Errorf("%+v", made)
		}
		o.plugin.is.Prefixes = []wire.AddressPrefix{{Subnet: made.Subnet, Size: 65536, Used: 20, Resting: 2, Reserved: 1, Given: 32}}
		o.plugin.is.Shares = []wire.AddressShare{{Called: []string{"other", "wide"}, Subnet: made.Subnet, Size: 16, Used: 12, Resting: 2, Reserved: 1, Leased: 12, Quota: 14, Block: 28,
			Blocks: []netip.Prefix{netip.MustParsePrefix("10.210.0.0/28")}, Lost: 1}}
		all, warnings, err := o.Networks(o.Context(), engine.NetworksOf{Project: "orders"})
		if err != nil || len(all) != 1 || len(warnings) != 0 {
			o.Fatalf("%+v %v %v", all, warnings, err)
		}
		n := all[0]
		if n.Usage == nil || n.Usage.Size != 14 || n.Usage.Free != 2 || n.Usage.Full != 85 || strings.Join(n.SharedWith, " ") != "other" || len(n.Blocks) != 1 || len(n.Warnings) != 2 || !strings.Contains(n.Warnings[0], "85 %") {
			o.Errorf("%+v %+v", n, n.Usage)
		}
		o.plugin.away = true
		if _, warnings, err := o.Network(o.Context(), "wide"); err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], "no line") {
			o.Errorf("without the plugin: %v %v", warnings, err)
		}
		_, _, err = o.Network(o.Context(), "wid")
		o.refused(err, engine.NotFound, `did you mean "wide"?`)
	})
	offices(t, "bad input changes nothing, and is answered with all that is wrong", func(o *office) {
		_, _, err := o.CreateNetwork(o.Context(), engine.NewNetwork{Wish: network.Wish{Name: "a b", Pool: "prod", Mode: "routd"}})
		if e := o.refused(err, engine.Invalid, "3 problems, nothing changed"); len(e.Problems) != 3 || e.Problems[2].Path != "pool" {
			o.Errorf("%+v", e.Problems)
		}
		o.network(network.Wish{Name: "a", Subnet: "10.5.0.0/24"})
		_, _, err = o.CreateNetwork(o.Context(), engine.NewNetwork{Wish: network.Wish{Name: "b", Subnet: "10.5.0.0/16"}})
		o.refused(err, engine.Invalid, "overlaps 10.5.0.0/24 of network a")
		n, _, err := o.CreateNetwork(o.Context(), engine.NewNetwork{Wish: network.Wish{Name: "c", Subnet: "10.6.0.0/16"}, DryRun: true})
		if err != nil || n.Subnet.String() != "10.6.0.0/16" || n.ID != "" {
			o.Errorf("%+v %v", n, err)
		}
		if all, _, err := o.Networks(o.Context(), engine.NetworksOf{}); err != nil || len(all) != 1 {
			o.Errorf("left: %+v %v", all, err)
		}
	})
	offices(t, "what the plugin refuses is told in its words, and nothing is left", func(o *office) {
		o.plugin.is.Refusals = []wire.AddressRefusal{{Seq: 4, Call: "RequestPool", Subnet: "10.5.0.0/24", Why: "an older one"}}
		refusing := refusingCluster{o.swarm, func() {
			o.plugin.is.Refusals = append(o.plugin.is.Refusals, wire.AddressRefusal{Seq: 5, Call: "RequestPool", Subnet: "10.5.0.0/24", Why: "no link-local gateway is unused"},
				wire.AddressRefusal{Seq: 6, Call: "RequestPool", Subnet: "10.6.0.0/24", Why: "somebody else's"})
		}}
		e, err := engine.New(engine.Options{Store: &storetest.Memory{}, Cluster: refusing, Live: o.swarm, Registry: registries{}, Settled: o.swarm, Ledger: o.plugin})
		if err != nil {
			o.Fatal(err)
		}
		_, _, err = e.CreateNetwork(o.Context(), engine.NewNetwork{Wish: network.Wish{Name: "b", Subnet: "10.5.0.0/24"}})
		o.refused(err, engine.Invalid, "the IPAM plugin refuses it: no link-local gateway is unused; nothing is left of it")
		o.plugin.away = true
		_, _, err = e.CreateNetwork(o.Context(), engine.NewNetwork{Wish: network.Wish{Name: "b", Subnet: "10.5.0.0/24"}})
		o.refused(err, engine.Invalid, "the log of the leader's engine says why")
	})
	offices(t, "what a plugin refuses ends the wait for Swarm at once", func(o *office) {
		for _, c := range []struct {
			name, want string
			say        func()
		}{
			{"rolling/ipam", "the IPAM plugin refuses it: pool prod is full; nothing is left of it", func() {
				o.plugin.is.Refusals = []wire.AddressRefusal{{Seq: 1, Call: "RequestPool", Subnet: "10.5.0.0/24", Options: map[string]string{"rolling.quota": "4"}, Why: "of another network with that subnet"},
					{Seq: 2, Call: "RequestPool", Subnet: "10.5.0.0/24", Options: map[string]string{"rolling.quota": "7"}, Why: "pool prod is full"}}
			}},
			{"rolling/net", "the network plugin refuses it: l2 needs a parent; nothing is left of it", func() {
				o.plugin.is.Networks = []wire.NetworkRefusal{{Network: "id1", Subnet: "10.6.0.0/24", Why: "another"}, {Network: "id2", Subnet: "10.5.0.0/24", Why: "l2 needs a parent"}}
			}},
		} {
			e, err := engine.New(engine.Options{Store: &storetest.Memory{}, Cluster: waitingCluster{o.swarm, c.say}, Live: o.swarm, Registry: registries{}, Settled: o.swarm, Ledger: o.plugin})
			if err != nil {
				o.Fatal(err)
			}
			begun := time.Now()
			_, _, err = e.CreateNetwork(o.Context(), engine.NewNetwork{Wish: network.Wish{Name: "b", Subnet: "10.5.0.0/24", Quota: 7}})
			o.refused(err, engine.Invalid, c.want)
			if took := time.Since(begun); took > time.Second {
				o.Errorf("%s: the refusal was told after %s", c.name, took)
			}
		}
	})
	offices(t, "a line that comes up while Swarm is waited for still tells, and old refusals are passed over", func(o *office) {
		o.plugin.away = true
		old, now := time.Now().Add(-time.Hour), time.Now().Add(time.Millisecond)
		waiting := waitingCluster{o.swarm, func() {
			o.plugin.is.Refusals = []wire.AddressRefusal{{Seq: 9, At: old, Call: "RequestPool", Subnet: "10.5.0.0/24", Why: "of an hour ago"}}
			o.plugin.is.Networks = []wire.NetworkRefusal{{At: old, Network: "id1", Subnet: "10.5.0.0/24", Why: "of an hour ago"}, {At: now, Network: "id2", Subnet: "10.5.0.0/24", Why: "l2 needs a parent"}}
			o.plugin.away = false
		}}
		e, err := engine.New(engine.Options{Store: &storetest.Memory{}, Cluster: waiting, Live: o.swarm, Registry: registries{}, Settled: o.swarm, Ledger: o.plugin})
		if err != nil {
			o.Fatal(err)
		}
		begun := time.Now()
		_, _, err = e.CreateNetwork(o.Context(), engine.NewNetwork{Wish: network.Wish{Name: "b", Subnet: "10.5.0.0/24"}})
		o.refused(err, engine.Invalid, "the network plugin refuses it: l2 needs a parent; nothing is left of it")
		if took := time.Since(begun); took > time.Second {
			o.Errorf("the refusal was told after %s", took)
		}
	})
	offices(t, "one that somebody uses is not removed", func(o *office) {
		o.network(network.Wish{Name: "a", Subnet: "10.5.0.0/24"})
		o.network(network.Wish{Name: "b", Subnet: "10.5.0.0/24"})
		web := swarm.ServiceSpec{Annotations: swarm.Annotations{Name: "web"}, TaskTemplate: swarm.TaskSpec{ContainerSpec: &swarm.ContainerSpec{Image: "web:1"},
			Networks: []swarm.NetworkAttachmentConfig{{Target: "a"}}}}
		if _, err := o.swarm.Apply(o.Context(), plan.CreateService{Spec: web}); err != nil {
			o.Fatal(err)
		}
		_, err := o.RemoveNetwork(o.Context(), "a", "ann")
		o.refused(err, engine.InUse, "network a: services web use it")
		if _, err := o.RemoveNetwork(o.Context(), "b", "ann"); err != nil {
			o.Error(err)
		}
		_, err = o.RemoveNetwork(o.Context(), "b", "ann")
		o.refused(err, engine.NotFound, "none of Rolling's has that name")
		if entries, err := o.Audit(o.Context(), 0, 0); err != nil || entries[0].Action != "network remove" || entries[0].Object != "b" || entries[0].By != "ann" {
			o.Errorf("%+v %v", entries, err)
		}
	})
	offices(t, "a project whose network overlaps another's is stopped at the plan", func(o *office) {
		o.network(network.Wish{Name: "a", Subnet: "10.210.0.0/16"})
		o.apply(ordersFile)
		p := o.plan("test", o.release("1"))
		if len(p.Blocked) != 1 || !strings.Contains(p.Blocked[0].Text, "10.210.3.0/27 overlaps 10.210.0.0/16 of network a") {
			o.Errorf("%+v", p)
		}
	})
}

// waitingCluster is a Swarm whose plugins have said no, and that itself would tell nobody for a long time.
type waitingCluster struct {
	*cluster.Swarm
	then func()
}

func (w waitingCluster) Apply(ctx context.Context, _ plan.Step) (cluster.Applied, error) {
	w.then()
	select {
	case <-ctx.Done():
		return cluster.Applied{}, context.Cause(ctx)
	case <-time.After(time.Minute):
		return cluster.Applied{}, fmt.Errorf("%w: its drivers have not taken it", cluster.ErrRefused)
	}
}

type refusingCluster struct {
	*cluster.Swarm
	then func()
}

func (r refusingCluster) Apply(context.Context, plan.Step) (cluster.Applied, error) {
	r.then()
	return cluster.Applied{}, fmt.Errorf("%w: its drivers have not taken it: the log of the leader's engine says why", cluster.ErrRefused)
}

func TestPools(t *testing.T) {
	offices(t, "they are made, listed with how full they are, and removed", func(o *office) {
		o.pool("prod", "10.210.0.0/16", 28)
		o.pool("lab", "10.99.0.0/24", 0)
		o.network(network.Wish{Name: "wide", Pool: "prod"})
		o.plugin.is.Prefixes = []wire.AddressPrefix{{Subnet: netip.MustParsePrefix("10.210.0.0/16"), Size: 65536, Used: 100, Given: 60000, Networks: 1}}
		all, warnings, err := o.Pools(o.Context())
		if err != nil || len(all) != 2 || all[1].Name != "prod" || all[1].Usage.Full != 91 || all[0].Usage != nil || strings.Join(all[1].Networks, " ") != "wide" {
			o.Fatalf("%+v %v", all, err)
		}
		if len(warnings) != 0 || len(all[1].Warnings) != 1 || !strings.Contains(all[1].Warnings[0], "91 % full") {
			o.Errorf("%v %v", warnings, all[1].Warnings)
		}
		_, err = o.RemovePool(o.Context(), "prod", "ann")
		o.refused(err, engine.InUse, "networks wide draw from it")
		_, err = o.RemovePool(o.Context(), "prdo", "ann")
		o.refused(err, engine.NotFound, `did you mean "prod"?`)
		if _, err := o.RemovePool(o.Context(), "lab", "ann"); err != nil {
			o.Error(err)
		}
		if entries, err := o.Audit(o.Context(), 0, 0); err != nil || entries[0].Action != "pool remove" || entries[0].Text != "config rolling.ipam.3" || entries[0].By != "ann" {
			o.Errorf("%+v %v", entries, err)
		}
	})
	offices(t, "what cannot be is refused with its places", func(o *office) {
		o.pool("prod", "10.210.0.0/16", 0)
		o.network(network.Wish{Name: "a", Subnet: "10.5.0.0/24"})
		create := func(name, prefix string, block int) error {
			p, _ := netip.ParsePrefix(prefix)
			_, _, err := o.CreatePool(o.Context(), engine.NewPool{Pool: allotment.Pool{Name: name, Prefix: p, Block: block}})
			return err
		}
		o.refused(create("prod", "10.3.0.0/16", 0), engine.Exists, "there is one of that name")
		e := o.refused(create("a b", "10.5.0.0/16", 40), engine.Invalid, "overlaps 10.5.0.0/24 of network a")
		if len(e.Problems) != 3 || e.Problems[1].Path != "name" || e.Problems[2].Path != "block" {
			o.Errorf("%+v", e.Problems)
		}
		o.refused(create("part", "10.210.3.0/24", 0), engine.Invalid, "overlaps pool prod")
	})
	offices(t, "a change waits for the leader's plugin, and says so if that is away", func(o *office) {
		o.plugin.away = true
		_, warnings, err := o.CreatePool(o.Context(), engine.NewPool{Pool: allotment.Pool{Name: "lab", Prefix: netip.MustParsePrefix("10.99.0.0/24")}})
		if err != nil || len(warnings) != 4 || !strings.Contains(warnings[3], "has not read rolling.ipam.1 within 10s") {
			o.Errorf("%v %v", warnings, err)
		}
	})
	offices(t, "a config that makes no sense is told of, passed over, and outdone by the next change", func(o *office) {
		o.pool("prod", "10.210.0.0/16", 0)
		if err := o.swarm.Settle(o.Context(), 7, []byte(`{"version":1,"pools":7}`)); err != nil {
			o.Fatal(err)
		}
		all, warnings, err := o.Pools(o.Context())
		if err != nil || len(all) != 1 || len(warnings) == 0 || !strings.Contains(warnings[0], "config rolling.ipam.7 is refused whole") {
			o.Errorf("%+v %v %v", all, warnings, err)
		}
		o.pool("lab", "10.99.0.0/24", 0)
		if all, warnings, err := o.Pools(o.Context()); err != nil || len(all) != 2 || len(warnings) != 0 {
			o.Errorf("%+v %v %v", all, warnings, err)
		}
	})
	offices(t, "two who change at once both get their way, and old configs go", func(o *office) {
		var failed []error
		done := make(chan error)
		for i := range 6 {
			go func() {
				_, _, err := o.CreatePool(o.Context(), engine.NewPool{Pool: allotment.Pool{Name: fmt.Sprintf("p%d", i), Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i), 0, 0}), 16)}})
				done <- err
			}()
		}
		for range 6 {
			failed = append(failed, <-done)
		}
		all, _, err := o.Pools(o.Context())
		if errors.Join(failed...) != nil || err != nil || len(all) != 6 {
			o.Fatalf("%v, %d pools, %v", errors.Join(failed...), len(all), err)
		}
		if copies, err := o.swarm.Settled(o.Context()); err != nil || len(copies) != 5 || copies[0].Number != 6 {
			o.Errorf("%d configs, %v", len(copies), err)
		}
	})
}

func TestReservations(t *testing.T) {
	reserve := func(o *office, r engine.Reserve) ([]engine.Reservation, error) {
		r.Why, r.By = "a firewall knows it", "ann"
		all, _, err := o.Reserve(o.Context(), r)
		return all, err
	}
	one := netip.MustParseAddr
	offices(t, "a named one, or some of a network's from the end", func(o *office) {
		o.network(network.Wish{Name: "a", Subnet: "10.5.0.0/28"})
		o.plugin.is.Leases = []wire.AddressLease{{Address: one("10.5.0.15"), State: "reserved"}, {Address: one("10.5.0.14"), State: "resting"}}
		if all, err := reserve(o, engine.Reserve{Address: one("10.5.0.13"), Reservation: allotment.Reservation{Owner: "a printer"}}); err != nil || len(all) != 1 || all[0].For != "a printer" {
			o.Fatalf("%+v %v", all, err)
		}
		all, err := reserve(o, engine.Reserve{Count: 2, Network: "a"})
		if err != nil || len(all) != 2 || all[0].Address != one("10.5.0.14") || all[1].Address != one("10.5.0.12") || all[0].For != "network a" {
			o.Fatalf("%+v %v", all, err)
		}
		list, warnings, err := o.Reservations(o.Context())
		if err != nil || len(list) != 3 || len(warnings) != 0 || list[0].Address != one("10.5.0.12") || list[0].By != "ann" || list[0].At.IsZero() {
			o.Errorf("%+v %v %v", list, warnings, err)
		}
		if all, err := reserve(o, engine.Reserve{Count: 1, Network: "a", DryRun: true}); err != nil || all[0].Address != one("10.5.0.11") {
			o.Errorf("%+v %v", all, err)
		}
		if _, err := o.Unreserve(o.Context(), one("10.5.0.13"), "ann"); err != nil {
			o.Error(err)
		}
		_, err = o.Unreserve(o.Context(), one("10.5.0.13"), "ann")
		o.refused(err, engine.NotFound)
		if d, err := o.Address(o.Context(), one("10.5.0.12")); err != nil || d.State != "reserved" || d.Reservation.For != "network a" || strings.Join(d.Networks, "") != "a" {
			o.Errorf("%+v %v", d, err)
		}
	})
	offices(t, "what cannot be is refused, with all that is wrong", func(o *office) {
		o.pool("prod", "10.210.0.0/16", 0)
		o.apply(ordersFile)
		_, err := reserve(o, engine.Reserve{})
		if e := o.refused(err, engine.Invalid); len(e.Problems) != 2 {
			o.Errorf("%+v", e.Problems)
		}
		for want, r := range map[string]engine.Reserve{
			"3 addresses of which one?":               {Count: 3, Reservation: allotment.Reservation{Owner: "x"}},
			"257: want 1 to 256":                      {Count: 257, Pool: "prod", Reservation: allotment.Reservation{Owner: "x"}},
			`did you mean "prod"?`:                    {Count: 1, Pool: "prdo", Reservation: allotment.Reservation{Owner: "x"}},
			"none of Rolling's networks is called b":  {Count: 1, Network: "b"},
			"want one of them":                        {Count: 1, Network: "b", Pool: "prod"},
			"lies in no named pool and in no network": {Address: one("10.9.0.1"), Reservation: allotment.Reservation{Owner: "x"}},
			"10.9.0.1 does not lie in 10.210.0.0/16":  {Address: one("10.9.0.1"), Pool: "prod", Reservation: allotment.Reservation{Owner: "x"}},
			"want an address, or how many":            {Address: one("10.210.0.1"), Count: 2, Reservation: allotment.Reservation{Owner: "x"}},
		} {
			_, err := reserve(o, r)
			o.refused(err, engine.Invalid, want)
		}
	})
	offices(t, "what somebody else has is refused, and what one has oneself is kept", func(o *office) {
		o.apply(strings.Replace(ordersFile, "10.210.3.0/27", "10.8.3.0/27", 1))
		o.network(network.Wish{Name: "a", Subnet: "10.8.0.0/28"})
		o.network(network.Wish{Name: "b", Subnet: "10.210.3.0/24"})
		_, err := reserve(o, engine.Reserve{Address: one("10.210.3.2"), Reservation: allotment.Reservation{Owner: "x"}})
		if err != nil {
			o.Fatal(err)
		}
		_, err = reserve(o, engine.Reserve{Address: one("10.210.3.2"), Reservation: allotment.Reservation{Owner: "y"}})
		o.refused(err, engine.Invalid, "is reserved for x already")
		o.plugin.is.Leases = []wire.AddressLease{{Address: one("10.210.3.9"), State: "confirmed", Owner: &wire.AddressOwner{Kind: "task", Service: "web", Node: "n1"}}}
		_, err = reserve(o, engine.Reserve{Address: one("10.210.3.9"), Reservation: allotment.Reservation{Owner: "y"}})
		o.refused(err, engine.Invalid, "10.210.3.9 is leased to task of service web on node n1")
	})
	offices(t, "who named one in vain is told why, and of no other address", func(o *office) {
		o.plugin.is.Refusals = []wire.AddressRefusal{
			{Seq: 1, Call: "RequestAddress", Address: "10.5.0.1", Why: "it rests"}, {Seq: 2, Call: "RequestAddress", Address: "10.5.0.1", Why: "it is in use"},
			{Seq: 3, Call: "ReleaseAddress", Address: "10.5.0.1", Why: "another call"}, {Seq: 4, Call: "RequestAddress", Address: "10.5.0.2", Why: "another address"}}
		if v, err := o.Address(o.Context(), one("10.5.0.1")); err != nil || v.Refused == nil || v.Refused.Why != "it is in use" {
			o.Errorf("%+v %v", v.Refused, err)
		}
		if v, err := o.Address(o.Context(), one("10.5.0.3")); err != nil || v.Refused != nil {
			o.Errorf("%+v %v", v.Refused, err)
		}
	})
	offices(t, "a rest is ended by the leader's plugin, or not", func(o *office) {
		if err := o.FreeAddress(o.Context(), one("10.5.0.1"), true, "ann"); err != nil || strings.Join(o.plugin.told, "") != "free 10.5.0.1 on node1, sure true" {
			o.Errorf("%v %v", o.plugin.told, err)
		}
		o.plugin.refuse = fmt.Errorf("%w: node n3 may still use it", wire.ErrRefused)
		err := o.FreeAddress(o.Context(), one("10.5.0.1"), false, "ann")
		if o.refused(err, engine.InUse, "free 10.5.0.1: node n3 may still use it"); strings.Contains(err.Error(), wire.ErrRefused.Error()) {
			o.Error(err)
		}
	})
}
