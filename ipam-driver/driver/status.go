package driver

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/rolling-swarm/rolling/ipam-driver/pool"
)

// picture is how the plugin stands, for people.
type picture struct {
	Build      string                  `json:"build,omitempty"`
	Started    time.Time               `json:"started"`
	Ready      bool                    `json:"ready"`
	Fault      string                  `json:"fault,omitempty"`
	Blind      bool                    `json:"blind"` // a ledger was lost, and the Swarm has not said yet what it holds
	Warnings   []string                `json:"warnings"`
	Ledger     ledgerPicture           `json:"ledger"`
	Engine     Sight                   `json:"engine"`
	Twice      map[netip.Addr][]string `json:"heldTwice"`
	Settled    settledPicture          `json:"settled"`
	Refusals   []Refusal               `json:"refusals"`
	Prefixes   []pool.Prefix           `json:"prefixes"`
	Shares     []pool.Share            `json:"shares"`
	Leases     []pool.Lease            `json:"leases"`
	NodeLeases []pool.Lease            `json:"nodeLeases"` // of the local space: what this node echoes, and its own networks'
}

type ledgerPicture struct {
	Bytes    int64    `json:"bytes"`
	Owed     int      `json:"owed"`
	Unkept   uint64   `json:"unkept"`
	Last     string   `json:"lastFailure,omitempty"`
	SetAside []string `json:"setAside"`
	Cause    string   `json:"cause,omitempty"` // why this process set one aside
}

// picture reads the book. Leases are the larger part and are left out for figures.
func (d *Driver) picture(leases bool) picture {
	p := picture{Build: d.parts.Build, Started: d.started.UTC(), Warnings: []string{}, Refusals: d.refusals.list(), Prefixes: []pool.Prefix{}, Shares: []pool.Share{}, Leases: []pool.Lease{}, NodeLeases: []pool.Lease{}}
	p.Ledger.SetAside = append([]string{}, d.parts.Aside()...)
	d.notes.Lock()
	p.Engine, p.Ledger.Unkept, p.Ledger.Last = d.sight, d.unkept, d.lastUnkept
	p.Settled = d.settled.picture()
	if d.fault != nil {
		p.Fault = d.fault.Error()
	}
	d.notes.Unlock()
	select {
	case <-d.ready:
		p.Ready = true
	default:
		return p
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	now, b := d.parts.Clock(), d.opened.Book
	p.Ledger.Owed, p.Ledger.Bytes = d.opened.Ledger.Owed(), d.opened.Ledger.Size()
	if d.opened.Cause != nil {
		p.Ledger.Cause = d.opened.Cause.Error()
	}
	p.Blind, p.Twice = b.IsBlind(), b.Twice()
	p.Shares, p.Prefixes = append(p.Shares, b.Shares(now)...), append(p.Prefixes, b.Prefixes(now)...)
	p.Settled.rules(b)
	if leases {
		for _, l := range b.Leases(now) {
			if l.Pool[0] == byte(pool.Global) {
				p.Leases = append(p.Leases, l)
			} else {
				p.NodeLeases = append(p.NodeLeases, l)
			}
		}
	}
	p.warn()
	return p
}

const blindWarning = "a ledger was lost: only addresses that are named are given until the Swarm has said what it holds"

func (p *picture) warn() {
	for _, w := range p.Prefixes {
		if w.Fullness() > warnAbove {
			p.Warnings = append(p.Warnings, fmt.Sprintf("%s: %.0f %% of %d addresses are used, rest, or are given to networks as blocks and ranges: plan another pool", w.Subnet, 100*w.Fullness(), w.Size))
		}
	}
	p.Warnings = append(append(p.Warnings, p.Settled.Trespass...), p.Settled.Problems...)
	for _, s := range p.Shares {
		if s.Fullness() > warnAbove {
			p.Warnings = append(p.Warnings, fmt.Sprintf("%s: %.0f %% of %d addresses are used or rest: plan a wider one", s.Key, 100*s.Fullness(), s.Size))
		}
	}
	for a, who := range p.Twice {
		p.Warnings = append(p.Warnings, fmt.Sprintf("%s has two holders: %v: stop one of them", a, who))
	}
	if p.Ledger.Owed > 0 {
		p.Warnings = append(p.Warnings, fmt.Sprintf("%d decisions are not on disk: %s", p.Ledger.Owed, p.Ledger.Last))
	}
	if p.Blind {
		p.Warnings = append(p.Warnings, blindWarning)
	}
}

// Desk is Status and what people decide: that a node is dead, or that named pools and reservations are to be read now. It is for the socket alone, which only root
// can open.
func (d *Driver) Desk() *http.ServeMux {
	mux := http.NewServeMux()
	mux.Handle("/", d.Status())
	mux.HandleFunc("POST /addresses/{address}/free", d.free)
	mux.HandleFunc("POST /settled/read", func(w http.ResponseWriter, _ *http.Request) {
		d.poke()
		say(w, "the Swarm is asked soon")
	})
	return mux
}

// Status serves /metrics, /healthz, /readyz and /debug/state.
func (d *Driver) Status() *http.ServeMux {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(d.registry(), promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { say(w, "ok") })
	mux.HandleFunc("GET /readyz", d.readiness)
	mux.HandleFunc("GET /debug/state", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		_ = encoder.Encode(d.picture(true)) // who asked has gone
	})
	return mux
}

func say(w http.ResponseWriter, line string) {
	_, _ = fmt.Fprintln(w, line) // who asked has gone
}

func (d *Driver) readiness(w http.ResponseWriter, _ *http.Request) {
	p := d.picture(false)
	switch {
	case !p.Ready:
		http.Error(w, "not ready: "+d.why().Error(), http.StatusServiceUnavailable)
	case p.Ledger.Owed > 0:
		http.Error(w, "not ready: "+p.Ledger.Last, http.StatusServiceUnavailable)
	case p.Blind && d.parts.Eyes != nil: // it leads, or it is not known yet who does: a node that follows is not blind
		http.Error(w, "not ready: "+strings.TrimSuffix(blindWarning+": "+p.Engine.Error, ": "), http.StatusServiceUnavailable)
	default:
		say(w, "ready")
	}
}

// free ends the rest of an address. With force=true somebody answers for its last holder being dead. It is for the
// leader's plugin.
func (d *Driver) free(w http.ResponseWriter, r *http.Request) {
	a, err := address(r.PathValue("address"))
	if err == nil && !a.IsValid() {
		err = errors.New("no address was named")
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	sure := r.URL.Query().Get("force") == "true"
	kept, err := d.decide(func(b *pool.Book) (pool.Change, error) { return b.Free(d.parts.Clock(), a, sure) })
	var refused *pool.RefusedError
	switch {
	case errors.As(err, &refused):
		http.Error(w, err.Error(), http.StatusConflict)
	case err != nil || kept != nil:
		http.Error(w, errors.Join(err, kept).Error(), http.StatusServiceUnavailable)
	default:
		d.parts.Log.Warn("a rest was ended by hand", "address", a, "force", sure)
		say(w, a.String()+" is free")
	}
}
