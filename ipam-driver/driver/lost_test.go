package driver

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/ipam-driver/pool"
)

// lostRig is a plugin that began after its ledger was lost: torn and set aside, or gone without a trace.
func lostRig(t *testing.T, torn bool) *rig {
	t.Helper()
	return newRig(t, func(p *Parts) {
		open, clock := p.Open, p.Clock
		p.Open = func() (Opened, error) {
			o, err := open()
			if torn {
				o.SetAside, o.Cause = "/x/ledger.db.torn-1", errors.New("invalid database")
				err = errors.Join(err, o.Ledger.Add(o.Book.Blind(clock()))())
			}
			return o, err
		}
	})
}

// inUse is what a Swarm holds whose network has had addresses before the loss.
func inUse(t *testing.T, addrs ...string) (string, pool.View) {
	t.Helper()
	terms, err := pool.ReadTerms(pool.Global, "10.1.0.0/29", "", false, map[string]string{"rolling.project": "orders"})
	if err != nil {
		t.Fatal(err)
	}
	v := pool.View{Nodes: map[string]pool.Node{"id1": {Name: "n1", Ready: true}}}
	v.Networks = []pool.Network{{Key: terms.Key(), Gateway: netip.MustParseAddr("169.254.1.1")}}
	for _, a := range addrs {
		v.Holdings = append(v.Holdings, pool.Holding{Key: terms.Key(), Addr: netip.MustParseAddr(a), Owner: pool.Owner{Kind: "task", Service: "web", Node: "id1"}})
	}
	return string(terms.Key()), v
}

func TestALeaderThatLostItsLedgerLearnsFromTheSwarmWithoutAReplay(t *testing.T) {
	for name, torn := range map[string]bool{"a torn ledger": true, "a ledger that is gone": false} {
		t.Run(name, func(t *testing.T) {
			r := lostRig(t, torn)
			key, view := inUse(t, "10.1.0.0", "10.1.0.1", "10.1.0.4")
			if a := r.address(key, ""); !strings.Contains(a.err(), "try again in some seconds") {
				t.Fatalf("before any view: %v", a)
			}
			if text, status := r.page("/readyz"); torn && status != http.StatusServiceUnavailable {
				t.Fatalf("readyz before it is known who leads: %d %s", status, text)
			}
			r.eyes.set(func(e *fakeEyes) { e.leads, e.view = true, view })
			r.driver.look(context.Background())
			if text, status := r.page("/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(text, "a ledger was lost") {
				t.Fatalf("readyz of a leader that cannot give an address: %d %s", status, text)
			}
			if a := r.address(key, ""); !strings.Contains(a.err(), "try again in some seconds") {
				t.Fatalf("an answer of just before the loss may be missing in the view: %v", a)
			}
			if p := r.driver.pause(); p != curious {
				t.Fatalf("the next view comes after %s", p)
			}
			r.pass(curious)
			r.driver.look(context.Background())
			if text, status := r.page("/readyz"); status != http.StatusOK {
				t.Fatalf("readyz %d %s", status, text)
			}
			text, _ := r.page("/debug/state")
			if err := holds(text, `"blind": false`, `"leads": true`, `"warnings": []`, `"169.254.1.1"`, `"address": "10.1.0.4"`); err != nil {
				t.Error(err)
			}
			for _, want := range []string{"10.1.0.5/32", "10.1.0.6/32", "10.1.0.7/32", "10.1.0.3/32", "10.1.0.2/32"} { // what may rest comes last
				r.gets(key, "", want)
			}
			if a := r.address(key, ""); !strings.Contains(a.err(), "8 of 8 addresses used") {
				t.Fatalf("every address is in use: %v", a)
			}
			if a := r.call("RequestPool", map[string]any{"AddressSpace": globalSpace, "Pool": "10.2.0.0/29"}); holds(a["Data"].(map[string]any)[gatewayType].(string), "169.254.1.2/32") != nil {
				t.Fatalf("a new network: %v", a)
			}
		})
	}
}

func TestANodeThatFollowsDoesNotMournItsLedger(t *testing.T) {
	r := lostRig(t, true)
	<-r.driver.ready
	r.eventually("the loss is none", func() error {
		r.pass(time.Second)
		r.driver.look(context.Background())
		text, _ := r.page("/debug/state")
		return holds(text, `"blind": false`, `"warnings": []`)
	})
	if text, status := r.page("/readyz"); status != http.StatusOK {
		t.Errorf("readyz %d %s", status, text)
	}
	if m := r.ledger.Records().Meta; m.Blind != 0 {
		t.Errorf("the ledger still says so: %+v", m)
	}
	key, view := inUse(t, "10.1.0.0")
	r.eyes.set(func(e *fakeEyes) { e.leads, e.view = true, view })
	// elected: the replay names what is in use
	r.pool(globalSpace, "10.1.0.0/29", map[string]string{"rolling.project": "orders"})
	r.call("RequestAddress", map[string]any{"PoolID": key, "Address": "169.254.1.1", "Options": map[string]string{addressType: gatewayType}})
	r.gets(key, "10.1.0.0", "10.1.0.0/32")
	if a := r.address(key, ""); a.err() != "" || a["Address"] == "10.1.0.0/32" {
		t.Errorf("after the replay: %v", a)
	}
}

func TestALossStaysSaidWhileTheEngineCannotBeAsked(t *testing.T) {
	r := lostRig(t, true)
	<-r.driver.ready
	r.eyes.set(func(e *fakeEyes) { e.err = errors.New("the engine is on its way up") })
	r.pass(time.Minute)
	r.driver.look(context.Background())
	if text, status := r.page("/readyz"); status != http.StatusServiceUnavailable || holds(text, "a ledger was lost", "on its way up") != nil {
		t.Errorf("readyz %d %s", status, text)
	}
	if p := r.driver.pause(); p != curious {
		t.Errorf("the next question comes after %s", p)
	}
}

// Swarm asks again for the address of a task that waits as soon as one is released, and then not for 5 minutes. When a lost
// node comes back, that moment is before any view could tell.
func TestAFullPoolServesTheTaskThatWaitedWhenALostNodeIsBack(t *testing.T) {
	r := newRig(t)
	key := r.pool(globalSpace, "10.1.0.0/32", map[string]string{"rolling.quarantine": "0s"})
	r.gets(key, "", "10.1.0.0/32")
	ready := func(is bool) {
		r.eyes.set(func(e *fakeEyes) {
			e.leads = true
			e.view = pool.View{Nodes: map[string]pool.Node{"id1": {Name: "n1", Ready: is}}, Networks: []pool.Network{{Key: pool.Key(key)}},
				Holdings: []pool.Holding{{Key: pool.Key(key), Addr: netip.MustParseAddr("10.1.0.0"), Owner: pool.Owner{Kind: "task", Node: "id1"}}}}
		})
	}
	ready(false)
	r.driver.look(context.Background())
	r.pass(time.Minute)
	r.driver.notes.Lock()
	r.driver.lastLook = time.Now().Add(-time.Minute)
	r.driver.notes.Unlock()
	r.release(key, "10.1.0.0")
	ready(true)
	r.eyes.set(func(e *fakeEyes) { e.view.Holdings = nil })
	r.gets(key, "", "10.1.0.0/32")
}
