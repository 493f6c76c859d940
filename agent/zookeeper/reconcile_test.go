package zookeeper

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rolling-swarm/rolling/agent/member"
)

var epoch = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

const ordersPath = "/service/orders"

func instances(hosts ...string) []member.Instance {
	var all []member.Instance
	for i, h := range hosts {
		all = append(all, member.Instance{Host: h, Port: 8080, Shard: &i, Metadata: map[string]string{"rolling.project": "orders"}})
	}
	return all
}

func wanted(hosts ...string) member.Decision {
	return member.Decision{Swarm: "s1", By: "n1", At: epoch, Set: member.Set{Paths: map[string][]member.Instance{ordersPath: instances(hosts...)}}}
}

// agent reconciles as one node's agent does: one turn a decision, again and again.
type agent struct{ turn member.Turn }

func (a *agent) follow(t tree, d member.Decision, now time.Time) error {
	a.turn.Decide(d.By, now)
	return reconcile(t, &a.turn, d, now)
}

func hosts(records []string) string {
	var all []string
	for _, r := range records {
		_, rest, _ := strings.Cut(r, `"host":"`)
		host, _, _ := strings.Cut(rest, `"`)
		all = append(all, host)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func TestRecord(t *testing.T) {
	i := instances("10.0.3.7")[0]
	got, err := encode(i, "s1")
	want := `{"serviceEndpoint":{"host":"10.0.3.7","port":8080},"additionalEndpoints":{},"status":"ALIVE","shard":0,"metadata":{"rolling.project":"orders","rolling.swarm":"s1"}}`
	if err != nil || got != want {
		t.Errorf("got  %s %v\nwant %s", got, err, want)
	}
	i.Shard = nil
	if got, _ = encode(i, "s1"); strings.Contains(got, "shard") {
		t.Errorf("a member without a slot has a shard: %s", got)
	}
	if _, marked := i.Metadata[markKey]; marked {
		t.Error("encode changed the instance that it was given")
	}
}

func TestDifference(t *testing.T) {
	mine := func(host string) string { r, _ := encode(instances(host)[0], "s1"); return r }
	theirs, _ := encode(instances("10.0.0.1")[0], "s2")
	finagles := `{"serviceEndpoint":{"host":"10.0.0.1","port":8080},"additionalEndpoints":{},"status":"ALIVE","shard":0}`
	for _, c := range []struct {
		name           string
		have           map[string]string
		want           []string
		create, remove string
	}{
		{"nothing there", nil, []string{mine("a"), mine("b")}, "a b", ""},
		{"all there", map[string]string{"member_1": mine("a")}, []string{mine("a")}, "", ""},
		{"one joins, one leaves", map[string]string{"member_1": mine("a")}, []string{mine("b")}, "b", "member_1"},
		{"created twice after a lost reply", map[string]string{"member_2": mine("a"), "member_1": mine("a")}, []string{mine("a")}, "", "member_2"},
		{"other Swarms, finagle's own announcer and what cannot be read stay", map[string]string{
			"member_1": theirs, "member_2": finagles, "member_3": "", "member_4": "{", "vector_1": mine("a"), "x": mine("a")}, nil, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			create, remove := difference(c.have, c.want, "s1")
			if hosts(create) != c.create || strings.Join(remove, " ") != c.remove {
				t.Errorf("create %q, remove %q", hosts(create), remove)
			}
		})
	}
}

func TestReconcile(t *testing.T) {
	f := newFake()
	var a agent
	for _, step := range []struct{ name, want string }{
		{"the first", "10.0.0.1 10.0.0.2"}, {"the same", "10.0.0.1 10.0.0.2"}, {"one leaves", "10.0.0.2"}, {"all leave", ""}, {"some join", "10.0.0.3"},
	} {
		if err := a.follow(f, wanted(strings.Fields(step.want)...), epoch); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if got := hosts(f.members(ordersPath)); got != step.want {
			t.Errorf("%s: got %q, want %q", step.name, got, step.want)
		}
	}
}

func TestASetThatIsInStepIsNotWritten(t *testing.T) {
	f := newFake()
	var a agent
	if err := a.follow(f, wanted("10.0.0.1"), epoch); err != nil {
		t.Fatal(err)
	}
	f.failAt = 1 // any effect would fail
	if err := reconcile(f, &a.turn, wanted("10.0.0.1"), epoch); err != nil {
		t.Errorf("it wrote: %v", err)
	}
}

func TestANewLeaderClearsAPathThatNobodyWantsAnyMore(t *testing.T) {
	f := newFake()
	var old, young agent
	if err := old.follow(f, wanted("10.0.0.1"), epoch); err != nil {
		t.Fatal(err)
	}
	foreign := `{"serviceEndpoint":{"host":"10.9.9.9","port":1},"additionalEndpoints":{},"status":"ALIVE"}`
	f.nodes[ordersPath+"/member_9999999999"] = &fakeNode{data: foreign}
	d := wanted()
	d.By, d.Paths = "n2", nil
	if err := young.follow(f, d, epoch.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if got := f.members(ordersPath); !slices.Equal(got, []string{foreign}) {
		t.Errorf("got %q, want the foreign member alone", got)
	}
	if names, _ := f.Children(registerRoot + "s1"); len(names) != 0 {
		t.Errorf("the register still holds %v", names)
	}
}

func TestADeposedLeaderDoesNotWrite(t *testing.T) {
	f := newFake()
	var old, young agent
	if err := old.follow(f, wanted("10.0.0.1"), epoch); err != nil {
		t.Fatal(err)
	}
	d := wanted("10.0.0.2")
	d.By = "n2"
	if err := young.follow(f, d, epoch.Add(10*time.Second)); err != nil {
		t.Fatal(err)
	}
	err := reconcile(f, &old.turn, wanted("10.0.0.1"), epoch.Add(11*time.Second))
	if err == nil || !strings.Contains(err.Error(), "agent of n2") {
		t.Errorf("got %v", err)
	}
	if got := hosts(f.members(ordersPath)); got != "10.0.0.2" {
		t.Errorf("got %q", got)
	}
}

// interloper lets another agent take over between two steps of a reconciliation.
type interloper struct {
	*fakeTree
	once func()
}

func (i *interloper) Apply(guard string, version int32, changes []change) error {
	if i.once != nil {
		i.once()
		i.once = nil
	}
	return i.fakeTree.Apply(guard, version, changes)
}

func TestATakeoverInTheMiddleStopsTheOlderAgent(t *testing.T) {
	f := newFake()
	var old, young agent
	i := &interloper{fakeTree: f, once: func() {
		d := wanted("10.0.0.2")
		d.By = "n2"
		if err := young.follow(f, d, epoch.Add(10*time.Second)); err != nil {
			t.Fatal(err)
		}
	}}
	if err := old.follow(i, wanted("10.0.0.1"), epoch); !errors.Is(err, errChanged) {
		t.Errorf("got %v", err)
	}
	if got := hosts(f.members(ordersPath)); got != "10.0.0.2" {
		t.Errorf("got %q", got)
	}
}

func TestOnePathThatFailsLeavesTheOthers(t *testing.T) {
	f := newFake()
	var a agent
	d := wanted("10.0.0.1")
	d.Paths["/locked/x"] = instances("10.0.0.1")
	locked := lockedTree{f}
	if err := a.follow(locked, d, epoch); !errors.Is(err, errLocked) {
		t.Errorf("got %v", err)
	}
	if got := hosts(f.members(ordersPath)); got != "10.0.0.1" {
		t.Errorf("got %q", got)
	}
}

var errLocked = errors.New("not authenticated")

type lockedTree struct{ *fakeTree }

func (l lockedTree) Create(p string) error {
	if strings.HasPrefix(p, "/locked") {
		return errLocked
	}
	return l.fakeTree.Create(p)
}

// TestAnyFailureHeals breaks the connection at any effect, with and without the effect being done, and goes on.
func TestAnyFailureHeals(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := newFake()
		var a agent
		pool := []string{"10.0.0.1", "10.0.0.2", "10.0.0.3"}
		now := epoch
		for range rapid.IntRange(1, 6).Draw(t, "decisions") {
			want := rapid.SliceOfNDistinct(rapid.SampledFrom(pool), 0, 3, rapid.ID[string]).Draw(t, "hosts")
			slices.Sort(want)
			d := wanted(want...)
			f.failAt, f.lost = rapid.IntRange(0, 8).Draw(t, "fails at"), rapid.Bool().Draw(t, "reply lost")
			a.turn.Decide(d.By, now)
			for {
				now = now.Add(500 * time.Millisecond)
				err := reconcile(f, &a.turn, d, now)
				if err == nil {
					break
				}
				if !errors.Is(err, errBroken) {
					t.Fatal(err)
				}
			}
			f.failAt = 0
			if got := hosts(f.members(ordersPath)); got != strings.Join(want, " ") {
				t.Fatalf("got %q, want %q", got, want)
			}
		}
	})
}
