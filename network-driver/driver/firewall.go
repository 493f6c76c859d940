package driver

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// Firewall adds GET /debug/firewall: what forwarded packets meet. It is a page of its own, since reading iptables takes
// longer than all of /debug/state.
func Firewall(pages *http.ServeMux, look func(context.Context) (topology.Firewall, error)) {
	pages.HandleFunc("GET /debug/firewall", func(w http.ResponseWriter, r *http.Request) {
		f, err := look(r.Context())
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(f) // who asked has gone
	})
}
