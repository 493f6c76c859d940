package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/rolling-swarm/rolling/internal/permits"
	"github.com/rolling-swarm/rolling/network-driver/node"
)

// explainWithin is what somebody who asks waits for.
const explainWithin = 2 * time.Second

// explain answers GET /explain?from=ADDRESS&to=ADDRESS:PORT[/PROTOCOL]: whether the one may connect to the other, who
// decided, and why, as this node sees it.
func explain(mux *http.ServeMux, n *node.Node) {
	mux.HandleFunc("GET /explain", func(w http.ResponseWriter, r *http.Request) {
		from, err := netip.ParseAddr(r.FormValue("from"))
		if err != nil {
			http.Error(w, fmt.Sprintf("from=%q: want an address", r.FormValue("from")), http.StatusBadRequest)
			return
		}
		to, protocol, err := goal(r.FormValue("to"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), explainWithin)
		defer cancel()
		e, err := n.Explain(ctx, from, to.Addr(), protocol, to.Port())
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(e) // who asked has gone
	})
}

// goal reads ADDRESS:PORT or ADDRESS:PORT/PROTOCOL.
func goal(text string) (netip.AddrPort, permits.Protocol, error) {
	where, word, named := strings.Cut(text, "/")
	protocol := permits.TCP
	if named {
		protocol = permits.Protocol(word)
	}
	to, err := netip.ParseAddrPort(where)
	if err != nil || protocol != permits.TCP && protocol != permits.UDP {
		return to, protocol, errors.New("to=" + strconv.Quote(text) + ": want ADDRESS:PORT, or with /tcp or /udp at its end")
	}
	return to, protocol, nil
}
