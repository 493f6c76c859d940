package ledger

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rolling-swarm/rolling/internal/wire"
)

const state = `{"ready": true, "engine": {"leads": true}, "warnings": ["w"], "settled": {"number": 4, "plan": {"pools": [{"name": "prod", "prefix": "10.1.0.0/16"}], "reservations": []}, "problems": [], "trespass": []},
 "refusals": [{"seq": 9, "at": "2026-11-24T06:00:00Z", "call": "RequestPool", "options": {"rolling.pool": "x"}, "why": "no"}],
 "shares": [{"pool": "g|10.1.0.0/16|", "space": "global", "subnet": "10.1.0.0/16", "called": ["app"], "used": 2}, {"pool": "l|10.1.0.0/16|", "space": "local"}],
 "leases": [{"address": "10.1.0.1", "pool": "g|10.1.0.0/16|", "state": "confirmed", "owner": {"kind": "task", "node": "n1"}}, {"address": "10.1.0.2", "pool": "g|10.1.0.0/16|", "state": "resting", "why": "rests 42s"}],
 "nodeLeases": [{"address": "10.9.0.1"}]}`

func plugin(t *testing.T, asked *[]string) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "ipam.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*asked = append(*asked, r.Method+" "+r.URL.String())
		switch {
		case r.URL.Path == "/debug/state":
			_, _ = w.Write([]byte(state))
		case r.URL.Path == "/addresses/10.1.0.2/free" && r.URL.RawQuery == "":
			http.Error(w, "node n3 may still use it", http.StatusConflict)
		case r.URL.Path == "/addresses/10.1.0.3/free":
			http.Error(w, "not ready", http.StatusServiceUnavailable)
		}
	})}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return socket
}

// network is a network plugin that refused one network.
func network(t *testing.T) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "net.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/debug/refusals" {
			_, _ = w.Write([]byte(`[{"at":"2026-11-24T06:00:00Z","network":"id2","subnet":"10.5.0.0/24","why":"l2 needs a parent"}]`))
		}
	})}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return socket
}

func TestThePluginIsAskedAndTold(t *testing.T) {
	var asked []string
	p := New(plugin(t, &asked), network(t))
	ctx := t.Context()
	all, err := p.Addresses(ctx, true, netip.Addr{})
	if len(all.Networks) != 1 || all.Networks[0].Subnet != "10.5.0.0/24" || all.Networks[0].Why != "l2 needs a parent" {
		t.Errorf("the network plugin's refusals: %+v", all.Networks)
	}
	if err != nil || !all.Engine.Leads || len(all.Shares) != 1 || len(all.Leases) != 2 || all.Settled.Plan.Pools[0].Name != "prod" || all.Refusals[0].Options["rolling.pool"] != "x" {
		t.Errorf("%+v %v", all, err)
	}
	one, err := p.Addresses(ctx, false, netip.MustParseAddr("10.1.0.2"))
	if err != nil || len(one.Leases) != 1 || one.Leases[0].Why != "rests 42s" {
		t.Errorf("%+v %v", one, err)
	}
	if none, err := p.Addresses(ctx, false, netip.Addr{}); err != nil || len(none.Leases) != 0 {
		t.Errorf("%+v %v", none, err)
	}
	if err := p.Free(ctx, netip.MustParseAddr("10.1.0.2"), false); !errors.Is(err, wire.ErrRefused) || !strings.Contains(err.Error(), "node n3 may still use it") {
		t.Errorf("%v", err)
	}
	if err := p.Free(ctx, netip.MustParseAddr("10.1.0.2"), true); err != nil {
		t.Errorf("%v", err)
	}
	if err := p.Free(ctx, netip.MustParseAddr("10.1.0.3"), true); err == nil || errors.Is(err, wire.ErrRefused) {
		t.Errorf("%v", err)
	}
	if err := p.ReadSettled(ctx); err != nil {
		t.Error(err)
	}
	want := "GET /debug/state|GET /debug/state|GET /debug/state|POST /addresses/10.1.0.2/free|POST /addresses/10.1.0.2/free?force=true|POST /addresses/10.1.0.3/free?force=true|POST /settled/read"
	if got := strings.Join(asked, "|"); got != want {
		t.Errorf("asked %s", got)
	}
	if got, err := New(plugin(t, &asked), filepath.Join(t.TempDir(), "none.sock")).Addresses(ctx, false, netip.Addr{}); err != nil || len(got.Networks) != 0 {
		t.Errorf("without a network plugin: %+v %v", got.Networks, err)
	}
	if _, err := New(filepath.Join(t.TempDir(), "none.sock"), network(t)).Addresses(ctx, true, netip.Addr{}); err == nil {
		t.Error("nobody is there, and it is no error")
	}
}
