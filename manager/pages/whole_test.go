package pages_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"

	"github.com/rolling-swarm/rolling/manager/engine"
	"github.com/rolling-swarm/rolling/manager/pages"
	"github.com/rolling-swarm/rolling/manager/pages/pagestest"
	"github.com/rolling-swarm/rolling/manager/project"
	"github.com/rolling-swarm/rolling/manager/release"
	"github.com/rolling-swarm/rolling/ui"
)

func TestHeadersOfEveryPage(t *testing.T) {
	h := open(t, pagestest.Sample(noon))
	for name, path := range every() {
		got := h.page(path).Header()
		for header, want := range map[string]string{
			"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
			"X-Content-Type-Options":  "nosniff", "Referrer-Policy": "same-origin", "Cache-Control": "no-store", "Content-Encoding": "gzip",
			"Content-Type": "text/html; charset=UTF-8", "Cross-Origin-Opener-Policy": "same-origin",
		} {
			if got.Get(header) != want {
				t.Errorf("%s: %s is %q, want %q", name, header, got.Get(header), want)
			}
		}
	}
	for _, c := range h.get("/").Result().Cookies() {
		t.Errorf("a second visit gets another cookie: %v", c)
	}
	first := open(t, pagestest.Sample(noon)).get("/").Header().Get("Set-Cookie")
	if !strings.Contains(first, "HttpOnly") || !strings.Contains(first, "SameSite=Strict") {
		t.Errorf("the cookie is %q", first)
	}
}

// TestFirstPageIsSmall adds up all that a browser fetches for its first page, compressed as it comes.
func TestFirstPageIsSmall(t *testing.T) {
	const most = 100 << 10
	for name, w := range map[string]*pagestest.World{"sample": pagestest.Sample(noon), "a hundred projects": pagestest.Many(100, noon)} {
		h := open(t, w)
		first := h.page("/")
		sum := len(first.compressed)
		for n := range first.tree.Descendants() {
			at := attr(n, "src")
			if n.Data == "link" {
				at = attr(n, "href")
			}
			if at == "" {
				continue
			}
			a := h.get(at)
			if a.Code != http.StatusOK || a.Header().Get("Cache-Control") != "public, max-age=31536000, immutable" {
				t.Errorf("%s: %d %v", at, a.Code, a.Header())
			}
			sum += len(a.compressed)
			t.Logf("%s: %6d %s", name, len(a.compressed), at)
		}
		t.Logf("%s: %6d the page, %d in all", name, len(first.compressed), sum)
		if sum > most {
			t.Errorf("%s: the first page takes %d bytes, want %d at most", name, sum, most)
		}
	}
}

func TestEveryStateHasAWord(t *testing.T) {
	kit, err := ui.Load()
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	add := func(family string, values ...any) {
		for _, v := range values {
			keys = append(keys, fmt.Sprintf("%s.%v", family, v))
		}
	}
	add("outcome", release.Running, release.Succeeded, release.RolledBack, release.Paused, release.TimedOut, release.Cancelled, release.Failed, "progressing", "going_back")
	add("kind", engine.KindDeploy, engine.KindRollback, engine.KindScale)
	add("stage", project.Isolated, project.Test, project.PreRelease, project.Grey, project.Production)
	add("step", "create", "update", "remove")
	add("health", "well", "short", "down", "resting", "empty", "unknown")
	add("task", "new", "allocated", "pending", "assigned", "accepted", "preparing", "ready", "starting", "running", "complete", "shutdown", "failed", "rejected", "remove", "orphaned")
	add("refusal", release.UnknownEnvironment, release.OtherProject, release.Discarded, release.StageSkipped, release.ImagesChanged, release.Rejected, release.ApprovalMissing, release.Frozen, release.RolloutRunning)
	for _, family := range []string{"fault", "advice"} {
		add(family, engine.Invalid, engine.NotFound, engine.Exists, engine.Stale, engine.InUse, engine.Refused, engine.Busy, engine.Blocked, engine.Drifted, engine.NoRoom, engine.ImageUnknown,
			"no_page", "no_task", "count", "form", "away", "unknown")
	}
	add("say", "rollout.started", "rollout.back", "rollout.ended", "release.created")
	for _, l := range ui.Languages() {
		for _, key := range keys {
			if !kit.Words(l).Has(key) {
				t.Errorf("%s has no %s", l, key)
			}
		}
	}
}

func TestReleasesAreLeafedThrough(t *testing.T) {
	w := pagestest.Sample(noon)
	one := w.Made["orders"][0]
	w.Made["orders"] = nil
	for i := range 45 {
		r := one
		r.ID = release.ID(fmt.Sprintf("r-%d", 145-i))
		w.Made["orders"] = append(w.Made["orders"], r)
	}
	h := open(t, w)
	var seen []string
	for next := "/projects/orders"; next != ""; {
		a := h.page(next)
		proper(t, a)
		next = ""
		for n := range a.tree.Descendants() {
			if id := attr(n, "data-release"); id != "" {
				seen = append(seen, id)
			}
			if n.Data == "a" && text(n) == "Older" {
				next = attr(n, "href")
			}
		}
	}
	if len(seen) != 45 || seen[0] != "r-145" || seen[44] != "r-101" {
		t.Errorf("%d releases: %v", len(seen), seen)
	}
}

func TestRolloutsAreLeafedThrough(t *testing.T) {
	w := pagestest.Sample(noon)
	one := w.History[1]
	w.History = nil
	for i := range 60 {
		r := one
		r.ID = engine.RolloutID(fmt.Sprintf("ro%d", 60-i))
		w.History = append(w.History, r)
	}
	h := open(t, w)
	seen, next := 0, "/rollouts?project=orders&environment=staging"
	for pages := 0; next != ""; pages++ {
		if pages > 3 {
			t.Fatal("it never ends")
		}
		a := h.page(next)
		next = ""
		for n := range a.tree.Descendants() {
			if n.Data == "tr" && attr(n, "data-rollout") != "" {
				seen++
			}
			if n.Data == "a" && text(n) == "Older" {
				next = attr(n, "href")
			}
		}
	}
	if seen != 60 {
		t.Errorf("%d rollouts, want 60", seen)
	}
}

// BenchmarkBoard draws a hundred projects: what one event costs an open board.
func BenchmarkBoard(b *testing.B) {
	door, err := pages.New(pagestest.Many(100, noon).Parts())
	if err != nil {
		b.Fatal(err)
	}
	e := echo.New()
	door.Mount(e, func(context.Context) string { return "" }, context.WithCancel)
	for b.Loop() {
		a := httptest.NewRecorder()
		e.ServeHTTP(a, httptest.NewRequest(http.MethodGet, "/", nil))
		b.ReportMetric(float64(a.Body.Len()), "bytes")
	}
}
