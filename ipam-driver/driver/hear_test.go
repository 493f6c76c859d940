package driver

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/ipam-driver/pool"
)

// elected is a plugin whose manager has just been elected: of the removed network with the same subnet, whose containers still
// run, nobody tells it.
func elected(t *testing.T) (r *rig, key string) {
	t.Helper()
	r = newRig(t)
	<-r.driver.ready
	r.driver.notes.Lock()
	r.driver.deafUntil = time.Time{}
	r.driver.notes.Unlock()
	gone, err := pool.ReadTerms(pool.Global, "10.1.0.0/30", "", false, map[string]string{"rolling.project": "gone"})
	if err != nil {
		t.Fatal(err)
	}
	r.eyes.set(func(e *fakeEyes) {
		e.leads = true
		e.view = pool.View{Nodes: map[string]pool.Node{"id1": {Name: "n1", Ready: true}}, Holdings: []pool.Holding{
			{Key: gone.Key(), Addr: netip.MustParseAddr("10.1.0.0"), Owner: pool.Owner{Kind: "task", Node: "id1"}},
			{Key: gone.Key(), Addr: netip.MustParseAddr("10.1.0.2"), Owner: pool.Owner{Kind: "task", Node: "lost"}, Ended: r.clock(), Lost: true},
		}}
	})
	return r, r.pool(globalSpace, "10.1.0.0/30", map[string]string{"rolling.project": "orders"})
}

func TestANewLeaderSeesTheSwarmBeforeItGivesAnAddress(t *testing.T) {
	r, key := elected(t)
	r.gets(key, "", "10.1.0.1/32")
	r.gets(key, "", "10.1.0.3/32")
	if a := r.address(key, ""); a.err() == "" {
		t.Errorf("a container of the removed network has it, or of the removed node: %v", a)
	}
}

func TestAManagerThatDoesNotKnowYetThatItLeadsIsAskedAgain(t *testing.T) {
	r, key := elected(t)
	r.eyes.set(func(e *fakeEyes) { e.leads, e.err = false, errors.New("the swarm does not have a leader") })
	time.AfterFunc(250*time.Millisecond, func() { r.eyes.set(func(e *fakeEyes) { e.leads, e.err = true, nil }) })
	r.gets(key, "", "10.1.0.1/32")
}

// What is held is not known then, so the answer may be anybody's; but it comes, and the next ones at once.
func TestAnEngineThatDoesNotAnswerIsWaitedForOnceAndForASecond(t *testing.T) {
	r, key := elected(t)
	r.eyes.set(func(e *fakeEyes) { e.hang = true })
	for range 4 {
		begun, before := time.Now(), r.deaf()
		if a := r.address(key, ""); a.err() != "" {
			t.Fatal(a.err())
		}
		took := time.Since(begun)
		if before.IsZero() && took < hearWithin {
			t.Errorf("it waited %s", took)
		}
		if after := r.deaf(); after.IsZero() || !before.IsZero() && after != before {
			t.Errorf("deaf until %s, then %s: one call waits", before, after)
		}
	}
}

func (r *rig) deaf() time.Time {
	r.driver.notes.Lock()
	defer r.driver.notes.Unlock()
	return r.driver.deafUntil
}

func TestAnAddressThatIsNamedWaitsForNoView(t *testing.T) {
	r, key := elected(t)
	r.eyes.set(func(e *fakeEyes) { e.hang = true })
	r.gets(key, "10.1.0.3", "10.1.0.3/32")
	if until := r.deaf(); !until.IsZero() {
		t.Errorf("a replay waited in vain, until %s", until)
	}
}
