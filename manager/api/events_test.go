package api_test

import (
	"bufio"
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/rolling-swarm/rolling/manager/api/apitest"
	"github.com/rolling-swarm/rolling/manager/engine"
)

// listen opens a stream and gives a function that reads the next event's lines.
func listen(t *testing.T, client *http.Client, path, lastEventID string) func() string {
	t.Helper()
	ctx, leave := context.WithCancel(t.Context())
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://rolling"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if lastEventID != "" {
		request.Header.Set("Last-Event-ID", lastEventID)
	}
	answer, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { leave(); answer.Body.Close() })
	describe(t).check(t, request, answer, nil)
	lines := bufio.NewScanner(answer.Body)
	return func() string {
		var event []string
		for lines.Scan() {
			switch line := lines.Text(); {
			case line == "" && len(event) > 0:
				return strings.Join(event, "\n")
			case line != "" && !strings.HasPrefix(line, ":") && !strings.HasPrefix(line, "retry:"):
				event = append(event, line)
			}
		}
		t.Fatalf("the stream ended: %v", lines.Err())
		return ""
	}
}

func TestEventsBeginWithTheNextOne(t *testing.T) {
	fake := new(apitest.Engine)
	apply(t, fake)
	next := listen(t, over(serveOn(t, fake, nil)), "/api/v1/events", "")
	fake.Tell(engine.Event{Type: "project.applied", Project: "orders", Text: "two"})
	fake.Tell(engine.Event{Type: "project.applied", Project: "orders", Text: "three\nlines"})
	for _, want := range []string{
		"id: 2\nevent: project.applied\ndata: {\"seq\":2,\"at\":\"2026-11-24T06:00:01Z\",\"type\":\"project.applied\",\"project\":\"orders\",\"text\":\"two\"}",
		"id: 3\nevent: project.applied\ndata: {\"seq\":3,\"at\":\"2026-11-24T06:00:01Z\",\"type\":\"project.applied\",\"project\":\"orders\",\"text\":\"three\\nlines\"}",
	} {
		if got := next(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func TestWhoComesBackGetsWhatHappenedMeanwhile(t *testing.T) {
	fake := new(apitest.Engine)
	for range 5 {
		fake.Tell(engine.Event{Type: "project.applied", Project: "orders"})
	}
	next := listen(t, over(serveOn(t, fake, nil)), "/api/v1/events", "3")
	for _, want := range []string{"id: 4\n", "id: 5\n"} {
		if got := next(); !strings.HasPrefix(got, want) {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestWhatIsTooOldIsSaidToBeMissing(t *testing.T) {
	fake := new(apitest.Engine)
	for range 9 {
		fake.Tell(engine.Event{Type: "project.applied", Project: "orders"})
	}
	fake.Forget(7)
	next := listen(t, over(serveOn(t, fake, nil)), "/api/v1/events?project=orders", "3")
	if got := next(); !strings.HasPrefix(got, "id: 7\nevent: events.missed\n") || !strings.Contains(got, "events 4 to 7 are too old to be kept") {
		t.Errorf("got %s", got)
	}
	if got := next(); !strings.HasPrefix(got, "id: 8\n") {
		t.Errorf("got %s", got)
	}
}

func TestEventsOfOthersAreLeftOut(t *testing.T) {
	fake := new(apitest.Engine)
	next := listen(t, over(serveOn(t, fake, nil)), "/api/v1/events?project=orders&environment=test", "0")
	for _, e := range []engine.Event{
		{Project: "gateway", Environment: "test"}, {Project: "orders", Environment: "production"}, {Project: "orders"}, {Project: "orders", Environment: "test", Text: "ours"},
	} {
		e.Type = "rollout.step"
		fake.Tell(e)
	}
	if got := next(); !strings.Contains(got, "ours") || strings.Contains(got, "missed") {
		t.Errorf("got %s", got)
	}
}

func TestAWatchBeginsWithTheRolloutsFirstEventAndEndsWithIt(t *testing.T) {
	fake := new(apitest.Engine)
	apply(t, fake)
	r, err := fake.Deploy(t.Context(), engine.Deploy{Project: "orders", Environment: "test", Release: "r-long"})
	if err != nil {
		t.Fatal(err)
	}
	client := over(serveOn(t, fake, nil))
	next := listen(t, client, "/api/v1/rollouts/"+string(r.ID)+"/events", "")
	for _, want := range []string{"event: rollout.started", "event: rollout.progress"} {
		if got := next(); !strings.Contains(got, want) {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if _, err := fake.Cancel(t.Context(), engine.Cancel{Rollout: r.ID}); err != nil {
		t.Fatal(err)
	}
	if got := next(); !strings.Contains(got, `"state":"cancelled"`) {
		t.Errorf("got %s", got)
	}
}
