package dashboards

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rolling-swarm/rolling/exporter/sample"
)

var update = flag.Bool("update", false, "write the golden files")

func wish() Wish {
	return Wish{Cluster: "main", Project: "orders", Environments: []string{"test", "production"}, Graphite: "http://graphite:8080", Folder: "/var/lib/grafana/dashboards/rolling"}
}

// decoded reads a dashboard as Grafana would, and refuses what the types here do not know.
func decoded(t *testing.T, text string) Dashboard {
	t.Helper()
	var d Dashboard
	in := json.NewDecoder(strings.NewReader(text))
	in.DisallowUnknownFields()
	if err := in.Decode(&d); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestTheFilesOfAProject(t *testing.T) {
	files, err := Files(wish())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		golden := filepath.Join("testdata", filepath.FromSlash(f.Name))
		if *update {
			if err := os.MkdirAll(filepath.Dir(golden), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(golden, []byte(f.Text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if f.Text != string(want) {
			t.Errorf("%s is other than %s; after a look: go test ./exporter/dashboards -update", f.Name, golden)
		}
	}
}

func TestEveryPanelDrawsAMetricThatIsSent(t *testing.T) {
	known := map[string]bool{}
	for _, m := range sample.Metrics() {
		known[m.Name] = true
	}
	files, err := Files(wish())
	if err != nil {
		t.Fatal(err)
	}
	d := decoded(t, files[0].Text)
	ids, cells := map[int]bool{}, map[[2]int]string{}
	for _, p := range d.Panels {
		if ids[p.ID] {
			t.Errorf("two panels have the id %d", p.ID)
		}
		ids[p.ID] = true
		for x := p.Grid.X; x < p.Grid.X+p.Grid.W; x++ {
			for y := p.Grid.Y; y < p.Grid.Y+p.Grid.H; y++ {
				if other := cells[[2]int{x, y}]; other != "" {
					t.Fatalf("%s lies on %s", p.Title, other)
				}
				cells[[2]int{x, y}] = p.Title
			}
		}
		if (p.Type == "row") != (len(p.Targets) == 0) {
			t.Errorf("panel %s of type %s has %d targets", p.Title, p.Type, len(p.Targets))
		}
		for _, target := range p.Targets {
			_, metric, _ := strings.Cut(target.Target, "$service.*.")
			metric = metric[:strings.IndexAny(metric, ",)")]
			if !known[metric] {
				t.Errorf("%s draws %q, which nobody sends", target.Target, metric)
			}
		}
	}
	if want := 2 * (1 + len(views())); len(d.Panels) != want {
		t.Errorf("%d panels, want %d", len(d.Panels), want)
	}
}
