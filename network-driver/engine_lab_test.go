//go:build lab

package main

import (
	"cmp"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"path"
	"strings"
	"sync"
	"testing"
)

// engine answers what the plugin asks of Docker: who the Swarm's members are, and what services there are.
type engine struct {
	mu       sync.Mutex // guards the rest
	info     map[string]any
	nodes    []map[string]any
	services map[string]string // of each network, as JSON
	deaf     bool
}

func newEngine(t *testing.T, socket string) *engine {
	t.Helper()
	e := &engine{info: map[string]any{"Swarm": map[string]any{"LocalNodeState": "inactive"}}}
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: e}
	go s.Serve(l) //nolint:errcheck // ends with Close
	t.Cleanup(func() { s.Close() })
	return e
}

func (e *engine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	w.Header().Set("Api-Version", "1.41")
	switch {
	case strings.HasSuffix(r.URL.Path, "/_ping"):
	case e.deaf:
		http.Error(w, `{"message":"the engine starts"}`, http.StatusServiceUnavailable)
	case strings.HasSuffix(r.URL.Path, "/info"):
		_ = json.NewEncoder(w).Encode(e.info)
	case strings.HasSuffix(r.URL.Path, "/nodes"):
		_ = json.NewEncoder(w).Encode(e.nodes)
	case strings.HasSuffix(r.URL.Path, "/containers/json"):
		_, _ = io.WriteString(w, "[]")
	case strings.Contains(r.URL.Path, "/networks/"):
		_, _ = io.WriteString(w, `{"Services":`+cmp.Or(e.services[path.Base(r.URL.Path)], "{}")+`}`)
	default:
		http.NotFound(w, r)
	}
}

// member is one node of a Swarm, by its address.
type member struct {
	address string
	manager bool
}

// swarm makes the engine a member of a Swarm of these nodes.
func (e *engine) swarm(self string, all ...member) {
	e.mu.Lock()
	defer e.mu.Unlock()
	info := map[string]any{"LocalNodeState": "active", "NodeAddr": self, "NodeID": "id-" + self}
	var managers []map[string]any
	e.nodes = nil
	for _, m := range all {
		n := map[string]any{"ID": "id-" + m.address, "Status": map[string]any{"State": "ready", "Addr": m.address}}
		if m.manager {
			managers = append(managers, map[string]any{"NodeID": "id-" + m.address, "Addr": m.address + ":2377"})
			n["ManagerStatus"] = map[string]any{"Addr": m.address + ":2377", "Reachability": "reachable"}
		}
		if m.address == self {
			info["ControlAvailable"] = m.manager
		}
		e.nodes = append(e.nodes, n)
	}
	info["RemoteManagers"] = managers
	e.info = map[string]any{"Swarm": info}
}

// serve says what services a network has.
func (e *engine) serve(network, services string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.services == nil {
		e.services = map[string]string{}
	}
	e.services[network] = services
}

func (e *engine) setDeaf(deaf bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.deaf = deaf
}
