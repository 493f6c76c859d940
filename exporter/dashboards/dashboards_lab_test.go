//go:build lab

package dashboards

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/exporter/graphite"
	"github.com/rolling-swarm/rolling/exporter/naming"
	"github.com/rolling-swarm/rolling/exporter/sample"
	"github.com/rolling-swarm/rolling/lab/parts"
	"github.com/rolling-swarm/rolling/lab/parts/alone"
)

// TestEveryTargetDrawsInARealGraphite sends a service's figures as the plugin does, and evaluates each target of the dashboard.
func TestEveryTargetDrawsInARealGraphite(t *testing.T) {
	carbon := alone.New(t, "graphite")
	carbon.Start()
	send(t, carbon.Site)
	files, err := Files(wish())
	if err != nil {
		t.Fatal(err)
	}
	d := decoded(t, files[0].Text)
	targets := 0
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			targets++
			ask := strings.ReplaceAll(target.Target, service, Everything)
			if err := eventually(t, func() error { return draws(carbon.Site, ask) }); err != nil {
				t.Errorf("%s: %v", p.Title, err)
			}
		}
	}
	if targets != 2*len(views()) {
		t.Errorf("%d targets were evaluated", targets)
	}
	choices := get[[]struct{ Text string }](t, parts.GraphiteWeb(carbon.Site)+"/metrics/find?query="+url.QueryEscape(d.Templating.List[0].Query))
	if len(choices) == 0 {
		t.Errorf("the variable %s offers nothing", d.Templating.List[0].Query)
	}
}

// send makes points by the way that the plugin's go, of two slots in two environments.
func send(t *testing.T, site parts.Site) {
	s := graphite.New(parts.GraphiteAddress(site), 100_000, slog.New(slog.NewTextHandler(io.Discard, nil)))
	go s.Run(t.Context())
	book := sample.NewBook()
	step := parts.GraphiteStep
	begin := time.Now().Truncate(step).Add(-20 * step)
	for i := range 20 {
		at := begin.Add(time.Duration(i) * step)
		var all []sample.Measured
		for _, environment := range wish().Environments {
			for _, slot := range []string{"1", "2"} {
				id := environment + slot
				c := sample.NewContainer("main", id, naming.Name{Project: "orders", Environment: environment, Service: "web", Slot: slot, Task: "task" + id, Node: "n1"})
				c.Started = begin
				r := &sample.Reading{At: at, Memory: 2 << 20, WorkingSet: 1 << 20, MemoryLimit: 1 << 30, PIDs: 3}
				for k := range r.Counts {
					r.Counts[k] = uint64(i) * 1e8
				}
				all = append(all, sample.Measured{Container: c, Reading: r})
			}
		}
		var points []sample.Point
		samples := book.Round(at, all)
		for k := range samples {
			for _, m := range sample.Metrics() {
				if v, ok := m.OfSlot(&samples[k]); ok {
					points = append(points, sample.Point{Path: samples[k].Container.Path() + "." + m.Name, Value: v, At: at.Unix()})
				}
			}
		}
		s.Push(points)
	}
}

func draws(site parts.Site, target string) error {
	resp, err := http.Get(parts.GraphiteWeb(site) + "/render?format=json&noCache=1&from=-2min&target=" + url.QueryEscape(target))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	var lines []struct {
		Target     string
		Datapoints [][2]*float64
	}
	if err := json.Unmarshal(text, &lines); err != nil {
		return fmt.Errorf("%s: %s: %.200s", target, resp.Status, text)
	}
	names := map[string]bool{}
	for _, l := range lines {
		n := 0
		for _, p := range l.Datapoints {
			if p[0] != nil {
				n++
			}
		}
		if n < 10 {
			return fmt.Errorf("%s: %s has %d points", target, l.Target, n)
		}
		names[l.Target] = true
	}
	if !names["web.1"] || !names["web.2"] || len(names) != 2 {
		return fmt.Errorf("%s draws %v, want web.1 and web.2", target, names)
	}
	return nil
}

func eventually(t *testing.T, f func() error) error {
	t.Helper()
	var err error
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if err = f(); err == nil {
			return nil
		}
	}
	return err
}

func get[T any](t *testing.T, url string) (out T) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		t.Fatal(err)
	}
	return out
}
