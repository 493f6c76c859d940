package manager

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/rolling-swarm/rolling/lab/bench/figure"
	"github.com/rolling-swarm/rolling/lab/bench/gotest"
)

func TestStoreFiguresBearTheNamesOfTheContract(t *testing.T) {
	const output = "BenchmarkWrite-2 500 100 ns/op 2 ms/p50 1 ms/fsync_p50 9 ms/p99 6 ms/fsync_p99\n"
	lines, err := gotest.Parse(strings.NewReader(output), 2)
	if err != nil {
		t.Fatal(err)
	}
	got, err := storeFigures(lines)
	if err != nil || len(got) != 2 {
		t.Fatalf("got %+v, %v", got, err)
	}
	if f := got[1]; f.Name != "manager.write_p99_ms" || f.Ours != 9 || *f.Peer != 6 || *f.Ratio != 1.5 || f.PeerName != "one fsync" {
		t.Errorf("got %+v", f)
	}
	if _, err := storeFigures(lines[:0]); err == nil || !strings.Contains(err.Error(), "Write") {
		t.Errorf("without the benchmark: %v", err)
	}
}

// door answers as the manager does, for one project that runs r-1 and those that are applied.
type door struct {
	kept  []string
	limit int // of projects; more are refused
}

func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/api/v1/projects/")
	switch {
	case r.Method == http.MethodPut && len(d.kept) == d.limit:
		http.Error(w, "disk full", http.StatusInsufficientStorage)
	case r.Method == http.MethodPut:
		var body struct{ File string }
		if json.NewDecoder(r.Body).Decode(&body) != nil || !strings.Contains(body.File, "project: "+name+"\n") {
			http.Error(w, "not of this project", http.StatusUnprocessableEntity)
			return
		}
		d.kept = append(d.kept, name)
		_, _ = w.Write([]byte("{}"))
	case r.Method == http.MethodDelete:
		d.kept = slices.DeleteFunc(d.kept, func(k string) bool { return k == name })
		w.WriteHeader(http.StatusNoContent)
	case strings.HasSuffix(name, "/plan"):
		_, _ = fmt.Fprintf(w, `{"empty":%v}`, r.URL.Query().Get("release") == "r-1")
	case name == "orders":
		_, _ = w.Write([]byte(`{"environments":[{"name":"test","release":"r-2"},{"name":"production","release":"r-1"}]}`))
	case r.URL.Path == "/":
		_, _ = w.Write([]byte(`<link href="/assets/a.css"><script src="/assets/b.js"></script><img src="/assets/b.js">orders`))
	case strings.HasPrefix(r.URL.Path, "/assets/"):
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = z.Write([]byte(strings.Repeat("a", 10_000)))
		_ = z.Close()
	case strings.HasPrefix(r.URL.Path, "/api/v1/events"):
		_, _ = w.Write([]byte("retry: 1000\n\nevent: rollout.step\ndata: {}\n\nevent: environment.changed\ndata: {}\n\n"))
	default:
		_ = json.NewEncoder(w).Encode(map[string]any{"items": d.kept})
	}
}

// behind is a bench whose manager is the door.
func behind(t *testing.T, d *door) *bench {
	s := httptest.NewServer(d)
	t.Cleanup(s.Close)
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", s.Listener.Addr().String())
	}
	return &bench{set: Settings{Plans: 3, Projects: 4, Lists: 2}, api: api{&http.Client{Transport: &http.Transport{DialContext: dial}}}, release: "r-2"}
}

func TestPlansAreOfAChange(t *testing.T) {
	b := behind(t, &door{})
	if r, err := b.api.running(t.Context()); err != nil || r != "r-1" {
		t.Errorf("production runs %s, %v", r, err)
	}
	got, err := b.plans(t.Context())
	if err != nil || len(got) != 1 || got[0].Name != "manager.plan_ms" || got[0].Runs != 3 {
		t.Errorf("got %+v, %v", got, err)
	}
	b.release = "r-1"
	if _, err := b.plans(t.Context()); err == nil || !strings.Contains(err.Error(), "empty") {
		t.Errorf("an empty plan was measured: %v", err)
	}
}

func TestListsLeaveNoProject(t *testing.T) {
	d := &door{limit: 10}
	b := behind(t, d)
	got, err := b.lists(t.Context())
	if err != nil || len(got) != 2 || got[0].Name != "manager.list_4_ms" || got[0].Runs != 2 || got[1].Name != "manager.apply_ms" || got[1].Runs != 4 {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, f := range got {
		if err := f.Check(); err != nil {
			t.Error(err)
		}
	}
	d.limit = 2
	if _, err := b.lists(t.Context()); err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("got %v", err)
	}
	if len(d.kept) != 0 {
		t.Errorf("%v are left", d.kept)
	}
}

func TestTheFirstPageIsWeighedWithItsAssets(t *testing.T) {
	got, err := behind(t, &door{}).pages(t.Context())
	if err != nil || len(got) != 2 || got[0].Name != "manager.page_ms" || got[0].Runs != 2 || got[1].Name != "manager.page_kb" {
		t.Fatalf("got %+v, %v", got, err)
	}
	if kb := got[1].Ours; kb < 0.1 || kb > 1 { // two assets of 10 kB each, compressed
		t.Errorf("%g kB", kb)
	}
}

func TestAnEventIsTheManagersOwn(t *testing.T) {
	b := behind(t, &door{})
	told, err := b.follow(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer told.close()
	if _, more := <-told.changed; !more {
		t.Error("no event")
	}
	if _, more := <-told.changed; more {
		t.Error("a step of a rollout was counted")
	}
	if _, err := told.after(func() error { return nil }); err == nil || !strings.Contains(err.Error(), "ended") {
		t.Errorf("a stream that has ended: %v", err)
	}
}

func TestWithoutOrdersThereIsNoFigure(t *testing.T) {
	b := &bench{}
	for name, take := range map[string]func(context.Context) ([]figure.Figure, error){"plans": b.plans, "lists": b.lists, "pages": b.pages, "events": b.events} {
		if got, err := take(t.Context()); err == nil || len(got) != 0 {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
}
