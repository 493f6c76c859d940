package driver

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// Wellness is told which containers are healthy, and says of whom that is awaited.
type Wellness interface {
	Awaited(context.Context) ([]topology.EndpointID, error)
	Healthy(context.Context, []topology.EndpointID) error
}

// maxHealthy bounds what is read: 64 characters an endpoint, thousands of them.
const maxHealthy = 1 << 20

// Health adds GET /awaited and POST /healthy, both with a list of endpoints' ids. Only for the socket in the state's folder.
func Health(pages *http.ServeMux, w Wellness) {
	pages.HandleFunc("GET /awaited", func(out http.ResponseWriter, r *http.Request) {
		ids, err := w.Awaited(r.Context())
		if err != nil {
			http.Error(out, err.Error(), http.StatusServiceUnavailable)
			return
		}
		out.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(out).Encode(ids) // who asked has gone
	})
	pages.HandleFunc("POST /healthy", func(out http.ResponseWriter, r *http.Request) {
		var ids []topology.EndpointID
		if err := json.NewDecoder(http.MaxBytesReader(out, r.Body, maxHealthy)).Decode(&ids); err != nil {
			http.Error(out, fmt.Sprintf("want a list of endpoints' ids: %v", err), http.StatusBadRequest)
			return
		}
		if err := w.Healthy(r.Context(), ids); err != nil {
			http.Error(out, err.Error(), http.StatusServiceUnavailable)
			return
		}
		out.WriteHeader(http.StatusNoContent)
	})
}
