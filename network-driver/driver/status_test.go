package driver_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/rolling-swarm/rolling/network-driver/driver"
)

func TestStatusPages(t *testing.T) {
	good := driver.Picture{Ready: true, State: map[string]int{"n": 1}, Problems: map[string]string{"routes": "no way"}, Figures: []driver.Figure{
		{Name: "rolling_net_neighbour_up", Help: "h", Value: 1, Label: "neighbour", Of: "10.98.0.21"},
		{Name: "rolling_net_joins_total", Help: "h", Counter: true, Value: 3},
	}}
	for _, c := range []struct {
		name, path string
		picture    driver.Picture
		err        error
		status     int
		want       []string
	}{
		{"alive", "/healthz", good, errors.New("busy"), 200, []string{"ok"}},
		{"ready, with a problem shown", "/readyz", good, nil, 200, []string{"ready", "but routes: no way"}},
		{"not ready, and why", "/readyz", driver.Picture{Refused: "a newer plugin wrote it"}, nil, 503, []string{"not ready: a newer plugin wrote it"}},
		{"not ready while busy", "/readyz", good, errors.New("busy"), 503, []string{"busy"}},
		{"state as JSON", "/debug/state", good, nil, 200, []string{`"n": 1`}},
		{"no state while busy", "/debug/state", good, errors.New("busy"), 503, []string{"busy"}},
		{"metrics", "/metrics", good, nil, 200, []string{`rolling_net_neighbour_up{neighbour="10.98.0.21"} 1`, "# TYPE rolling_net_joins_total counter", "rolling_net_joins_total 3", "process_resident_memory_bytes"}},
		{"metrics say so when they cannot be told", "/metrics", good, errors.New("busy"), 500, []string{"busy"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			look := func(context.Context) (driver.Picture, error) { return c.picture, c.err }
			driver.Status(look).ServeHTTP(w, httptest.NewRequest(http.MethodGet, c.path, nil))
			if w.Code != c.status {
				t.Errorf("status %d, want %d: %s", w.Code, c.status, w.Body)
			}
			for _, want := range c.want {
				if !strings.Contains(w.Body.String(), want) {
					t.Errorf("%s\nlacks %q", w.Body, want)
				}
			}
		})
	}
}
