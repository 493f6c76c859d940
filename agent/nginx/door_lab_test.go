//go:build lab

package nginx

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rolling-swarm/rolling/lab/parts"
	"github.com/rolling-swarm/rolling/lab/parts/alone"
)

// ask speaks to the agent's door by hand.
func ask(t *testing.T, n *alone.Part, method, token, body string, headers ...string) (int, string, string) {
	t.Helper()
	request, err := http.NewRequest(method, parts.NginxDoor(n.Site)+"/upstreams", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, strings.TrimSpace(string(text)), response.Header.Get("Rolling-Version")
}

func TestRealDoorRefusesWhatIsWrong(t *testing.T) {
	n := startNginx(t)
	good := `{"version":100,"by":"n1","upstreams":{"orders":[{"host":"127.0.0.1","port":80,"weight":1}],"none":[]}}`
	if status, text, version := ask(t, n, http.MethodPut, parts.NginxToken, good); status != http.StatusOK || version != "100" {
		t.Fatalf("a good set: %d %s %s", status, text, version)
	}
	peer := func(p string) string { return `{"version":200,"by":"n1","upstreams":{"orders":[` + p + `]}}` }
	for _, c := range []struct {
		name, body, want string
		status           int
	}{
		{"an older version", strings.Replace(good, "100", "99", 1), "not above 100", 409},
		{"the same version", good, "not above 100", 409},
		{"nothing", "", "no body", 400},
		{"no JSON", "upstreams", "no JSON object", 400},
		{"half of it", good[:40], "no JSON object", 400},
		{"a list", "[1,2]", "version", 400},
		{"no version", strings.Replace(good, `"version":100,`, "", 1), "version", 400},
		{"a version as text", strings.Replace(good, "100", `"200"`, 1), "version", 400},
		{"a version with a fraction", strings.Replace(good, "100", "200.5", 1), "version", 400},
		{"a version beyond whole numbers", strings.Replace(good, "100", "1e17", 1), "version", 400},
		{"no author", strings.Replace(good, `"by":"n1",`, "", 1), "by", 400},
		{"no upstreams", `{"version":200,"by":"n1"}`, "upstreams", 400},
		{"an upstream that is no list", `{"version":200,"by":"n1","upstreams":{"orders":{"host":"127.0.0.1"}}}`, "want a list", 400},
		{"upstreams as a list", `{"version":200,"by":"n1","upstreams":[[]]}`, "upstreams", 400},
		{"a peer that is a number", peer("7"), "orders[0]", 400},
		{"a host name", peer(`{"host":"web.example","port":80,"weight":1}`), "host", 400},
		{"an address that is none", peer(`{"host":"127.0.0.256","port":80,"weight":1}`), "host", 400},
		{"no host", peer(`{"port":80,"weight":1}`), "host", 400},
		{"a port that is none", peer(`{"host":"127.0.0.1","port":65536,"weight":1}`), "port", 400},
		{"no weight", peer(`{"host":"127.0.0.1","port":80}`), "weight", 400},
		{"a negative weight", peer(`{"host":"127.0.0.1","port":80,"weight":-1}`), "weight", 400},
		{"more than the door takes", strings.Repeat(" ", 3<<20) + good, "", 413},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, text, _ := ask(t, n, http.MethodPut, parts.NginxToken, c.body)
			if status != c.status || !strings.Contains(text, c.want) {
				t.Errorf("got %d %q, want %d %q", status, text, c.status, c.want)
			}
			if _, held, version := ask(t, n, http.MethodGet, parts.NginxToken, ""); held != good || version != "100" {
				t.Errorf("it now holds %s, version %s", held, version)
			}
		})
	}
	for _, c := range []struct{ method, token, want string }{
		{http.MethodGet, "", "401"}, {http.MethodPut, "wrong", "401"}, {http.MethodHead, parts.NginxToken + "x", "401"},
		{http.MethodDelete, parts.NginxToken, "405"}, {http.MethodPost, parts.NginxToken, "405"},
	} {
		if status, _, _ := ask(t, n, c.method, c.token, good); fmt.Sprint(status) != c.want {
			t.Errorf("%s with the token %q: %d, want %s", c.method, c.token, status, c.want)
		}
	}
}

// TestRealDoorWithoutATokenIsForThisMachine lets nginx believe that requests come from elsewhere by its own real_ip module.
func TestRealDoorWithoutATokenIsForThisMachine(t *testing.T) {
	n := alone.New(t, "nginx")
	plain := n.Prepare
	n.Prepare = func(ctx context.Context, s parts.Site) (parts.Program, error) {
		program, err := plain(ctx, s)
		file := filepath.Join(s.Folder, "nginx.conf")
		text, _ := os.ReadFile(file)
		changed := strings.Replace(string(text), `token = "`+parts.NginxToken+`",`, "", 1)
		changed = strings.Replace(changed, "location = /upstreams", "set_real_ip_from 127.0.0.0/8; real_ip_header From;\nlocation = /upstreams", 1)
		if err == nil {
			err = os.WriteFile(file, []byte(changed), 0o644)
		}
		return program, err
	}
	n.Start()
	for from, want := range map[string]int{"127.0.0.1": 200, "::1": 200, "10.0.0.9": 403, "192.168.127.1": 403} {
		if status, _, _ := ask(t, n, http.MethodGet, "", "", "From", from); status != want {
			t.Errorf("from %s: %d, want %d", from, status, want)
		}
	}
}

func TestRealDumpThatCannotBeWrittenIsSaid(t *testing.T) {
	n := startNginx(t)
	blocked := filepath.Join(n.Site.Folder, "upstreams.json.new")
	if err := os.Mkdir(blocked, 0o755); err != nil {
		t.Fatal(err)
	}
	a := startBackend(t)
	f := start(t, parts.NginxToken, parts.NginxDoor(n.Site))
	f.Set(decision("n1", a.Peer))
	eventually(t, "in force and said", func() bool {
		s := f.Standing()[0]
		return s.InStep && strings.Contains(s.Error, "cannot keep them on disk")
	})
	if status, _, err := get(n); status != http.StatusOK {
		t.Errorf("%d %v", status, err)
	}
	if err := os.Remove(blocked); err != nil {
		t.Fatal(err)
	}
	f.Set(decision("n1", a.Peer))
	eventually(t, "the error goes", func() bool { return f.Standing()[0].Error == "" })
}
