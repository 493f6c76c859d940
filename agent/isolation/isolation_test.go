package isolation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/agent/allow"
	"github.com/rolling-swarm/rolling/agent/policy"
	"github.com/rolling-swarm/rolling/agent/swarm"
	"github.com/rolling-swarm/rolling/internal/permits"
)

// town is a Swarm of three managers whose labels and leader the test decides on, and which agents are at work.
type town struct {
	*testing.T
	labels []allow.Service
	leader netip.Addr // none while there is an election
	nodes  []*house
}

// house is a node: its folder outlives its agent.
type house struct {
	town    *town
	address netip.Addr
	shelf   policy.Shelf
	loop    *Loop // nil while the agent is dead
}

func newTown(t *testing.T) *town {
	v := &town{T: t}
	for i := range 3 {
		v.nodes = append(v.nodes, &house{town: v, address: netip.AddrFrom4([4]byte{10, 99, 0, byte(21 + i)}), shelf: policy.Shelf{Folder: t.TempDir()}})
	}
	v.leader = v.nodes[0].address
	for _, h := range v.nodes {
		h.wake()
	}
	return v
}

// lets says which other project each of these may be asked by.
func (v *town) lets(who ...string) {
	v.labels = nil
	for _, pair := range append([]string{"shop ", "desk ", "till "}, who...) {
		var project, from string
		_, _ = fmt.Sscan(pair, &project, &from)
		labels := map[string]string{"rolling.project": project}
		if from != "" {
			labels["rolling.allow-from"] = from
		}
		v.labels = append(v.labels, allow.Service{Name: project + "_web", Labels: labels})
	}
}

func (h *house) Leading(context.Context) (bool, error) { return h.town.leader == h.address, nil }

func (h *house) Labels(context.Context) ([]allow.Service, []allow.Network, error) {
	return h.town.labels, nil, nil
}

func (h *house) Place(context.Context) (swarm.Place, error) {
	p := swarm.Place{Self: h.address, Manager: true}
	for _, other := range h.town.nodes {
		p.Nodes = append(p.Nodes, other.address)
		if other != h {
			p.Managers = append(p.Managers, other.address)
		}
	}
	return p, nil
}

// ask goes by the other agent's own door.
func (h *house) ask(_ context.Context, self, manager netip.Addr) (c policy.Copy, err error) {
	i := slices.IndexFunc(h.town.nodes, func(o *house) bool { return o.address == manager })
	if i < 0 || h.town.nodes[i].loop == nil {
		return c, errors.New("connection refused")
	}
	answer := h.town.nodes[i].answer(netip.AddrPortFrom(self, 4711).String())
	if answer.Code != http.StatusOK {
		return c, errors.New(answer.Body.String())
	}
	return c, json.Unmarshal(answer.Body.Bytes(), &c)
}

func (h *house) answer(to string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, policy.Path, http.NoBody)
	r.RemoteAddr = to
	h.loop.hand(w, r)
	return w
}

// wake starts the agent, with what lies there.
func (h *house) wake() {
	h.loop = New(h, h.shelf, h.ask, slog.New(slog.DiscardHandler))
	h.loop.recall(time.Now())
}

// die ends the agent as SIGKILL does.
func (h *house) die() { h.loop = nil }

// look takes one look, as every half second.
func (h *house) look() error { return h.loop.look(h.town.Context()) }

func (v *town) look(who ...int) {
	v.Helper()
	for _, i := range who {
		if err := v.nodes[i].look(); err != nil {
			v.Errorf("n%d: %v", i+1, err)
		}
	}
}

// permits are the doors that are open on a node.
func (h *house) permits() (open []string) {
	h.town.Helper()
	d, _, err := h.shelf.Read()
	if err != nil {
		h.town.Fatal(err)
	}
	for _, p := range d.Permits {
		open = append(open, p.To+" "+p.From)
	}
	return open
}

func (v *town) want(node int, open ...string) {
	v.Helper()
	if got := v.nodes[node].permits(); !slices.Equal(got, open) {
		v.Errorf("n%d lets %q, want %q", node+1, got, open)
	}
}

// comes lets a node look until it has that: it asks managers in any order, and one that has an old copy is good enough.
func (v *town) comes(node int, open ...string) {
	v.Helper()
	for range 50 {
		if v.look(node); slices.Equal(v.nodes[node].permits(), open) {
			return
		}
	}
	v.want(node, open...)
}

// date makes what lies on a node older or newer than it is.
func (h *house) date(at time.Time) {
	h.town.Helper()
	if err := os.Chtimes(filepath.Join(h.shelf.Folder, permits.File), at, at); err != nil {
		h.town.Fatal(err)
	}
}

func TestTheLeaderMakesThePolicyAndTheOthersTakeIt(t *testing.T) {
	v := newTown(t)
	v.lets("shop desk")
	v.look(0, 1, 2)
	for i := range v.nodes {
		v.want(i, "shop desk")
	}
	if r := v.nodes[1].loop.Report(); r.Made.IsZero() || r.From == "" || r.Permits != 1 || r.Trouble != "" {
		t.Errorf("n2 reports %+v", r)
	}
	v.lets()
	for i := range v.nodes {
		v.comes(i)
	}
}

func TestAMistakeInALabelIsTold(t *testing.T) {
	v := newTown(t)
	v.lets("shop desk:x")
	v.look(0, 1)
	if r := v.nodes[0].loop.Report(); len(r.Problems) != 1 || r.Problems[0].Where != "service shop_web" {
		t.Errorf("the leader reports %+v", r)
	}
	if r := v.nodes[1].loop.Report(); len(r.Problems) != 0 {
		t.Errorf("another node repeats it: %+v", r)
	}
	v.want(1)
}

func TestWhenNobodyAnswersWhatLiesThereStays(t *testing.T) {
	v := newTown(t)
	v.lets("shop desk")
	v.look(0, 1, 2)
	v.nodes[0].die()
	v.nodes[1].die()
	if err := v.nodes[2].look(); err == nil {
		t.Error("it does not say that nobody answers")
	}
	v.want(2, "shop desk")
	v.nodes[2].die()
	v.nodes[2].wake()
	if err := v.nodes[2].look(); err == nil {
		t.Error("a new agent does not say that nobody answers")
	}
	v.want(2, "shop desk")
}

func TestWhoIsAnswered(t *testing.T) {
	v := newTown(t)
	v.lets("shop desk")
	h := v.nodes[0]
	h.loop.place, _ = h.Place(t.Context())
	for _, c := range []struct {
		name, from string
		before     func()
		want       int
	}{
		{"nobody before there is a policy", "10.99.0.22:1", func() {}, http.StatusServiceUnavailable},
		{"a node of the Swarm", "10.99.0.22:1", func() { v.look(0) }, http.StatusOK},
		{"a node by its IPv4 address in IPv6's form", "[::ffff:10.99.0.22]:1", func() {}, http.StatusOK},
		{"no container and no other host", "10.99.0.99:1", func() {}, http.StatusForbidden},
		{"nobody of whom it is not known who it is", "@", func() {}, http.StatusForbidden},
		{"nobody with a copy of an earlier life", "10.99.0.22:1", func() { h.wake(); h.loop.place, _ = h.Place(t.Context()) }, http.StatusServiceUnavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.before()
			if got := h.answer(c.from); got.Code != c.want {
				t.Errorf("answered %d: %s, want %d", got.Code, got.Body, c.want)
			}
		})
	}
}

// An agent dies when some nodes have the new copy and others do not. Whatever comes next, all come to one, and nobody goes
// back to what the new one closed.
func TestAnAgentDiesBetweenTwoNodesCopies(t *testing.T) {
	for _, c := range []struct {
		name string
		next func(v *town)
	}{
		{"it is started again and leads still", func(v *town) {
			v.nodes[0].wake()
			v.look(0)
		}},
		{"it is started again when another leads", func(v *town) {
			v.leader = v.nodes[1].address
			v.nodes[0].wake()
			v.look(0)
		}},
		{"another leads that has the old copy", func(v *town) {
			v.leader = v.nodes[2].address
			v.look(2)
		}},
		{"it is started again when nobody leads, and asks who has the old copy", func(v *town) {
			v.leader = netip.Addr{}
			v.nodes[1].die()
			v.nodes[0].wake()
			v.look(0)
			v.want(0, "till desk")
			v.nodes[1].wake()
			v.look(1)
			v.want(1, "till desk")
			v.leader = v.nodes[2].address
		}},
		{"all are started again", func(v *town) {
			v.leader = v.nodes[2].address
			for _, h := range v.nodes {
				h.die()
				h.wake()
			}
			v.want(0, "till desk")
			v.want(2, "shop desk")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := newTown(t)
			v.lets("shop desk")
			v.look(0, 1, 2)
			v.lets("till desk")
			v.comes(0, "till desk")
			v.comes(1, "till desk")
			v.nodes[0].die()
			v.want(0, "till desk")
			v.want(1, "till desk")
			v.want(2, "shop desk") // the old copy: its own agent has not looked
			c.next(v)
			v.want(0, "till desk")
			v.want(1, "till desk")
			for i, h := range v.nodes {
				if h.loop == nil {
					h.wake()
				}
				if h.address == v.leader {
					v.look(i)
				}
			}
			for range 20 {
				v.look(0, 1)
				v.want(0, "till desk")
				v.want(1, "till desk")
			}
			v.comes(2, "till desk")
		})
	}
}

func TestAClockThatWasWrongHoldsNothingUp(t *testing.T) {
	v := newTown(t)
	v.lets("shop desk")
	v.look(0, 1, 2)
	v.nodes[2].die()
	v.nodes[2].date(time.Now().Add(8 * time.Hour))
	v.lets()
	v.look(0)
	v.nodes[2].wake()
	v.comes(2)
}

func TestADocumentThatCannotBeReadIsReplaced(t *testing.T) {
	v := newTown(t)
	v.lets("shop desk")
	v.look(0)
	h := v.nodes[1]
	if err := os.WriteFile(filepath.Join(h.shelf.Folder, permits.File), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.die()
	h.wake()
	v.look(1)
	v.want(1, "shop desk")
}
