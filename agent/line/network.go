package line

import (
	"net/http"
	"strconv"
	"time"

	"github.com/rolling-swarm/rolling/internal/wire"
)

// networkRoutes are the questions about the node's network. A plugin that does not answer is a fact like others.
func (l *Line) networkRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET "+wire.PathNetwork, func(w http.ResponseWriter, r *http.Request) {
		n := wire.Network{Host: l.parts.Host(), Plugins: l.parts.Plugins()}
		d, err := l.parts.Fabric.Driver(r.Context())
		if err != nil {
			n.Silence = err.Error()
		} else {
			n.Driver = &d
		}
		n.Now = time.Now().UTC() // last: the manager compares it with when the answer came
		write(w, n)
	})
	mux.HandleFunc("GET "+wire.PathReach, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		reach, err := l.parts.Fabric.Reach(r.Context(), q.Get("from"), q.Get("to"))
		answer(w, reach, err)
	})
	mux.HandleFunc("POST "+wire.PathDrain, func(w http.ResponseWriter, r *http.Request) {
		on, err := strconv.ParseBool(r.URL.Query().Get("on"))
		if err != nil {
			http.Error(w, "want on=true or on=false", http.StatusBadRequest)
			return
		}
		done(w, l.parts.Fabric.Drain(r.Context(), on))
	})
}
