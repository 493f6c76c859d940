package store_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/manager/project"
	"github.com/rolling-swarm/rolling/manager/store"
)

// benchFile is as long as a project's file usually is.
var benchFile = bytes.Repeat([]byte("# a line of a project file, of 40 bytes\n"), 50)

// keep is the transaction of a project applied.
func keep(s store.Store, i int) error {
	name := project.Name(fmt.Sprintf("p-%04d", i%1000))
	return s.Update(func(tx store.Tx) error {
		p, err := store.PutProject(tx, store.Project{Name: name, FileName: "rolling.yml", File: benchFile, By: "ann", At: time.Now()}, nil)
		if err != nil {
			return err
		}
		text := fmt.Sprintf("project %s is at version %d", name, p.Version)
		if _, err := store.AddEvent(tx, store.Event{At: p.At, Type: "project.applied", Project: name, Text: text}); err != nil {
			return err
		}
		return store.AddEntry(tx, store.Entry{At: p.At, By: "ann", Action: "project apply", Object: string(name), Text: text})
	})
}

func quantile(took []time.Duration, q float64) float64 {
	slices.Sort(took)
	return float64(took[min(len(took)-1, int(q*float64(len(took))))].Nanoseconds())
}

// BenchmarkWrite compares one transaction of a store of 1,000 projects with one bare fsync of 4 KiB in the same folder,
// in turns: a shared disk's moods hit both.
func BenchmarkWrite(b *testing.B) {
	dir := b.TempDir()
	s := open(b, filepath.Join(dir, "manager.db"))
	defer s.Close()
	for i := range 1000 {
		if err := keep(s, i); err != nil {
			b.Fatal(err)
		}
	}
	f, err := os.Create(filepath.Join(dir, "bare"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	page := make([]byte, 4096)
	if _, err := f.Write(make([]byte, 1<<20)); err != nil {
		b.Fatal(err)
	}
	var ours, bare []time.Duration
	b.ResetTimer()
	for i := range b.N {
		begun := time.Now()
		if err := keep(s, i); err != nil {
			b.Fatal(err)
		}
		ours = append(ours, time.Since(begun))
		begun = time.Now()
		if _, err := f.WriteAt(page, int64(i%256)*4096); err != nil {
			b.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
		bare = append(bare, time.Since(begun))
	}
	for name, q := range map[string]float64{"p50": 0.5, "p99": 0.99} {
		b.ReportMetric(quantile(ours, q)/1e6, "ms/"+name)
		b.ReportMetric(quantile(bare, q)/1e6, "ms/fsync_"+name)
	}
}
