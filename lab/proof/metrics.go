package proof

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image/png"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/client"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/lab"
	"github.com/rolling-swarm/rolling/lab/parts"
)

// Metrics is the proof that each container has its graph, for whoever makes the list of proofs.
func Metrics() Proof {
	return Proof{18, "graphite-web draws CPU and memory of every slot; Prometheus scrapes every node", metricsShown}
}

// ofOrders says whether a slot is one of examples/orders: that service goes on, others may end with their work.
func ofOrders(slot string) bool {
	return strings.HasPrefix(slot, contract.GraphiteRoot+"."+lab.MetricsCluster+".orders.")
}

// shownWithin covers the start of a container, two rounds and two scrapes on a busy machine.
const shownWithin = time.Minute

func metricsShown(ctx context.Context, w *World) (string, error) {
	for _, part := range []string{"graphite", "prometheus"} {
		if err := w.Lab.StartPart(ctx, part); err != nil {
			return "", err
		}
	}
	slots, err := w.slots(ctx)
	if err != nil {
		return "", err
	}
	if !slices.ContainsFunc(slots, ofOrders) { // nothing was released before: the plain stack is a service as well
		if _, err := deployOrders(ctx, w); err != nil {
			return "", err
		}
	}
	at := parts.Site{Router: w.Lab.Address(lab.Router)}
	err = eventually(ctx, shownWithin, "points of every slot", func(ctx context.Context) (err error) {
		if slots, err = w.slots(ctx); err != nil { // one may have come or gone meanwhile
			return err
		}
		if !slices.ContainsFunc(slots, ofOrders) {
			return errors.New("no container of orders runs")
		}
		for _, metric := range []string{"cpu_cores", "memory_working_set_bytes"} {
			if err := w.drawn(ctx, at, slots, metric); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	picture, err := w.drawing(ctx, at, slots)
	if err != nil {
		return "", err
	}
	var series int
	err = eventually(ctx, shownWithin, "Prometheus", func(ctx context.Context) (err error) {
		series, err = w.scraped(ctx, at)
		return err
	})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("Graphite has CPU and memory of all %d slots (%s …), drawn in %s; Prometheus: %d of %d nodes up, %d series of CPU",
		len(slots), slots[0], picture, len(w.live()), len(w.live()), series), nil
}

// slots are the Graphite paths of all Swarm containers that bear our labels, made here from the engines' own words.
func (w *World) slots(ctx context.Context) ([]string, error) {
	var paths []string
	for _, node := range w.live() {
		err := w.on(node, func(c *client.Client) error {
			all, err := c.ContainerList(ctx, client.ContainerListOptions{Filters: make(client.Filters).Add("label", contract.Service).Add("label", "com.docker.swarm.task.name")})
			if err != nil {
				return fmt.Errorf("containers of %s: %w", node, err)
			}
			for _, s := range all.Items {
				task := strings.Split(s.Labels["com.docker.swarm.task.name"], ".") // service.slot.task
				if len(task) < 3 {
					return fmt.Errorf("container %.12s of %s: its task is called %q", s.ID, node, task)
				}
				slot := task[len(task)-2]
				if slot == s.Labels["com.docker.swarm.node.id"] { // of a global service
					slot = strings.ReplaceAll(node, ".", "_")
				}
				paths = append(paths, strings.Join([]string{contract.GraphiteRoot, lab.MetricsCluster, s.Labels[contract.Project], s.Labels[contract.Environment], s.Labels[contract.Service], slot}, "."))
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths), nil
}

// A line is one of graphite-web's: its target, and value and second of each point; a value that is missing is null.
type line struct {
	Target string        `json:"target"`
	Points [][2]*float64 `json:"datapoints"`
}

func (w *World) render(ctx context.Context, at parts.Site, target, from string) ([]line, error) {
	text, err := w.getFromRouter(ctx, parts.GraphiteWeb(at)+"/render?format=json&from="+from+"&target="+url.QueryEscape(target))
	if err != nil {
		return nil, err
	}
	var lines []line
	if err := json.Unmarshal([]byte(text), &lines); err != nil {
		return nil, fmt.Errorf("graphite-web on %s: %w: %.80q", target, err, text)
	}
	return lines, nil
}

// enough points make a line that a person sees.
const enough = 5

// drawn: every slot has points of the last half minute.
func (w *World) drawn(ctx context.Context, at parts.Site, slots []string, metric string) error {
	lines, err := w.render(ctx, at, contract.GraphiteRoot+"."+lab.MetricsCluster+".*.*.*.*."+metric, "-30s")
	if err != nil {
		return err
	}
	has := map[string]int{}
	for _, l := range lines {
		for _, p := range l.Points {
			if p[0] != nil {
				has[strings.TrimSuffix(l.Target, "."+metric)]++
			}
		}
	}
	for _, s := range slots {
		if has[s] < enough {
			return fmt.Errorf("graphite-web has %d fresh points of %s.%s, want %d", has[s], s, metric, enough)
		}
	}
	return nil
}

// drawing keeps a picture of the CPUs that a service's slots use and looks whether it is one.
func (w *World) drawing(ctx context.Context, at parts.Site, slots []string) (string, error) {
	service := strings.Join(strings.Split(slots[slices.IndexFunc(slots, ofOrders)], ".")[:5], ".")
	q := url.Values{"target": {"aliasByNode(" + service + ".*.cpu_cores,4,5)"}, "from": {"-2min"}, "width": {"900"}, "height": {"400"}, "title": {"CPU of " + service}, "lineMode": {"connected"}}
	text, err := w.getFromRouter(ctx, parts.GraphiteWeb(at)+"/render?"+q.Encode())
	if err != nil {
		return "", err
	}
	picture, err := png.Decode(bytes.NewReader([]byte(text)))
	if err != nil {
		return "", fmt.Errorf("graphite-web's picture of %s: %w", service, err)
	}
	if size := picture.Bounds().Size(); size.X != 900 || size.Y != 400 {
		return "", fmt.Errorf("graphite-web's picture of %s is %v, want 900×400", service, size)
	}
	name := filepath.Join("build", "demo", "graphite-cpu.png")
	file := filepath.Join(w.Root, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return "", fmt.Errorf("keep the picture: %w", err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return "", fmt.Errorf("keep the picture: %w", err)
	}
	return name, nil
}

// scraped: Prometheus finds every live node up, and has series of each.
func (w *World) scraped(ctx context.Context, at parts.Site) (series int, err error) {
	up, err := w.queried(ctx, at, "up")
	if err != nil {
		return 0, err
	}
	of, err := w.queried(ctx, at, "count by (node) ("+contract.MetricPrefix+"cpu_seconds_total)")
	if err != nil {
		return 0, err
	}
	for _, n := range w.live() {
		if target := fmt.Sprintf("%s:%d", w.Lab.Address(n), contract.MetricsPort); up[target] != 1 {
			return 0, fmt.Errorf("the target %s is not up: %v", target, up)
		}
		if of[n] < 1 {
			return 0, fmt.Errorf("no series of %s: %v", n, of)
		}
		series += int(of[n])
	}
	return series, nil
}

// queried is the answer to an instant query, by the label node or else instance.
func (w *World) queried(ctx context.Context, at parts.Site, query string) (map[string]float64, error) {
	text, err := w.getFromRouter(ctx, parts.Prometheus(at)+"/api/v1/query?query="+url.QueryEscape(query))
	if err != nil {
		return nil, err
	}
	var answer struct {
		Data struct {
			Result []struct {
				Metric struct{ Node, Instance string }
				Value  [2]json.RawMessage
			}
		}
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		return nil, fmt.Errorf("prometheus on %s: %w", query, err)
	}
	found := map[string]float64{}
	for _, r := range answer.Data.Result {
		var v float64
		if _, err := fmt.Sscanf(string(r.Value[1]), `"%g"`, &v); err != nil {
			return nil, fmt.Errorf("prometheus on %s: value %s: %w", query, r.Value[1], err)
		}
		name := r.Metric.Node
		if name == "" {
			name = r.Metric.Instance
		}
		found[name] = v
	}
	return found, nil
}
