package policy

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/internal/permits"
)

type word struct {
	d   permits.Document
	err error
}

func TestEachDocumentIsToldOnce(t *testing.T) {
	file := File(t.TempDir())
	ctx, cancel := context.WithCancel(context.Background())
	words, ended := make(chan word, 16), make(chan error)
	go func() {
		ended <- Watch(ctx, file, func(d permits.Document, err error) { words <- word{d, err} })
	}()
	lay := func(text string) {
		t.Helper()
		next := filepath.Join(filepath.Dir(file), "next")
		if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, file); err != nil {
			t.Fatal(err)
		}
	}
	told := func() word {
		t.Helper()
		select {
		case w := <-words:
			return w
		case <-time.After(10 * time.Second):
			t.Fatal("nothing is told")
		}
		return word{}
	}
	lay(`{"version": 1, "projects": ["orders"]}`)
	if w := told(); w.err != nil || len(w.d.Projects) != 1 {
		t.Errorf("told %+v", w)
	}
	lay(`{"version": 1, "projects": ["orders"`)
	if w := told(); w.err == nil || !strings.Contains(w.err.Error(), "stays in force") {
		t.Errorf("of half a document it told %+v", w)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	lay(`{"version": 1, "projects": ["orders", "gateway"]}`)
	if w := told(); w.err != nil || len(w.d.Projects) != 2 {
		t.Errorf("told %+v", w)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if len(words) > 0 {
		t.Errorf("told once more: %+v", <-words)
	}
}
