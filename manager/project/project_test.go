package project

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // a small machine has no table of zones

	"pgregory.net/rapid"
)

const small = `
x-rolling: {project: orders, environments: {test: {stage: test}}}
services: {web: {image: "registry.example/web"}}
`

func TestTheMachineDoesNotShowInTheResult(t *testing.T) {
	before, err := parse("rolling.yml", []byte(small))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	t.Chdir(dir)
	t.Setenv("COMPOSE_PROJECT_NAME", "other")
	t.Setenv("COMPOSE_PROFILES", "debug")
	if err := os.WriteFile(filepath.Join(dir, ".env"), []byte("COMPOSE_PROJECT_NAME=third\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	after, err := parse("rolling.yml", []byte(small))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(before, after) {
		t.Errorf("the same bytes gave %+v and %+v", before, after)
	}
}

func TestEnvironmentsShareNothingThatAMergeChanges(t *testing.T) {
	p, err := parse("rolling.yml", []byte(strings.Replace(small, "stage: test", "stage: test, services: {web: {labels: {a: b}}}}, live: {stage: pre-release", 1)))
	if err != nil {
		t.Fatal(err)
	}
	test, _ := p.Environment("test")
	live, ok := p.Environment("live")
	if !ok || len(test.Model.Services["web"].Labels) != 1 || len(live.Model.Services["web"].Labels) != 0 {
		t.Errorf("labels are %v in test and %v in live: want only test to have one", test.Model.Services["web"].Labels, live.Model.Services["web"].Labels)
	}
	if _, ok := p.Environment("staging"); ok {
		t.Error("an environment that the file does not have was found")
	}
}

func TestAZoneIsAskedForAndNotLookedUp(t *testing.T) {
	file := strings.Replace(small, "stage: test", `stage: test, freeze: [{days: mon, from: "09:00", to: "10:00", zone: Asia/Shanghai}]`, 1)
	if _, err := Parse(Input{File: "rolling.yml", Bytes: []byte(file)}); err == nil || !strings.Contains(err.Error(), "Asia/Shanghai") {
		t.Errorf("without a table of zones: got %v, want a problem that names the zone", err)
	}
	p, err := Parse(Input{File: "rolling.yml", Bytes: []byte(file), Zone: time.LoadLocation})
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Environments[0].Freezes[0].Zone.String(); got != "Asia/Shanghai" {
		t.Errorf("zone %q, want Asia/Shanghai", got)
	}
}

func TestFilesNamedAreTheOnesToHandOver(t *testing.T) {
	file := small + `
configs: {a: {file: b.conf}, c: {content: x}, out: {file: ../x}, root: {file: /etc/passwd}}
secrets: {p: {file: secrets/p}, q: {file: b.conf}}
`
	if got, want := FilesNamed([]byte(file)), []string{"b.conf", "secrets/p"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := FilesNamed([]byte("- not a project")); got != nil {
		t.Errorf("got %v from a file that is no project, want none", got)
	}
}

func TestBatchesRiseToTheWhole(t *testing.T) {
	for _, c := range []struct {
		name     string
		batches  []Batch
		replicas int
		want     []int
	}{
		{"the default is one batch", []Batch{{Percent: 100}}, 5, []int{5}},
		{"one, a quarter, all", []Batch{{Count: 1}, {Percent: 25}, {Percent: 100}}, 8, []int{1, 2, 8}},
		{"a share is rounded up, so that no batch is empty", []Batch{{Percent: 10}, {Percent: 100}}, 3, []int{1, 3}},
		{"batches that come to the same are one", []Batch{{Count: 1}, {Percent: 25}, {Percent: 100}}, 1, []int{1}},
		{"a count above the service is the service", []Batch{{Count: 50}, {Percent: 100}}, 3, []int{3}},
		{"no tasks, no batches", []Batch{{Percent: 100}}, 0, nil},
	} {
		if got := (Rollout{Batches: c.batches}).Sizes(c.replicas); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

func TestBatchesNeverShrinkAndEndAtTheWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r Rollout
		for range rapid.IntRange(0, 6).Draw(t, "batches") {
			r.Batches = append(r.Batches, Batch{Count: rapid.IntRange(0, 20).Draw(t, "count"), Percent: rapid.IntRange(1, 100).Draw(t, "percent")})
		}
		replicas, last := rapid.IntRange(0, 50).Draw(t, "replicas"), 0
		for _, n := range r.Sizes(replicas) {
			if n <= last || n > replicas {
				t.Fatalf("%v of %d: %d after %d", r.Batches, replicas, n, last)
			}
			last = n
		}
		if last != replicas {
			t.Fatalf("%v of %d ends at %d", r.Batches, replicas, last)
		}
	})
}

// FuzzParse: whatever the bytes, Parse ends, answers with a whole project or with problems that each say something, and
// answers the same again.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/good/*.txt", "testdata/bad/*.txt"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, name := range names {
			b, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			input, _, _ := strings.Cut(string(b), "----\n")
			f.Add([]byte(input))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parse("rolling.yml", b)
		FilesNamed(b)
		if err != nil {
			var problems *Problems
			if !errors.As(err, &problems) || len(problems.List) == 0 || p != nil {
				t.Fatalf("got %v and %v, want problems and no project", p, err)
			}
			for _, q := range problems.List {
				if q.Text == "" || strings.Contains(q.Text, "compose-go cannot read it") {
					t.Fatalf("a problem that helps nobody: %q: %q", q.Path, q.Text)
				}
			}
			return
		}
		if len(p.Environments) == 0 {
			t.Fatal("a project without environments was accepted")
		}
		for _, e := range p.Environments {
			if e.Model == nil {
				t.Fatalf("environment %s has no model", e.Name)
			}
		}
		again, err := parse("rolling.yml", b)
		if err != nil || describe(p) != describe(again) {
			t.Fatalf("parsed again it differs: %v", err)
		}
	})
}

// FuzzParseRange: what is accepted is a range in order, and says the same when written out.
func FuzzParseRange(f *testing.F) {
	for _, s := range []string{"10.0.0.1-10.0.0.9", "10.0.0.0/30", "10.0.0.9-10.0.0.1", "fd00::1-fd00::2", "-", "0.0.0.0/0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		first, last, err := ParseRange(s)
		if err != nil {
			return
		}
		again, until, err := ParseRange(first.String() + "-" + last.String())
		if err != nil || again != first || until != last || last.Less(first) {
			t.Fatalf("%q is %s to %s, and written out %s to %s (%v)", s, first, last, again, until, err)
		}
	})
}

// BenchmarkParse reads a file of 50 services and two environments.
func BenchmarkParse(b *testing.B) {
	var file strings.Builder
	file.WriteString("x-rolling: {project: orders, environments: {test: {stage: test}, live: {stage: production}}}\nservices:\n")
	for i := range 50 {
		file.WriteString("  s" + strings.Repeat("x", i%5) + string(rune('a'+i%26)) + string(rune('a'+i/26)) + ": {image: i, environment: {A: x}, healthcheck: {test: x}, deploy: {replicas: 3}}\n")
	}
	for b.Loop() {
		if _, err := parse("rolling.yml", []byte(file.String())); err != nil {
			b.Fatal(err)
		}
	}
}
