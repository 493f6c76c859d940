package isolation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/rolling-swarm/rolling/agent/policy"
	"github.com/rolling-swarm/rolling/internal/contract"
)

// headerWithin: who connects and says nothing is let go.
const headerWithin = 2 * time.Second

// listen hands the policy to the agents of other nodes while this node is a manager.
func (l *Loop) listen(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var at netip.Addr
	stop := func() {}
	said := ""
	for {
		l.mu.Lock()
		place := l.place
		l.mu.Unlock()
		want := netip.Addr{}
		if place.Manager {
			want = place.Self
		}
		if want != at {
			stop()
			at, stop = netip.Addr{}, func() {}
			if want.IsValid() {
				end, err := l.open(ctx, want)
				if err == nil {
					at, stop, said = want, end, ""
				} else if err.Error() != said {
					said = err.Error()
					l.log.Error("the policy cannot be handed to other nodes; it tries on", "cause", err)
				}
			}
		}
		select {
		case <-ctx.Done():
			stop()
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// open listens on the node's own address.
func (l *Loop) open(ctx context.Context, self netip.Addr) (stop func(), err error) {
	var c net.ListenConfig
	at, err := c.Listen(ctx, "tcp", net.JoinHostPort(self.String(), strconv.Itoa(contract.PolicyPort)))
	if err != nil {
		return nil, fmt.Errorf("listen for other nodes' agents: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+policy.Path, l.hand)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: headerWithin, ReadTimeout: headerWithin, WriteTimeout: 10 * time.Second, MaxHeaderBytes: 4 << 10}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := server.Serve(at); !errors.Is(err, http.ErrServerClosed) {
			l.log.Error("the policy is not handed to other nodes any more", "cause", err)
		}
	}()
	return func() {
		_ = server.Close() // who was being answered asks again
		<-done
	}, nil
}

// hand answers nodes of the Swarm alone. A copy of an earlier life is of no known age, and so for nobody.
func (l *Loop) hand(w http.ResponseWriter, r *http.Request) {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	l.mu.Lock()
	known := err == nil && slices.Contains(l.place.Nodes, from.Addr().Unmap())
	c, made := policy.Copy{Document: l.have}, l.made
	l.mu.Unlock()
	switch {
	case !known:
		http.Error(w, "only nodes of the swarm are answered", http.StatusForbidden)
	case made.IsZero():
		http.Error(w, "no policy yet", http.StatusServiceUnavailable)
	default:
		c.Age = time.Since(made)
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(c) // who asked has gone
	}
}
