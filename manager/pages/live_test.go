package pages_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/manager/engine"
	"github.com/rolling-swarm/rolling/manager/pages/pagestest"
	"github.com/rolling-swarm/rolling/manager/release"
)

// lockedLog is read while it is written.
type lockedLog struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// message is one event of a stream.
type message struct {
	kind string
	data map[string]string
}

// listen opens the stream of a page and gives its messages, beats left out.
func (h *house) listen(page, seen string) <-chan message {
	h.Helper()
	server := httptest.NewServer(h.echo)
	ctx, cancel := context.WithCancel(context.Background())
	h.Cleanup(func() { cancel(); server.Close() })
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/live?"+url.Values{"page": {page}, "seen": {seen}}.Encode(), nil)
	if err != nil {
		h.Fatal(err)
	}
	r.Header.Set("Accept-Language", h.lang)
	for name, value := range h.jar {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		h.Fatal(err)
	}
	if answer.StatusCode != http.StatusOK || answer.Header.Get("Content-Type") != "text/event-stream" {
		h.Fatalf("%s: %v", answer.Status, answer.Header)
	}
	out := make(chan message, 1000)
	go func() {
		defer close(out)
		defer answer.Body.Close()
		lines := bufio.NewScanner(answer.Body)
		lines.Buffer(nil, 1<<24)
		var m message
		for lines.Scan() {
			if kind, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
				m = message{kind: kind, data: map[string]string{}}
			}
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				_ = json.Unmarshal([]byte(data), &m.data) // what is no message has no data
				if m.kind != "beat" {
					out <- m
				}
			}
		}
	}()
	return out
}

func (h *house) next(stream <-chan message, kind string) message {
	h.Helper()
	select {
	case m, ok := <-stream:
		if !ok || m.kind != kind {
			h.Fatalf("got %q %.300v, want %s", m.kind, m.data, kind)
		}
		return m
	case <-time.After(10 * time.Second):
		h.Fatalf("no %s came", kind)
	}
	return message{}
}

func (h *house) silence(stream <-chan message, d time.Duration) {
	h.Helper()
	select {
	case m := <-stream:
		h.Fatalf("got %q %.300v, want nothing", m.kind, m.data)
	case <-time.After(d):
	}
}

// seenOn is what a page tells its stream that it shows.
func seenOn(a answer) string {
	for n := range a.tree.Descendants() {
		if n.Data == "body" {
			return attr(n, "data-seen")
		}
	}
	return ""
}

func changed() engine.Event {
	return engine.Event{Type: engine.EnvironmentChanged, Project: "orders", Environment: "production"}
}

func TestAPageThatIsTrueIsSentNothing(t *testing.T) {
	t.Parallel()
	for name, path := range map[string]string{"the board": "/", "an environment": production, "releases": "/projects/orders", "rollouts": "/rollouts"} {
		t.Run(name, func(t *testing.T) {
			h := open(t, pagestest.Sample(noon))
			stream := h.listen(path, seenOn(h.page(path)))
			h.next(stream, "token")
			h.world.Tell(changed())
			h.silence(stream, 600*time.Millisecond)
		})
	}
}

func TestOnlyWhatDiffersIsSent(t *testing.T) {
	t.Parallel()
	h := open(t, pagestest.Sample(noon))
	stream := h.listen("/", seenOn(h.page("/")))
	h.next(stream, "token")
	h.world.Change(func(w *pagestest.World) { w.Views[1].Environments[2].Services[0].Running = 5 })
	h.world.Tell(changed())
	if head := h.next(stream, "part"); head.data["id"] != "board-head" || !strings.Contains(head.data["html"], `data-field="unwell">2<`) {
		t.Errorf("%v", head.data)
	}
	m := h.next(stream, "part")
	if m.data["id"] != "row-orders" || !strings.Contains(m.data["html"], "32/32") || strings.Contains(m.data["html"], "payments") {
		t.Errorf("%v", m.data)
	}
	h.silence(stream, 500*time.Millisecond)
}

func TestWhatHappenedBetweenPageAndStreamIsSentAtOnce(t *testing.T) {
	t.Parallel()
	h := open(t, pagestest.Sample(noon))
	a := h.page("/")
	h.world.Change(func(w *pagestest.World) { w.Views[1].Environments[2].Services[0].Running = 5 })
	stream := h.listen("/", seenOn(a))
	if m := h.next(stream, "whole"); !strings.Contains(m.data["html"], "32/32") {
		t.Error("it is the old page")
	}
}

func TestWhatCameOrWentIsSentAsAWhole(t *testing.T) {
	t.Parallel()
	h := open(t, pagestest.Sample(noon))
	stream := h.listen("/", seenOn(h.page("/")))
	h.next(stream, "token")
	h.world.Change(func(w *pagestest.World) { w.Views = w.Views[1:] })
	h.world.Tell(engine.Event{Type: "project.deleted", Project: "gateway"})
	if m := h.next(stream, "whole"); strings.Contains(m.data["html"], "row-gateway") || !strings.Contains(m.data["html"], "row-orders") {
		t.Errorf("%.500s", m.data["html"])
	}
}

// TestManyEventsAreFewDrawings: a storm costs so many drawings a second, and its end is shown.
func TestManyEventsAreFewDrawings(t *testing.T) {
	t.Parallel()
	h := open(t, pagestest.Sample(noon))
	stream := h.listen("/", seenOn(h.page("/")))
	h.next(stream, "token")
	begin := time.Now()
	for i := range 400 {
		h.world.Change(func(w *pagestest.World) { w.Views[0].Version = uint64(1000 + i) })
		h.world.Tell(changed())
	}
	parts := 0
	for {
		m := h.next(stream, "part")
		parts++
		if strings.Contains(m.data["html"], "1399") {
			break
		}
	}
	if most := int(time.Since(begin)/(300*time.Millisecond)) + 2; parts > most {
		t.Errorf("%d drawings in %v, want %d at most", parts, time.Since(begin), most)
	}
}

func TestOthersEventsDrawNothing(t *testing.T) {
	t.Parallel()
	h := open(t, pagestest.Sample(noon))
	stream := h.listen("/rollouts/ro90", seenOn(h.page("/rollouts/ro90")))
	h.next(stream, "token")
	h.world.Change(func(w *pagestest.World) { w.History[0].Cause = "something" })
	h.world.Tell(engine.Event{Type: "rollout.progress", Project: "orders", Environment: "staging", Rollout: "ro89"})
	h.silence(stream, 600*time.Millisecond)
	h.world.Tell(engine.Event{Type: "rollout.progress", Project: "orders", Environment: "production", Rollout: "ro90"})
	h.next(stream, "whole")
}

func TestARolloutsEndIsSaidInWords(t *testing.T) {
	t.Parallel()
	h := open(t, pagestest.Sample(noon))
	h.lang = "zh"
	stream := h.listen(production, seenOn(h.page(production)))
	h.next(stream, "token")
	h.world.Change(func(w *pagestest.World) { w.History[0].State, w.History[0].Ended = release.Succeeded, &noon })
	h.world.Tell(engine.Event{Type: "rollout.ended", Project: "orders", Environment: "production", Release: "r-42", Rollout: "ro90", State: release.Succeeded})
	if m := h.next(stream, "say"); m.data["text"] != "orders / production：r-42 发布结束：成功" {
		t.Errorf("%q", m.data["text"])
	}
	if m := h.next(stream, "part"); m.data["id"] != "environment-side" || !strings.Contains(m.data["html"], "成功") {
		t.Errorf("%v", m.data)
	}
}

func TestAPageComesBackWhenTheSwarmDoes(t *testing.T) {
	t.Parallel()
	log := new(lockedLog)
	w := pagestest.Sample(noon)
	w.Log = slog.New(slog.NewTextHandler(log, nil))
	h := open(t, w)
	stream := h.listen(production, seenOn(h.page(production)))
	h.next(stream, "token")
	h.world.Change(func(w *pagestest.World) { w.SwarmAway = errors.New("nobody answers") })
	h.world.Tell(changed())
	if m := h.next(stream, "whole"); !strings.Contains(m.data["html"], "nobody answers") {
		t.Errorf("%.400s", m.data["html"])
	}
	for range 3 {
		h.world.Tell(changed())
		time.Sleep(400 * time.Millisecond) // the next is drawn for itself
	}
	if n := strings.Count(log.String(), "a page failed"); n != 1 {
		t.Errorf("the log has it %d times:\n%s", n, log)
	}
	h.world.Change(func(w *pagestest.World) { w.SwarmAway = nil })
	if m := h.next(stream, "whole"); !strings.Contains(m.data["html"], "service-api") { // without any event
		t.Errorf("%.400s", m.data["html"])
	}
}

// TestAStreamsFormsWork: the token that a stream brings is taken from that browser.
func TestAStreamsFormsWork(t *testing.T) {
	t.Parallel()
	h := open(t, pagestest.Sample(noon))
	token := h.next(h.listen("/", seenOn(h.page("/"))), "token").data["token"]
	if a := h.post("/rollouts/ro90/cancel", url.Values{"csrf": {token}}); a.Code != http.StatusSeeOther {
		t.Errorf("%d", a.Code)
	}
}

func TestPoisonInAStreamIsInert(t *testing.T) {
	t.Parallel()
	h := open(t, pagestest.Poisoned(noon))
	stream := h.listen("/rollouts/"+url.PathEscape(pagestest.Poison), "other")
	if m := h.next(stream, "whole"); strings.Contains(m.data["html"], "<script>") || !strings.Contains(m.data["html"], "&lt;script&gt;") {
		t.Errorf("%.600s", m.data["html"])
	}
}

func TestStreamsAreCounted(t *testing.T) {
	t.Parallel()
	h := open(t, pagestest.Sample(noon))
	server := httptest.NewServer(h.echo)
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() { cancel(); server.Close() })
	ask := func() int {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/live?page=/rollouts&seen=", nil)
		if err != nil {
			t.Fatal(err)
		}
		a, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		return a.StatusCode
	}
	for i := range 128 {
		if got := ask(); got != http.StatusOK {
			t.Fatalf("stream %d: %d", i, got)
		}
	}
	if got := ask(); got != http.StatusServiceUnavailable {
		t.Errorf("one too many: %d", got)
	}
	for _, page := range []string{"", "/nope", "/live", "/assets/x", "https://elsewhere.example/", "/preferences"} {
		if a := h.get("/live?page=" + url.QueryEscape(page)); page != "" && page != "https://elsewhere.example/" && a.Code != http.StatusNotFound {
			t.Errorf("%q: %d", page, a.Code)
		}
	}
}
