package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rolling-swarm/rolling/manager/api"
	"github.com/rolling-swarm/rolling/manager/api/apitest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// serveOn serves the fake engine on a unix socket until the test ends.
func serveOn(t *testing.T, fake *apitest.Engine, change func(*api.Parts)) (socket string) {
	t.Helper()
	folder, err := os.MkdirTemp("", "rolling-api-") // t.TempDir's path may be longer than a socket's may be
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	socket = filepath.Join(folder, "s")
	serveAt(t, fake, change, api.Address{Network: "unix", Path: socket})
	return socket
}

func serveAt(t *testing.T, fake *apitest.Engine, change func(*api.Parts), at ...api.Address) []net.Listener {
	t.Helper()
	parts := fake.Parts()
	if change != nil {
		change(&parts)
	}
	door, err := api.New(parts)
	if err != nil {
		t.Fatal(err)
	}
	listeners, err := api.Listen(at)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- door.Serve(ctx, listeners) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return listeners
}

func over(socket string) *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
}

// exchange is one request and its answer in a golden file: "> METHOD PATH", headers, an empty line, the body; then
// "< STATUS", headers, an empty line, the body. A body "@FILE" is that project file, as apply wants it.
type exchange struct{ request, answer string }

func readExchanges(t *testing.T, path string) []exchange {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var all []exchange
	for _, part := range strings.Split("\n"+string(text), "\n> ")[1:] {
		request, answer, _ := strings.Cut(part, "\n< ")
		all = append(all, exchange{strings.TrimSpace(request), strings.TrimSpace(answer)})
	}
	if len(all) == 0 {
		t.Fatalf("%s holds no request", path)
	}
	return all
}

func (x exchange) send(t *testing.T, client *http.Client) (*http.Request, *http.Response, []byte) {
	t.Helper()
	head, body, _ := strings.Cut(x.request, "\n\n")
	lines := strings.Split(head, "\n")
	method, path, _ := strings.Cut(lines[0], " ")
	if name, ok := strings.CutPrefix(body, "@"); ok {
		text, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		file, err := json.Marshal(api.File{FileName: "rolling.yml", File: string(text), Files: map[string][]byte{"prices.conf": []byte("1 2\n")}})
		if err != nil {
			t.Fatal(err)
		}
		body = string(file)
	}
	request, err := http.NewRequestWithContext(t.Context(), method, "http://rolling"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-Request-ID", "test")
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ": ")
		request.Header.Set(name, value)
	}
	answer, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return request, answer, text
}

func render(answer *http.Response, body []byte) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d\n", answer.StatusCode)
	var headers []string
	for name, values := range answer.Header {
		if !slices.Contains([]string{"Date", "Content-Length", "Transfer-Encoding"}, name) {
			headers = append(headers, name+": "+strings.Join(values, ", "))
		}
	}
	slices.Sort(headers)
	b.WriteString(strings.Join(headers, "\n"))
	var pretty bytes.Buffer
	if json.Indent(&pretty, body, "", "  ") == nil {
		body = pretty.Bytes()
	}
	if len(body) > 0 {
		b.WriteString("\n\n" + strings.TrimSpace(string(body)))
	}
	return b.String()
}

// TestAnswers plays every file of testdata/http against a server of its own. Each answer is compared, and checked against
// the served OpenAPI document besides; together the files call every operation with success.
func TestAnswers(t *testing.T) {
	files, err := filepath.Glob("testdata/http/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	described := describe(t)
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			client := over(serveOn(t, new(apitest.Engine), nil))
			var written strings.Builder
			for i, x := range readExchanges(t, path) {
				request, answer, body := x.send(t, client)
				described.check(t, request, answer, body)
				got := render(answer, body)
				if got != x.answer && !*update {
					t.Errorf("exchange %d, %s:\n got < %s\nwant < %s", i+1, strings.SplitN(x.request, "\n", 2)[0], got, x.answer)
				}
				fmt.Fprintf(&written, "> %s\n\n< %s\n\n", x.request, got)
			}
			if *update {
				if err := os.WriteFile(path, []byte(strings.TrimRight(written.String(), "\n")+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
	// These have no end or say what differs from machine to machine; tests of their own call them.
	elsewhere := []string{"GET /api/v1/events", "GET /api/v1/openapi.json", "GET /metrics", "GET /version"}
	for _, operation := range described.unused() {
		if slices.Contains(elsewhere, operation) {
			continue
		}
		t.Errorf("no golden file calls %s with success", operation)
	}
}
