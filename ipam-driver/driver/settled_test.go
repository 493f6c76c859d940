package driver

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/internal/allotment"
	"github.com/rolling-swarm/rolling/ipam-driver/pool"
)

func plan(number uint64, text string) []allotment.Copy {
	return []allotment.Copy{{Number: number, Text: []byte(text)}}
}

const prodPlan = `{"version":1,"pools":[{"name":"prod","prefix":"10.1.0.0/29"}],"reservations":[{"address":"10.1.0.0","owner":"a printer","why":"it was there first"}]}`

func TestNamedPoolsAreReadInTheBackgroundAndABadConfigChangesNothing(t *testing.T) {
	r := newRig(t)
	byName := map[string]any{"AddressSpace": globalSpace, "Pool": "", "Options": map[string]string{"rolling.pool": "prod", "com.docker.network.ipam.serial": "true"}}
	if err := holds(r.call("RequestPool", byName).err(), "have not been read from Swarm yet"); err != nil {
		t.Fatal(err)
	}
	r.eyes.set(func(e *fakeEyes) { e.plans = plan(4, prodPlan) })
	if resp, err := r.desk.Post("http://plugin/settled/read", "", nil); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp, err)
	}
	r.eventually("the plan is read", func() error {
		text, _ := r.page("/debug/state")
		return holds(text, `"number": 4`, `"owner": "a printer"`)
	})
	a := r.call("RequestPool", byName)
	if a["Pool"] != "10.1.0.0/29" {
		t.Fatalf("got %v", a)
	}
	key := a["PoolID"].(string)
	r.gets(key, "", "10.1.0.1/32")
	if err := holds(r.address(key, "10.1.0.0").err(), "reserved for a printer (it was there first)"); err != nil {
		t.Fatal(err)
	}
	r.eyes.set(func(e *fakeEyes) { e.plans = append(e.plans, plan(5, `{"version":1,"pools":[{"name":"a b"}]}`)...) })
	r.driver.look(context.Background())
	text, _ := r.page("/debug/state")
	if err := holds(text, `"number": 4`, "config rolling.ipam.5 is refused whole: 2 problems", `pools[0].prefix`); err != nil {
		t.Fatal(err)
	}
	if kept := r.ledger.Records().Plan; kept == nil || kept.Number != 4 {
		t.Fatalf("the ledger has %+v", kept)
	}
	figures, _ := r.page("/metrics")
	if err := holds(figures, "rolling_ipam_settled_number 4", "rolling_ipam_settled_problems 1", `rolling_ipam_pool_addresses{pool="prod",state="reserved",subnet="10.1.0.0/29"} 1`); err != nil {
		t.Fatal(err)
	}
	r.eyes.set(func(e *fakeEyes) { e.plans = []allotment.Copy{} })
	r.driver.look(context.Background())
	if text, _ := r.page("/debug/state"); holds(text, `"number": 0`) != nil {
		t.Fatal("all configs are gone, and one still rules")
	}
}

func TestAPoolOverFourFifthsWarns(t *testing.T) {
	r := newRig(t)
	key := r.pool(globalSpace, "10.1.0.0/30", nil)
	for range 3 {
		r.address(key, "")
	}
	if text, _ := r.page("/debug/state"); holds(text, "% of 4 addresses") == nil {
		t.Fatal("it warns at 75 %")
	}
	r.address(key, "")
	text, _ := r.page("/debug/state")
	if err := holds(text, "100 % of 4 addresses are used or rest", "plan another pool"); err != nil {
		t.Fatal(err)
	}
	figures, _ := r.page("/metrics")
	if err := holds(figures, `rolling_ipam_pool_nearly_full{pool="",subnet="10.1.0.0/30"} 1`, `rolling_ipam_nearly_full{`); err != nil {
		t.Fatal(err)
	}
}

func TestTheLastRefusalsAreKeptWithTheirReasons(t *testing.T) {
	r := newRig(t)
	key := r.pool(globalSpace, "10.1.0.0/32", map[string]string{"rolling.project": "a"})
	for i := range 2 * keptRefusals {
		r.call("RequestPool", map[string]any{"AddressSpace": globalSpace, "Pool": "10.1.0.0/31", "Options": map[string]string{"rolling.project": fmt.Sprintf("p%d", i), "com.docker.x": "y"}})
	}
	r.address(key, "")
	for range 5 {
		r.address(key, "")
	}
	all := r.driver.refusals.list()
	if len(all) != keptRefusals {
		t.Fatalf("%d are kept", len(all))
	}
	last, before := all[len(all)-1], all[len(all)-2]
	if last.Call != "RequestAddress" || last.Seq != 2*keptRefusals+5 || holds(last.Why, "no available addresses") != nil {
		t.Errorf("%+v", last)
	}
	if before.Subnet != "10.1.0.0/31" || fmt.Sprint(before.Options) != "map[rolling.project:p127]" || holds(before.Why, "overlaps") != nil {
		t.Errorf("%+v", before)
	}
	if before.At != r.clock().UTC() {
		t.Errorf("at %s", before.At)
	}
}

func TestALostNodesAddressIsFreedOnlyByForce(t *testing.T) {
	r := newRig(t)
	key := r.pool(globalSpace, "10.1.0.0/32", nil)
	r.gets(key, "", "10.1.0.0/32")
	nodes := map[string]pool.Node{"id1": {Name: "n1", Ready: false}}
	r.eyes.set(func(e *fakeEyes) {
		e.leads = true
		e.view = pool.View{Nodes: nodes, Networks: []pool.Network{{Name: "app", Key: pool.Key(key)}}, Holdings: []pool.Holding{{Key: pool.Key(key), Addr: netip.MustParseAddr("10.1.0.0"), Owner: pool.Owner{Kind: "task", Node: "id1"}}}}
	})
	r.driver.look(context.Background())
	r.release(key, "10.1.0.0")
	r.pass(time.Hour)
	for _, c := range []struct {
		query string
		want  int
	}{{"", http.StatusConflict}, {"?force=true", http.StatusOK}} {
		resp, err := r.desk.Post("http://plugin/addresses/10.1.0.0/free"+c.query, "", nil)
		if err != nil || resp.StatusCode != c.want {
			t.Fatal(c.query, resp.StatusCode, err)
		}
		_ = resp.Body.Close()
	}
	r.gets(key, "", "10.1.0.0/32")
}
