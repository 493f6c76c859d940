package meter

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rolling-swarm/rolling/internal/wire"
)

// plugin answers /recent on a socket of its own.
func plugin(t *testing.T, status int, body string) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "m.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/recent" {
			status = http.StatusNotFound
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}))
	s.Listener = listener
	s.Start()
	t.Cleanup(s.Close)
	return socket
}

const recent = `{"intervalSeconds":10,"end":"2026-11-24T06:00:00Z","containers":[
 {"container":"aa","task":"one","cpuCores":[null,0.5],"memoryBytes":[1,2]},
 {"container":"bb","task":"","cpuCores":[1],"memoryBytes":[1]},
 {"container":"cc","task":"two","cpuCores":[],"memoryBytes":[]}]}`

func TestSamplesAreThoseOfTheTasksThatWereAskedFor(t *testing.T) {
	got, err := New(plugin(t, http.StatusOK, recent)).Samples(t.Context(), []string{"one", "three", ""})
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"intervalSeconds":10,"end":"2026-11-24T06:00:00Z","tasks":{"one":{"cpuCores":[null,0.5],"memoryBytes":[1,2]}}}`
	if string(text) != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
}

func TestTheOldestSamplesGoFirst(t *testing.T) {
	many := strings.Repeat("0,", wire.MaxSamples) + "7"
	got, err := New(plugin(t, http.StatusOK, `{"containers":[{"task":"one","cpuCores":[`+many+`],"memoryBytes":[]}]}`)).Samples(t.Context(), []string{"one"})
	if err != nil {
		t.Fatal(err)
	}
	if cpu := got.Tasks["one"].CPUCores; len(cpu) != wire.MaxSamples || *cpu[len(cpu)-1] != 7 {
		t.Errorf("%d samples", len(cpu))
	}
}

func TestWhatCannotBeReadIsSaid(t *testing.T) {
	for _, row := range []struct{ name, socket, says string }{
		{"no plugin", filepath.Join(t.TempDir(), "none"), "this node has no metrics plugin"},
		{"a plugin that does not measure yet", plugin(t, http.StatusServiceUnavailable, ""), "503"},
		{"no JSON", plugin(t, http.StatusOK, "<html>"), "read the metrics plugin's recent measurements"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if _, err := New(row.socket).Samples(t.Context(), []string{"one"}); err == nil || !strings.Contains(err.Error(), row.says) {
				t.Errorf("got %v, want it to say %q", err, row.says)
			}
		})
	}
}
