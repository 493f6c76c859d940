package loader

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/agent/bundle"
)

// conform is what the agent relies on: the fake engine and the real ones have to pass it alike. The bundle must be one
// whose plugin starts, with a setting named ROLLING_LOG_LEVEL.
func conform(t *testing.T, host, state, bundles, alias string) {
	found, err := Find(bundles)
	if err != nil {
		t.Fatal(err)
	}
	e, err := New(host, state, found)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	b := bundle.Bundle{}
	for _, f := range found {
		if f.Alias == alias {
			b = f.Bundle
		}
	}
	told := make(chan struct{}, 100)
	watching, stop := context.WithCancel(t.Context())
	defer stop()
	go e.Watch(watching, func() { told <- struct{}{} })
	next := func(when string) {
		t.Helper()
		select {
		case <-told:
		case <-time.After(20 * time.Second):
			t.Errorf("the watch is not told %s", when)
		}
	}
	next("when the engine answers")
	do := func(step bundle.Step, works bool) {
		t.Helper()
		if err := e.Do(t.Context(), b, step); (err == nil) != works {
			t.Fatalf("%s: %v", step, err)
		}
	}
	want := func(w string) {
		t.Helper()
		i, err := e.Installed(t.Context(), alias)
		if got := fmt.Sprintf("%t %t %t %s", i.Present, i.Enabled, i.Build == b.Build, i.Values["ROLLING_LOG_LEVEL"]); err != nil || got != w {
			t.Fatalf("installed: %s, %v, want %s", got, err, w)
		}
	}
	const there, enabled, ours = "true", "true", "true"
	want("false false false ")
	do(bundle.Step{Verb: bundle.Enable}, false)
	do(bundle.Step{Verb: bundle.Remove}, false)
	do(bundle.Step{Verb: bundle.Create}, true)
	next("of a creation")
	want(there + " false " + ours + " info")
	do(bundle.Step{Verb: bundle.Create}, false)
	do(bundle.Step{Verb: bundle.Disable}, false)
	do(bundle.Step{Verb: bundle.Set, Settings: []string{"ROLLING_LOG_LEVEL=debug"}}, true)
	do(bundle.Step{Verb: bundle.Set, Settings: []string{"ROLLING_NO_SUCH=1"}}, false)
	do(bundle.Step{Verb: bundle.Enable}, true)
	next("of a start")
	want(there + " " + enabled + " " + ours + " debug")
	do(bundle.Step{Verb: bundle.Enable}, false)
	do(bundle.Step{Verb: bundle.Set, Settings: []string{"ROLLING_LOG_LEVEL=warn"}}, false)
	do(bundle.Step{Verb: bundle.Disable}, true)
	next("of a stop")
	do(bundle.Step{Verb: bundle.Set, Settings: []string{"ROLLING_LOG_LEVEL="}}, true)
	want(there + " false " + ours + " ")
	do(bundle.Step{Verb: bundle.Remove}, true)
	next("of a removal")
	want("false false false ")
	do(bundle.Step{Verb: bundle.Rehearse}, true)
	want("false false false ")
	// The same content again, also under two names at once, as an agent that was killed in its rehearsal leaves it.
	do(bundle.Step{Verb: bundle.Create}, true)
	do(bundle.Step{Verb: bundle.Rehearse}, true)
	if err := e.create(t.Context(), b, rehearsal(b)); err != nil {
		t.Error(err)
	}
	do(bundle.Step{Verb: bundle.Remove}, true)
	do(bundle.Step{Verb: bundle.Create}, true)
	if i, err := e.Installed(t.Context(), rehearsal(b)); err != nil || i.Present {
		t.Errorf("a rehearsal that was left is not cleared away: %+v, %v", i, err)
	}
	do(bundle.Step{Verb: bundle.Remove}, true)
	if s, err := os.Stat(filepath.Join(state, b.Name())); err != nil || s.Mode().Perm() != 0o700 {
		t.Errorf("the plugin's folder of state: %v, %v", s, err)
	}
}
