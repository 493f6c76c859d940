// Package clustertest says what the room cluster must find in a Swarm, and holds a toy Swarm that behaves as a real one
// does, at the engine's own protocol: versions, UpdateStatus, tasks that start, fail, restart and end, addresses that are
// used up. It knows what was seen of real engines; it knows no plugin and starts nothing. The same checks run on both.
package clustertest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/api/types/swarm"
	"github.com/moby/moby/client"

	"github.com/rolling-swarm/rolling/manager/cluster"
)

// Program is how the containers of an image behave. The zero value runs at once, and for ever.
type Program struct {
	Absent    bool          // no node can get the image: tasks are rejected
	Unplaced  bool          // no node is fit for it: tasks stay pending
	Start     time.Duration // until it runs, and is healthy
	Unhealthy bool          // it never gets healthy, and ends with 0 when it is told to stop
	Exits     *int          // it ends with this code once it has run for After
	After     time.Duration
	Stop      time.Duration // from the stop signal to its end
	Lines     []string
}

// Exit is the code of a Program that ends.
func Exit(code int) *int { return &code }

// Toy is a Swarm of three nodes. It stands still between requests, and catches up at the next: time is what now says.
type Toy struct {
	now func() time.Time

	mu       sync.Mutex // guards all below
	at       time.Time  // up to which it has caught up
	index    uint64
	nodes    []swarm.Node
	services []*service
	tasks    []*task
	networks []*netw
	configs  []swarm.Config
	secrets  []swarm.Secret
	programs map[string]Program
	away     bool
	watchers map[chan string]bool
	before   func(*http.Request) // called before each request, unlocked
}

type service struct {
	swarm.Service
	update  *update
	retries map[string]time.Time // when a task is made in place of one that ended by itself, by slot
}

type task struct {
	swarm.Task
	slot    string
	since   time.Time // of its state
	signal  time.Time // when it gets the stop signal
	stopped bool
}

type netw struct {
	network.Network
	whole time.Time // from when the leader has made it; before, it is shown without its drivers
}

// shown is a network as the engine answers it.
func (n *netw) shown(at time.Time) network.Network {
	v := n.Network
	if at.Before(n.whole) {
		v.Driver, v.Options, v.IPAM = "", nil, network.IPAM{}
	}
	return v
}

// NewToy makes an empty Swarm.
func NewToy(now func() time.Time) *Toy {
	t := &Toy{now: now, at: now(), index: 10, programs: map[string]Program{}, watchers: map[chan string]bool{}}
	for i := 1; i <= 3; i++ {
		n := swarm.Node{ID: fmt.Sprintf("node%d", i)}
		n.Spec.Role, n.Spec.Availability = swarm.NodeRoleManager, swarm.NodeAvailabilityActive
		n.Description.Hostname = fmt.Sprintf("n%d", i)
		n.Description.Engine.EngineVersion = "28.5.2"
		n.Status.State, n.Status.Addr = swarm.NodeStateReady, fmt.Sprintf("10.99.0.%d", i+1)
		n.ManagerStatus = &swarm.ManagerStatus{Leader: i == 1, Reachability: swarm.ReachabilityReachable}
		t.nodes = append(t.nodes, n)
	}
	return t
}

// Swarm gives the room under test, bound to the toy.
func (t *Toy) Swarm() *cluster.Swarm {
	api, err := client.New(client.WithHost("tcp://toy:2375"), client.WithHTTPClient(&http.Client{Transport: t}))
	if err != nil {
		panic(err) // the address above is a literal
	}
	return cluster.Of(api)
}

// Runs says how the containers of an image behave from now on.
func (t *Toy) Runs(image string, p Program) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.programs[image] = p
}

// Away makes the engine answer nothing, or answer again.
func (t *Toy) Away(away bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.away = away
}

// Before has f called before each request from now on: a fault, or somebody else who writes.
func (t *Toy) Before(f func(*http.Request)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.before = f
}

// ByHand changes a service as docker service update would.
func (t *Toy) ByHand(name string, change func(*swarm.ServiceSpec)) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.catchUp()
	for _, s := range t.services {
		if s.Spec.Name == name {
			next, err := copied(s.Spec)
			if err != nil {
				return err
			}
			change(&next)
			return t.write(s, next)
		}
	}
	return fmt.Errorf("no service %s", name)
}

// Running is how many tasks of a service run and are meant to, whatever their version.
func (t *Toy) Running(name string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.catchUp()
	n := 0
	for _, s := range t.services {
		for _, k := range t.tasks {
			if s.Spec.Name == name && k.ServiceID == s.ID && k.Status.State == swarm.TaskStateRunning && k.DesiredState == swarm.TaskStateRunning {
				n++
			}
		}
	}
	return n
}

// RoundTrip answers a request of the engine's API.
func (t *Toy) RoundTrip(r *http.Request) (*http.Response, error) {
	t.mu.Lock()
	before, away := t.before, t.away
	t.mu.Unlock()
	if before != nil {
		before(r)
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	if away {
		return nil, fmt.Errorf("dial tcp toy: connection refused")
	}
	if strings.HasSuffix(r.URL.Path, "/events") {
		return t.follow(r), nil
	}
	w := httptest.NewRecorder()
	t.mu.Lock()
	t.catchUp()
	t.serve(w, r)
	t.mu.Unlock()
	return w.Result(), nil
}

// tick is the toy's own grain of time.
const tick = 50 * time.Millisecond

func (t *Toy) catchUp() {
	now := t.now()
	if now.Sub(t.at) > time.Hour {
		t.at = now.Add(-time.Hour) // nothing is left to happen after an hour but restarts of what always fails
	}
	for ; t.at.Before(now); t.at = t.at.Add(tick) {
		t.step()
	}
}

func (t *Toy) bump() swarm.Version {
	t.index++
	return swarm.Version{Index: t.index}
}

func (t *Toy) touch(s *service) {
	s.Version, s.UpdatedAt = t.bump(), t.at
	t.tell(s.ID)
}

func (t *Toy) id(kind string) string {
	t.index++
	return fmt.Sprintf("%s%04d", kind, t.index)
}
