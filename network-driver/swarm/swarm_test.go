package swarm

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/api/types/swarm"

	"github.com/rolling-swarm/rolling/network-driver/topology"
)

func addrs(list ...string) []netip.Addr {
	var all []netip.Addr
	for _, s := range list {
		all = append(all, netip.MustParseAddr(s))
	}
	return all
}

func TestMembership(t *testing.T) {
	remote := []swarm.Peer{{Addr: "10.98.0.23:2377"}, {Addr: "10.98.0.21:2377"}, {Addr: "[fd00::1]:2377"}, {Addr: ""}, {Addr: "10.98.0.21:2377"}}
	nodes := []swarm.Node{
		{ID: "1", Status: swarm.NodeStatus{Addr: "0.0.0.0"}, ManagerStatus: &swarm.ManagerStatus{Addr: "10.98.0.21:2377"}},
		{ID: "2", Status: swarm.NodeStatus{Addr: "0.0.0.0"}, ManagerStatus: &swarm.ManagerStatus{Addr: "10.98.0.22:2377"}},
		{ID: "3", Status: swarm.NodeStatus{Addr: "10.98.0.23"}}, // a manager once: the others still name it
		{ID: "4", Status: swarm.NodeStatus{Addr: "10.98.0.24", State: swarm.NodeStateDown}},
		{ID: "5", Status: swarm.NodeStatus{Addr: "127.0.0.1"}},
	}
	for _, c := range []struct {
		name  string
		info  swarm.Info
		nodes []swarm.Node
		want  topology.Membership
	}{
		{"a worker knows the managers", swarm.Info{NodeID: "4", NodeAddr: "10.98.0.24", RemoteManagers: remote}, nil,
			topology.Membership{Self: netip.MustParseAddr("10.98.0.24"), Managers: addrs("10.98.0.21", "10.98.0.23")}},
		{"a manager knows every node, dead ones too", swarm.Info{NodeID: "1", NodeAddr: "10.98.0.21", ControlAvailable: true, RemoteManagers: remote}, nodes,
			topology.Membership{Self: netip.MustParseAddr("10.98.0.21"), Manager: true, Managers: addrs("10.98.0.22"), Nodes: addrs("10.98.0.22", "10.98.0.23", "10.98.0.24")}},
	} {
		if got, err := membership(c.info, nil, c.nodes); err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, %v; want %+v", c.name, got, err, c.want)
		}
	}
	if _, err := membership(swarm.Info{NodeAddr: "fd00::1"}, nil, nil); err == nil || !strings.Contains(err.Error(), "--advertise-addr") {
		t.Errorf("a node without IPv4: %v", err)
	}
}

// script is an engine that answers one thing after another, and then the last one again and again.
type script struct {
	mu      sync.Mutex // guards answers
	answers []any      // what /info says: a swarm.Info, or a status
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Api-Version", "1.41")
	switch {
	case strings.HasSuffix(r.URL.Path, "/_ping"):
	case strings.HasSuffix(r.URL.Path, "/info"):
		now := s.answers[0]
		if len(s.answers) > 1 {
			s.answers = s.answers[1:]
		}
		if status, bad := now.(int); bad {
			w.WriteHeader(status)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"Swarm": now})
	default:
		w.WriteHeader(http.StatusInternalServerError) // GET /nodes without a quorum
	}
}

func TestOnlyWhatTheEngineSaysForSureIsTold(t *testing.T) {
	active := func(a string) swarm.Info { return swarm.Info{LocalNodeState: swarm.LocalNodeStateActive, NodeAddr: a} }
	leaderless := active("10.98.0.29")
	leaderless.ControlAvailable = true
	outside := swarm.Info{LocalNodeState: swarm.LocalNodeStateInactive}
	engine := &script{answers: []any{
		500, active("10.98.0.21"), active("10.98.0.21"), 503, swarm.Info{LocalNodeState: swarm.LocalNodeStatePending}, outside, outside,
		active("10.98.0.22"), leaderless, outside, outside, outside, outside,
	}}
	folder, err := os.MkdirTemp("", "net")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(folder)
	socket := filepath.Join(folder, "docker.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: engine}
	go s.Serve(l) //nolint:errcheck // ends with Close
	defer s.Close()
	w, err := New("unix://"+socket, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	w.every = 5 * time.Millisecond
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var told []string
	err = w.Run(ctx, topology.Membership{Self: netip.MustParseAddr("10.98.0.20")}, func(m topology.Membership) {
		told = append(told, m.Self.String())
		if !m.Self.IsValid() {
			cancel()
		}
	})
	if err != nil || strings.Join(told, " ") != "10.98.0.21 10.98.0.22 invalid IP" {
		t.Errorf("told %v, %v", told, err)
	}
}
