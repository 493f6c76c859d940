package discovery

import (
	"context"
	"log/slog"
	"time"

	"github.com/rolling-swarm/rolling/agent/member"
)

// A Report is what /debug/state shows of discovery.
type Report struct {
	Leading    bool                         `json:"leading"`
	Since      time.Time                    `json:"since,omitzero"` // of Leading
	Node       string                       `json:"node"`
	Cluster    string                       `json:"cluster,omitempty"`
	Observed   time.Time                    `json:"observed,omitzero"` // when the last good look was
	Error      string                       `json:"error,omitempty"`   // of the last look, if it failed
	Upstreams  map[string][]member.Peer     `json:"upstreams,omitempty"`
	Paths      map[string][]member.Instance `json:"paths,omitempty"`
	Problems   []member.Problem             `json:"problems,omitempty"`
	Kept       []member.Kept                `json:"kept,omitempty"`
	Registries []member.Standing            `json:"registries,omitempty"`
}

// Report says how discovery stands on this node.
func (l *Loop) Report() Report {
	l.mu.Lock()
	r := l.report
	l.mu.Unlock()
	r.Node = l.node
	if r.Leading {
		for _, registry := range l.registries {
			r.Registries = append(r.Registries, registry.Standing()...)
		}
	}
	return r
}

func (l *Loop) begin(cluster string) {
	l.log.Info("this node leads: discovery is ours", "cluster", cluster)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.report = Report{Leading: true, Since: time.Now(), Cluster: cluster}
}

func (l *Loop) end() {
	l.log.Info("this node leads no longer: discovery rests, what is registered stays")
	l.mu.Lock()
	defer l.mu.Unlock()
	l.report = Report{Since: time.Now()}
}

// noteError shows a look that failed, and logs it when it is news.
func (l *Loop) noteError(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	text := ""
	if err != nil {
		text = err.Error()
	}
	l.mu.Lock()
	news := text != l.report.Error
	l.report.Error = text
	l.mu.Unlock()
	if news && err != nil {
		l.log.Warn("discovery cannot look: what is registered stays", "error", text)
	}
}

// note shows the last decision, and logs the problems that are news.
func (l *Loop) note(s member.State, set member.Set, at time.Time) {
	l.mu.Lock()
	known := map[string]bool{}
	for _, p := range l.report.Problems {
		known[p.String()] = true
	}
	for _, k := range l.report.Kept {
		known[k.Service+k.Reason] = true
	}
	l.report.Observed, l.report.Problems, l.report.Kept = at, s.Problems(), s.Kept()
	l.report.Upstreams, l.report.Paths = set.Upstreams, set.Paths
	l.mu.Unlock()
	for _, p := range s.Problems() {
		if !known[p.String()] {
			l.log.Warn("a label is wrong: the service's last good registration stays", "problem", p.String())
		}
	}
	for _, k := range s.Kept() {
		if !known[k.Service+k.Reason] {
			l.log.Warn("members stay that the swarm does not confirm", "service", k.Service, "members", k.Members, "reason", k.Reason)
		}
	}
}

func (l *Loop) logChange(set member.Set) {
	counts := func(key string, sizes map[string]int) slog.Attr {
		var attrs []any
		for name, n := range sizes {
			attrs = append(attrs, slog.Int(name, n))
		}
		return slog.Group(key, attrs...)
	}
	upstreams, paths := map[string]int{}, map[string]int{}
	for name, peers := range set.Upstreams {
		upstreams[name] = len(peers)
	}
	for path, instances := range set.Paths {
		paths[path] = len(instances)
	}
	l.log.Info("members changed", counts("upstreams", upstreams), counts("paths", paths))
}
