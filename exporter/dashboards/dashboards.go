// Package dashboards writes Grafana's files for a project: a dashboard, and the provisioning that makes Grafana read it. It
// knows the Graphite paths and what is worth a look. It knows no server and no file: names and texts go out.
package dashboards

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/rolling-swarm/rolling/exporter/naming"
	"github.com/rolling-swarm/rolling/internal/contract"
)

// A Wish is what to write.
type Wish struct {
	Cluster, Project string
	Environments     []string
	Graphite         string // graphite-web's address, as Grafana reaches it
	Folder           string // where Grafana will find the dashboards, on its machine
}

// A File is one to be written.
type File struct{ Name, Text string }

// service is the dashboard's own variable; Everything is what Grafana puts in its place for "All".
const (
	service    = "$service"
	Everything = "*"
)

// datasource is the name that dashboards and provisioning agree on.
const datasource = "rolling-graphite"

// view is one panel: what is drawn, of which metric, in Grafana's unit.
type view struct {
	title, metric, unit string
	rate                bool // a counter, drawn by the second
}

// views are the panels of every environment, two in a row.
func views() []view {
	return []view{
		{title: "CPU", metric: "cpu_cores", unit: "short"},
		{title: "CPU held back by its limit", metric: "cpu_throttled_seconds_total", unit: "percentunit", rate: true},
		{title: "Memory (working set)", metric: "memory_working_set_bytes", unit: "bytes"},
		{title: "Processes and threads", metric: "pids", unit: "short"},
		{title: "Network received", metric: "network_receive_bytes_total", unit: "Bps", rate: true},
		{title: "Network sent", metric: "network_transmit_bytes_total", unit: "Bps", rate: true},
		{title: "Disks read", metric: "disk_read_bytes_total", unit: "Bps", rate: true},
		{title: "Disks written", metric: "disk_written_bytes_total", unit: "Bps", rate: true},
		{title: "Starts after the first", metric: "restarts_total", unit: "short"},
		{title: "Killed for want of memory", metric: "oom_kills_total", unit: "short"},
	}
}

// Files are the dashboard and its provisioning.
func Files(w Wish) ([]File, error) {
	text, err := json.MarshalIndent(board(w), "", "  ")
	if err != nil {
		return nil, fmt.Errorf("dashboard of %s: %w", w.Project, err)
	}
	return []File{
		{"dashboards/" + naming.Clean(w.Project) + ".json", string(text) + "\n"},
		{"provisioning/datasources/rolling.yaml", fmt.Sprintf(`apiVersion: 1
datasources:
  - name: %s
    uid: %s
    type: graphite
    access: proxy
    url: %q
    jsonData: {graphiteVersion: "1.1"}
`, datasource, datasource, w.Graphite)},
		{"provisioning/dashboards/rolling.yaml", fmt.Sprintf(`apiVersion: 1
providers:
  - name: rolling
    folder: Rolling
    type: file
    options: {path: %q}
`, w.Folder)},
	}, nil
}

// prefix is the path of an environment's slots of a service.
func prefix(w Wish, environment, service string) string {
	return strings.Join([]string{contract.GraphiteRoot, naming.Clean(w.Cluster), naming.Clean(w.Project), naming.Clean(environment), service, Everything}, ".")
}

// Places of a path's pieces, counted from 0: what a line in a graph is called.
const (
	servicePlace = 4
	slotPlace    = 5
)

func target(w Wish, environment string, v view) string {
	path := prefix(w, environment, service) + "." + v.metric
	if v.rate {
		// A task that moves to another node counts from 0: a step back is no rate.
		path = "perSecond(" + path + ")"
	}
	return fmt.Sprintf("aliasByNode(%s, %d, %d)", path, servicePlace, slotPlace)
}

func board(w Wish) Dashboard {
	d := Dashboard{
		UID: uid(w), Title: w.Project, Tags: []string{"rolling"}, SchemaVersion: 39, Timezone: "browser", Refresh: "10s", Editable: true,
		Time: Range{"now-1h", "now"}, Panels: []Panel{},
	}
	// Every environment's services are offered: one that an environment has not draws nothing there.
	paths := "{" + strings.Join(clean(w.Environments), ",") + "}"
	d.Templating.List = []Variable{{
		Name: strings.TrimPrefix(service, "$"), Label: "Service", Type: "query", Datasource: source(), IncludeAll: true, AllValue: Everything, Refresh: 2,
		Query:   strings.Join([]string{contract.GraphiteRoot, naming.Clean(w.Cluster), naming.Clean(w.Project), paths, Everything}, "."),
		Current: Choice{"All", "$__all"},
	}}
	y, id := 0, 1
	for _, e := range w.Environments {
		d.Panels = append(d.Panels, Panel{ID: id, Type: "row", Title: e, Grid: Grid{H: 1, W: 24, X: 0, Y: y}})
		id, y = id+1, y+1
		for i, v := range views() {
			d.Panels = append(d.Panels, panel(w, e, v, id, Grid{H: height, W: 12, X: 12 * (i % 2), Y: y + height*(i/2)}))
			id++
		}
		y += height * ((len(views()) + 1) / 2)
	}
	return d
}

// height of a panel, in Grafana's grid.
const height = 7

func panel(w Wish, environment string, v view, id int, at Grid) Panel {
	p := Panel{ID: id, Type: "timeseries", Title: v.title, Grid: at, Datasource: source(), Targets: []Target{{RefID: "A", Target: target(w, environment, v), Datasource: source()}}}
	p.FieldConfig = &FieldConfig{Defaults: Defaults{Unit: v.unit, Min: new(0), Custom: Custom{LineWidth: 1, FillOpacity: 10, SpanNulls: true}}, Overrides: []string{}}
	return p
}

func source() *Source { return &Source{Type: "graphite", UID: datasource} }

func clean(names []string) []string {
	all := slices.Clone(names)
	for i := range all {
		all[i] = naming.Clean(all[i])
	}
	return all
}

// uid is at most 40 characters, Grafana's bound.
func uid(w Wish) string {
	text := "rolling-" + naming.Clean(w.Cluster) + "-" + naming.Clean(w.Project)
	return text[:min(40, len(text))]
}
