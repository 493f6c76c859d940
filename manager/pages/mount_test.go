package pages_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/manager/api"
	"github.com/rolling-swarm/rolling/manager/api/apitest"
	"github.com/rolling-swarm/rolling/manager/pages"
	"github.com/rolling-swarm/rolling/manager/pages/pagestest"
)

// TestPagesBesideTheAPI serves both as the manager does, and looks that neither changes the other's answers.
func TestPagesBesideTheAPI(t *testing.T) {
	world := pagestest.Sample(noon)
	shown, err := pages.New(world.Parts())
	if err != nil {
		t.Fatal(err)
	}
	parts := new(apitest.Engine).Parts()
	parts.Pages = shown
	door, err := api.New(parts)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(method, path string, set map[string]string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, path, nil)
		r.Host = "127.0.0.1:2400"
		r.Header.Set("Accept", "text/html,*/*")
		for k, v := range set {
			r.Header.Set(k, v)
		}
		if r.Host = "127.0.0.1:2400"; set["Host"] != "" {
			r.Host = set["Host"]
		}
		w := httptest.NewRecorder()
		door.ServeHTTP(w, r)
		return w
	}
	for name, c := range map[string]struct {
		method, path string
		set          map[string]string
		status       int
		media        string
	}{
		"the board":                           {"GET", "/", nil, 200, "text/html"},
		"its head":                            {"HEAD", "/", nil, 200, "text/html"},
		"a list of the API":                   {"GET", "/api/v1/projects", nil, 200, "application/json"},
		"nothing of the API":                  {"GET", "/api/v1/nope", nil, 404, "application/problem+json"},
		"nothing for a person":                {"GET", "/nope", nil, 404, "text/html"},
		"nothing for a program":               {"GET", "/nope", map[string]string{"Accept": "application/json"}, 404, "application/problem+json"},
		"what the API does not do":            {"DELETE", "/api/v1/projects", nil, 405, "application/problem+json"},
		"health":                              {"GET", "/healthz", nil, 200, "application/json"},
		"a name that leads here by a trick":   {"GET", "/", map[string]string{"Host": "rebound.example"}, 421, "application/problem+json"},
		"a form of another origin":            {"POST", "/rollouts/ro90/cancel", map[string]string{"Origin": "http://127.0.0.1:9999", "Sec-Fetch-Site": "same-site"}, 403, "application/problem+json"},
		"a form of no page":                   {"POST", "/rollouts/ro90/cancel", nil, 403, "text/html"},
		"an asset that is not there any more": {"GET", "/assets/style.000000000000.css", map[string]string{"Accept": "text/css"}, 404, "application/problem+json"},
	} {
		t.Run(name, func(t *testing.T) {
			got := ask(c.method, c.path, c.set)
			if got.Code != c.status || !strings.HasPrefix(got.Header().Get("Content-Type"), c.media) {
				t.Errorf("%d %q, want %d %s\n%.300s", got.Code, got.Header().Get("Content-Type"), c.status, c.media, got.Body)
			}
		})
	}
	if len(world.Acts()) != 0 {
		t.Errorf("something was done: %v", world.Acts())
	}
}

// TestStreamsEndWithTheManager: a page that is open does not hold the manager up.
func TestStreamsEndWithTheManager(t *testing.T) {
	shown, err := pages.New(pagestest.Sample(noon).Parts())
	if err != nil {
		t.Fatal(err)
	}
	parts := new(apitest.Engine).Parts()
	parts.Pages = shown
	door, err := api.New(parts)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- door.Serve(ctx, []net.Listener{l}) }()
	answer, err := http.Get("http://" + l.Addr().String() + "/live?page=/&seen=")
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatal(answer, err)
	}
	defer answer.Body.Close()
	stop()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(9 * time.Second):
		t.Error("the manager waits for a page")
	}
}
