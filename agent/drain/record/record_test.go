package record

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/agent/drain/stops"
)

func TestWhatWasSavedIsLoaded(t *testing.T) {
	f := File(filepath.Join(t.TempDir(), "agent", "drain.json"))
	if got, err := f.Load(); err != nil || len(got) != 0 {
		t.Fatalf("before the first: %v, %v", got, err)
	}
	want := []stops.Stop{{Container: "a", Name: "web", Asked: time.Unix(1, 2).UTC(), Drain: time.Second, Sent: true}}
	for _, all := range [][]stops.Stop{{{Container: "b"}}, nil, want} {
		if err := f.Save(all); err != nil {
			t.Fatal(err)
		}
	}
	got, err := f.Load()
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v", got, err)
	}
	left, err := os.ReadDir(filepath.Dir(string(f)))
	if err != nil || len(left) != 1 {
		t.Errorf("left over: %v, %v", left, err)
	}
}

func TestADamagedRecordIsAnError(t *testing.T) {
	f := File(filepath.Join(t.TempDir(), "drain.json"))
	if err := os.WriteFile(string(f), []byte(`{"stops":[{"contai`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Load(); err == nil {
		t.Error("no error")
	}
	if err := f.Save(nil); err != nil {
		t.Errorf("it cannot be replaced: %v", err)
	}
}
