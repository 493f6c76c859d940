package probe_test

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/rolling-swarm/rolling/manager/probe"
)

func TestProbe(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/ready":
		case "/elsewhere":
			http.Redirect(w, r, "/broken", http.StatusFound)
		default:
			http.Error(w, "the database is away", http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()
	at := netip.MustParseAddrPort(strings.TrimPrefix(server.URL, "http://"))
	p := probe.New(nil)
	for path, says := range map[string]string{"/ready": "", "/elsewhere": "", "/broken": "503"} {
		err := p.Probe(t.Context(), at, path)
		if (err == nil) != (says == "") {
			t.Errorf("%s: %v", path, err)
		}
		if err != nil && (!strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "the database is away")) {
			t.Errorf("%s does not say what is wrong: %v", path, err)
		}
	}
	server.Close()
	if err := p.Probe(t.Context(), at, "/ready"); err == nil || !strings.Contains(err.Error(), at.String()) {
		t.Errorf("a program that is away: %v", err)
	}
}
