package nginx

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/agent/member"
)

// door is rolling.lua's door, faked at the wire.
type door struct {
	mu       sync.Mutex
	stamp    member.Stamp // guarded by mu, as all below
	body     []byte
	puts     int
	status   int // answered instead, if not 0
	undumped string
	token    string
}

func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	status := http.StatusOK
	switch {
	case d.token != "" && r.Header.Get("Authorization") != "Bearer "+d.token:
		status = http.StatusUnauthorized
	case d.status != 0:
		status = d.status
	case r.Method == http.MethodPut:
		d.puts++
		var doc document
		if err := json.Unmarshal(body, &doc); err != nil {
			status = http.StatusBadRequest
		} else if doc.Version <= d.stamp.Version {
			status = http.StatusConflict
		} else {
			d.stamp, d.body = doc.Stamp, body
		}
	}
	w.Header().Set("Rolling-Version", fmt.Sprint(d.stamp.Version))
	w.Header().Set("Rolling-By", d.stamp.By)
	if d.undumped != "" {
		w.Header().Set("Rolling-Dump", d.undumped)
	}
	w.WriteHeader(status)
	_, _ = fmt.Fprintln(w, "as told")
}

func (d *door) change(f func(*door)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f(d)
}

func (d *door) holds() (member.Stamp, string, int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stamp, string(d.body), d.puts
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

func start(t *testing.T, token string, addresses ...string) *Fleet {
	t.Helper()
	f, err := New(addresses, token, quiet())
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = f.Run(t.Context()) }()
	t.Cleanup(func() { <-done })
	return f
}

func decision(by string, peers ...member.Peer) member.Decision {
	return member.Decision{By: by, At: time.Now(), Set: member.Set{Upstreams: map[string][]member.Peer{"orders": peers}}}
}

func one(host string) member.Peer { return member.Peer{Host: host, Port: 80, Weight: 10} }

func inStep(f *Fleet) func() bool {
	return func() bool {
		for _, s := range f.Standing() {
			if !s.InStep {
				return false
			}
		}
		return true
	}
}

func TestADecisionReachesEveryNginxAndIsPushedOnce(t *testing.T) {
	var a, b door
	sa, sb := httptest.NewServer(&a), httptest.NewServer(&b)
	defer sa.Close()
	defer sb.Close()
	f := start(t, "", sa.URL, sb.URL)
	d := decision("n1", one("10.0.0.1"))
	d.Changed = d.At.Add(-time.Second)
	f.Set(d)
	eventually(t, "both in step", inStep(f))
	for _, x := range []*door{&a, &b} {
		stamp, body, puts := x.holds()
		want := fmt.Sprintf(`{"version":%d,"by":"n1","upstreams":{"orders":[{"host":"10.0.0.1","port":80,"weight":10}]}}`, stamp.Version)
		if body != want || puts != 1 {
			t.Errorf("holds %s after %d pushes, want %s", body, puts, want)
		}
	}
	if s := f.Standing()[0]; s.Writes != 1 || s.Lag < time.Second || s.Error != "" {
		t.Errorf("standing %+v", s)
	}
}

func TestAnUpstreamWithoutMembersIsAnEmptyList(t *testing.T) {
	var d door
	s := httptest.NewServer(&d)
	defer s.Close()
	f := start(t, "", s.URL)
	f.Set(decision("n1"))
	eventually(t, "in step", inStep(f))
	if _, body, _ := d.holds(); !strings.Contains(body, `"orders":[]`) {
		t.Errorf("pushed %s", body)
	}
}

func TestAnNginxWithAnOldDumpIsBroughtUpToDate(t *testing.T) {
	var d door
	s := httptest.NewServer(&d)
	defer s.Close()
	f := start(t, "", s.URL)
	f.Set(decision("n1", one("10.0.0.1")))
	eventually(t, "in step", inStep(f))
	stamp, _, _ := d.holds()
	d.change(func(d *door) { d.stamp = member.Stamp{Version: 5, By: "n9"} })
	eventually(t, "pushed again", func() bool { now, _, puts := d.holds(); return now == stamp && puts == 2 })
}

func TestAVersionFromTheFutureIsSurpassedByAFreshDecision(t *testing.T) {
	d := door{stamp: member.Stamp{Version: time.Now().Add(time.Hour).UnixMicro(), By: "n2"}}
	s := httptest.NewServer(&d)
	defer s.Close()
	f := start(t, "", s.URL)
	f.Set(decision("n1", one("10.0.0.1")))
	eventually(t, "ours is in force", func() bool { stamp, _, _ := d.holds(); return stamp.By == "n1" })
}

func TestAnOvertakenAgentYields(t *testing.T) {
	var d door
	s := httptest.NewServer(&d)
	defer s.Close()
	f := start(t, "", s.URL)
	old := decision("n1", one("10.0.0.1"))
	old.At = old.At.Add(-time.Minute) // decided long ago: whoever is newer is right
	f.Set(old)
	eventually(t, "in step", inStep(f))
	newer := member.Stamp{Version: time.Now().UnixMicro(), By: "n2"}
	d.change(func(d *door) { d.stamp = newer })
	eventually(t, "it is seen", func() bool { return strings.Contains(f.Standing()[0].Error, "agent of n2") })
	if stamp, _, puts := d.holds(); stamp != newer || puts != 1 {
		t.Errorf("holds %v after %d pushes", stamp, puts)
	}
}

func TestFailuresAreShownAndMended(t *testing.T) {
	for _, c := range []struct {
		name        string
		break_, fix func(*door)
		want        string
	}{
		{"it is ill", func(d *door) { d.status = 500 }, func(d *door) { d.status = 0 }, "500"},
		{"it is another program", func(d *door) { d.status = 404 }, func(d *door) { d.status = 0 }, "no door of rolling.lua"},
		{"it knows another token", func(d *door) { d.token = "x" }, func(d *door) { d.token = "secret" }, "check the token"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var d door
			d.change(c.break_)
			s := httptest.NewServer(&d)
			defer s.Close()
			f := start(t, "secret", s.URL)
			f.Set(decision("n1", one("10.0.0.1")))
			eventually(t, "the failure is shown", func() bool { return strings.Contains(f.Standing()[0].Error, c.want) })
			d.change(c.fix)
			eventually(t, "in step", inStep(f))
			if s := f.Standing()[0]; s.Error != "" || s.Failures == 0 {
				t.Errorf("standing %+v", s)
			}
		})
	}
}

func TestMembersInForceButNotOnDiskAreShownAsSuch(t *testing.T) {
	d := door{undumped: "No space left on device"}
	s := httptest.NewServer(&d)
	defer s.Close()
	f := start(t, "", s.URL)
	f.Set(decision("n1", one("10.0.0.1")))
	eventually(t, "in step, with an error", func() bool {
		s := f.Standing()[0]
		return s.InStep && strings.Contains(s.Error, "No space left")
	})
	d.change(func(d *door) { d.undumped = "" })
	eventually(t, "the error goes", func() bool { return f.Standing()[0].Error == "" })
}

func TestOneThatIsAwayDelaysNoOtherAndGetsTheNewestSet(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and never answers
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(t.TempDir(), "nginx.sock") // nobody listens yet
	var near, late door
	s := httptest.NewServer(&near)
	defer s.Close()
	f := start(t, "", "http://"+silent.Addr().String(), "unix:"+socket, s.URL)
	f.Set(decision("n1", one("10.0.0.1")))
	eventually(t, "the third is in step", func() bool { return f.Standing()[2].InStep })
	f.Set(decision("n1", one("10.0.0.2")))
	eventually(t, "the third has the second set", func() bool { _, body, _ := near.holds(); return strings.Contains(body, "10.0.0.2") })
	_ = silent.Close()

	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: &late}
	go func() { _ = server.Serve(listener) }()
	defer func() { _ = server.Close() }()
	eventually(t, "the one that came back is in step", func() bool { return f.Standing()[1].InStep })
	if _, body, _ := late.holds(); !strings.Contains(body, "10.0.0.2") {
		t.Errorf("it got %s", body)
	}
}

func TestATermEndsWithItsDecision(t *testing.T) {
	var d door
	s := httptest.NewServer(&d)
	defer s.Close()
	f, err := New([]string{s.URL}, "", quiet())
	if err != nil {
		t.Fatal(err)
	}
	f.Set(decision("n1", one("10.0.0.1")))
	ended, end := context.WithCancel(t.Context())
	end()
	_ = f.Run(ended)
	if f.targets[0].wanted != nil {
		t.Error("the decision outlived the term")
	}
}

func TestCheck(t *testing.T) {
	for _, c := range []struct{ address, token, want string }{
		{"http://127.0.0.1:8082", "", ""},
		{"http://[::1]:8082/members", "", ""},
		{"unix:/run/nginx.sock", "", ""},
		{"http://10.0.0.5:8082", "secret", ""},
		{"https://nginx.example:8443", "secret", ""},
		{"http://10.0.0.5:8082", "", "a token is needed"},
		{"10.0.0.5:8082", "secret", "want http://HOST:PORT"},
		{"ftp://10.0.0.5", "secret", "want http://HOST:PORT"},
		{"unix:run/nginx.sock", "", "want unix:/PATH"},
		{"http://u:p@10.0.0.5", "secret", "want http://HOST:PORT"},
		{"", "", "want http://HOST:PORT"},
	} {
		err := Check([]string{c.address}, c.token)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%q: got %v, want %q", c.address, err, c.want)
		}
	}
	err := Check([]string{"a", "http://10.0.0.5"}, "")
	if err == nil || !strings.Contains(err.Error(), `"a"`) || !strings.Contains(err.Error(), "10.0.0.5") {
		t.Errorf("want both problems at once, got %v", err)
	}
}
