package driver

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/ipam-driver/pool"
)

func TestAStackThatIsRemovedGetsItsAddressesBackFromTheSwarmsView(t *testing.T) {
	r := newRig(t)
	key := r.pool(globalSpace, "10.1.0.0/30", map[string]string{"rolling.quarantine": "5s"})
	r.gets(key, "", "10.1.0.0/32")
	r.release(key, "169.254.1.1")
	r.call("ReleasePool", map[string]any{"PoolID": key})
	live := pool.Holding{Key: pool.Key(key), Addr: netip.MustParseAddr("10.1.0.0"), Owner: pool.Owner{Kind: "task", Service: "web", Slot: "1", Node: "id1"}}
	r.eyes.set(func(e *fakeEyes) {
		e.leads, e.view = true, pool.View{Holdings: []pool.Holding{live}, Nodes: map[string]pool.Node{"id1": {Name: "n1", Ready: true}}}
	})
	r.driver.poke()
	r.eventually("the lease is confirmed", func() error {
		text, _ := r.page("/debug/state")
		return holds(text, `"state": "confirmed"`, `"service": "web"`, `"node": "n1"`)
	})
	r.eyes.set(func(e *fakeEyes) { e.view.Holdings = nil })
	r.eventually("the address is free again", func() error {
		r.pass(11 * time.Second)
		r.driver.look(context.Background())
		if text, _ := r.page("/debug/state"); strings.Contains(text, `"address"`) {
			return errors.New(text)
		}
		return nil
	})
	again := r.pool(globalSpace, "10.1.0.0/30", map[string]string{"rolling.quarantine": "5s"})
	r.gets(again, "", "10.1.0.0/32")
}

func TestOnlyTheLeadersBookIsAskedAboutTheSwarm(t *testing.T) {
	r := newRig(t)
	r.pool(globalSpace, "10.1.0.0/30", nil)
	for range 5 {
		r.driver.look(context.Background())
	}
	r.eyes.set(func(e *fakeEyes) {
		if e.asked != 0 {
			t.Errorf("asked %d times", e.asked)
		}
		e.leads = true
	})
	r.driver.look(context.Background())
	r.eyes.set(func(e *fakeEyes) {
		if e.asked == 0 {
			t.Error("the leader was not asked")
		}
		e.err = errors.New("the engine is on its way up")
	})
	r.driver.look(context.Background())
	if text, _ := r.page("/debug/state"); !strings.Contains(text, "the engine is on its way up") {
		t.Error(text)
	}
	if text, status := r.page("/readyz"); status != http.StatusOK {
		t.Errorf("readyz %d %s: addresses are given without the engine's API too", status, text)
	}
}

func TestPagesForPeople(t *testing.T) {
	r := newRig(t, func(p *Parts) {
		p.Aside = func() []string { return []string{"/x/ledger.db.torn-1"} }
	})
	key := r.pool(globalSpace, "10.1.0.0/30", map[string]string{"rolling.project": "orders", "rolling.environment": "test"})
	for range 4 {
		r.address(key, "")
	}
	r.address(key, "")
	r.release(key, "10.1.0.3")
	text, _ := r.page("/metrics")
	if err := holds(text,
		`rolling_ipam_calls_total{call="RequestAddress",result="ok"} 4`, `rolling_ipam_calls_total{call="RequestAddress",result="refused"} 1`,
		`rolling_ipam_addresses{environment="test",project="orders",share="`+key+`",space="global",state="leased",subnet="10.1.0.0/30"} 3`,
		`state="resting",subnet="10.1.0.0/30"} 1`, `state="free",subnet="10.1.0.0/30"} 0`, `state="unconfirmed",subnet="10.1.0.0/30"} 0`,
		`rolling_ipam_blocks{environment="test",project="orders",share="`+key+`",space="global",subnet="10.1.0.0/30"} 0`, `rolling_ipam_nearly_full{environment="test",project="orders",share="`+key+`",space="global",subnet="10.1.0.0/30"} 1`,
		"rolling_ipam_ready 1", "rolling_ipam_ledger_owed 0", "rolling_ipam_call_seconds_bucket"); err != nil {
		t.Error(err)
	}
	text, _ = r.page("/debug/state")
	if err := holds(text, `"build": "b1"`, "/x/ledger.db.torn-1", `"address": "10.1.0.0"`, `"why": "rests 1m0s"`, `100 % of 4 addresses are used or rest`, `"project": "orders"`); err != nil {
		t.Error(err)
	}
}

func TestARestIsEndedByHandOnlyOnTheSocket(t *testing.T) {
	r := newRig(t)
	key := r.pool(globalSpace, "10.1.0.0/32", nil)
	r.gets(key, "", "10.1.0.0/32")
	free := func() (int, string) {
		resp, err := r.desk.Post("http://plugin/addresses/10.1.0.0/free", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var b bytes.Buffer
		_, _ = b.ReadFrom(resp.Body)
		return resp.StatusCode, b.String()
	}
	if status, text := free(); status != http.StatusConflict || !strings.Contains(text, "is in use") {
		t.Fatalf("a leased address: %d %s", status, text)
	}
	r.release(key, "10.1.0.0")
	if a := r.address(key, ""); a.err() == "" {
		t.Fatal("it did not rest")
	}
	if status, text := free(); status != http.StatusOK {
		t.Fatalf("%d %s", status, text)
	}
	if status, text := free(); status != http.StatusConflict || !strings.Contains(text, "does not rest here") {
		t.Fatalf("a free address: %d %s", status, text)
	}
	r.gets(key, "", "10.1.0.0/32")
}
