package spec

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/manager/project"
	"github.com/rolling-swarm/rolling/manager/release"
)

var update = flag.Bool("update", false, "write what the code says into the golden files")

func parse(t testing.TB, file string) *project.Project {
	t.Helper()
	p, err := project.Parse(project.Input{
		File: "rolling.yml", Bytes: []byte(file), Files: map[string][]byte{"site.conf": []byte("listen 80;\n"), "password": []byte("hunter2")},
		Zone: func(name string) (*time.Location, error) { return time.FixedZone(name, 8*60*60), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// releaseFor has an image for every service of every environment.
func releaseFor(t testing.TB, p *project.Project, id release.ID) release.Release {
	t.Helper()
	images := map[project.ServiceName]release.Image{}
	for _, e := range p.Environments {
		for name := range e.Model.Services {
			images[project.ServiceName(name)] = release.Image("registry.example/" + name + "@sha256:" + strings.Repeat("a", 64))
		}
	}
	r, err := release.New(release.Release{ID: id, Project: p.Name, Commit: "abcdef0", Created: time.Unix(0, 0), Images: images})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestEachProjectBecomesTheseSwarmObjects: a golden file is a project file, "----", and every object of every environment.
func TestEachProjectBecomesTheseSwarmObjects(t *testing.T) {
	names, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(names) == 0 {
		t.Fatalf("no golden files (%v)", err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			input, want, _ := strings.Cut(string(b), "----\n")
			got := describe(t, input)
			if again := describe(t, input); again != got {
				t.Error("built again it differs")
			}
			if *update {
				if err := os.WriteFile(name, []byte(input+"----\n"+got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != want {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

func describe(t *testing.T, input string) string {
	t.Helper()
	p := parse(t, input)
	var out strings.Builder
	show := func(kind string, v any) {
		b, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "%s %s\n", kind, b)
	}
	for _, e := range p.Environments {
		d, err := Build(p, releaseFor(t, p, "r-1"), e.Name, Adjust{Rollout: "o-7"})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "== %s %s %s external=%+v\n", d.Project, d.Environment, d.Release, d.External)
		for _, n := range d.Notes {
			fmt.Fprintf(&out, "note %s: %s\n", n.Service, n.Text)
		}
		for _, n := range d.Networks {
			show("network", n)
		}
		for _, c := range d.Configs {
			fmt.Fprintf(&out, "config %s %v %q %v\n", c.Name, c.Labels, c.Data, c.Templating)
		}
		for _, s := range d.Secrets {
			fmt.Fprintf(&out, "secret %s %v %d bytes %v %v\n", s.Name, s.Labels, len(s.Data), s.Driver, s.Templating)
		}
		for _, s := range d.Services {
			show("service", s)
			fields, err := Fields(s, func(name string) string { return name })
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range slices.Sorted(maps.Keys(fields)) {
				fmt.Fprintf(&out, "  %s: %s\n", f, fields[f])
			}
		}
	}
	return out.String()
}
