package plan

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/manager/project"
	"github.com/rolling-swarm/rolling/manager/release"
	"github.com/rolling-swarm/rolling/manager/spec"
)

// TestWhatEnginesShowNeedsNoPlan: the objects of a project file that uses every key were created on real engines, and
// what these then listed was recorded. Planned over that, there is nothing to do and nothing looks changed by hand.
func TestWhatEnginesShowNeedsNoPlan(t *testing.T) {
	engines, err := filepath.Glob("testdata/inspect/*")
	if err != nil || len(engines) < 2 {
		t.Fatalf("recordings: %v (%v), want two engines at least", engines, err)
	}
	for _, engine := range engines {
		t.Run(filepath.Base(engine), func(t *testing.T) {
			desired, observed := recorded(t, engine)
			p, err := Diff(desired, observed)
			if err != nil {
				t.Fatal(err)
			}
			if !p.Empty() {
				t.Errorf("there is something to do:\n%s", p)
			}
			names := map[string]string{}
			for _, n := range observed.Networks {
				names[n.ID] = n.Spec.Name
			}
			for _, s := range observed.Services {
				fields, err := spec.Fields(s.Spec, func(id string) string { return names[id] })
				if err != nil {
					t.Fatal(err)
				}
				if len(fields) < 10 || spec.ByHand(fields, s.Spec.Labels[contract.Spec]) {
					t.Errorf("%s looks changed by hand: what a field is called has changed, so the version of fingerprints must grow too", s.Spec.Name)
				}
			}
		})
	}
}

func recorded(t *testing.T, engine string) (spec.Desired, Observed) {
	t.Helper()
	file, err := os.ReadFile(filepath.Join(engine, "project.yml"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := project.Parse(project.Input{File: "project.yml", Bytes: file,
		Files: map[string][]byte{"site.conf": []byte("listen 80;\n"), "password": []byte("hunter2")}})
	if err != nil {
		t.Fatal(err)
	}
	const digest = "@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	r, err := release.New(release.Release{ID: "r-1", Project: p.Name, Created: time.Unix(0, 0), Images: map[project.ServiceName]release.Image{
		"web": "registry.example/web" + digest, "edge": "registry.example/edge" + digest,
		"quiet": "docker.io/library/quiet" + digest, // the client shortens this one before it sends it
	}})
	if err != nil {
		t.Fatal(err)
	}
	desired, err := spec.Build(p, r, "test", spec.Adjust{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(engine, "observed.json"))
	if err != nil {
		t.Fatal(err)
	}
	var observed Observed
	if err := json.Unmarshal(b, &observed); err != nil {
		t.Fatal(err)
	}
	return desired, observed
}
