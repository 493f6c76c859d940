package line

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"

	"github.com/rolling-swarm/rolling/internal/wire"
)

// Ledger is the node's IPAM plugin. A refusal of its own is wire.ErrRefused.
type Ledger interface {
	Addresses(ctx context.Context, leases bool, one netip.Addr) (wire.Addresses, error)
	Free(ctx context.Context, a netip.Addr, sure bool) error
	ReadSettled(context.Context) error
}

// addressRoutes are the questions about addresses.
func (l *Line) addressRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET "+wire.PathAddresses, func(w http.ResponseWriter, r *http.Request) {
		q, one := r.URL.Query(), netip.Addr{}
		if text := q.Get("lease"); text != "" {
			var err error
			if one, err = netip.ParseAddr(text); err != nil {
				http.Error(w, fmt.Sprintf("lease=%.50q: want an address", text), http.StatusBadRequest)
				return
			}
		}
		got, err := l.parts.Ledger.Addresses(r.Context(), q.Get("leases") == "true", one)
		answer(w, got, err)
	})
	mux.HandleFunc("POST "+wire.PathFree, func(w http.ResponseWriter, r *http.Request) {
		a, err := netip.ParseAddr(r.URL.Query().Get("address"))
		if err != nil || !a.Is4() {
			http.Error(w, "want address=IP, of IPv4", http.StatusBadRequest)
			return
		}
		done(w, l.parts.Ledger.Free(r.Context(), a, r.URL.Query().Get("force") == "true"))
	})
	mux.HandleFunc("POST "+wire.PathSettled, func(w http.ResponseWriter, r *http.Request) {
		done(w, l.parts.Ledger.ReadSettled(r.Context()))
	})
}

func done(w http.ResponseWriter, err error) {
	if errors.Is(err, wire.ErrRefused) {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	answer(w, struct{}{}, err)
}
