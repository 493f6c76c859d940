package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

func instance(t *testing.T, host string, log io.Writer) *httptest.Server {
	t.Helper()
	config := Config{Hostname: host, Release: "r7", PeerTimeout: time.Second}
	s := httptest.NewServer(routes(config, slog.New(slog.NewJSONHandler(log, nil))))
	t.Cleanup(s.Close)
	return s
}

func fetch(t *testing.T, target string) (int, string) {
	t.Helper()
	resp, err := http.Get(target)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestAnInstanceSaysWhoItIsAndWhoAsked(t *testing.T) {
	s := instance(t, "c1", io.Discard)
	code, body := fetch(t, s.URL+"/")
	var got Answer
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	want := Answer{Service: "orders/web", Hostname: "c1", Address: "127.0.0.1", Remote: "127.0.0.1", Release: "r7"}
	if code != http.StatusOK || got != want {
		t.Errorf("got %d %+v, want %+v", code, got, want)
	}
}

func TestPeerPassesOn(t *testing.T) {
	a, b := instance(t, "a", io.Discard), instance(t, "b", io.Discard)
	closed := httptest.NewServer(nil)
	closed.Close()
	for _, c := range []struct {
		name, target string
		code         int
		body         string
	}{
		{"another instance's answer", b.URL + "/", http.StatusOK, `"hostname":"b"`},
		{"a refusal of what is no http address", "ftp://x/", http.StatusBadRequest, "want http://"},
		{"a refusal of no address at all", "", http.StatusBadRequest, "want http://"},
		{"that nobody answers there", closed.URL, http.StatusBadGateway, "connection refused"},
		{"that the other answers with an error", b.URL + "/nothing", http.StatusBadGateway, "404"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, body := fetch(t, a.URL+"/peer?url="+url.QueryEscape(c.target))
			if code != c.code || !strings.Contains(body, c.body) {
				t.Errorf("got %d %s, want %d with %s", code, body, c.code, c.body)
			}
		})
	}
}

func TestALogLineIsOneJSONObjectAndHealthChecksAreQuiet(t *testing.T) {
	var log bytes.Buffer
	s := instance(t, "c1", &log)
	fetch(t, s.URL+"/healthz")
	fetch(t, s.URL+"/nothing")
	var line struct {
		Msg, Path, Remote string
		Status            int
	}
	if err := json.Unmarshal(log.Bytes(), &line); err != nil {
		t.Fatalf("%v: %s", err, log.String())
	}
	if line.Msg != "request" || line.Path != "/nothing" || line.Status != http.StatusNotFound || line.Remote != "127.0.0.1" {
		t.Errorf("got %+v", line)
	}
}

// TestStoppingDrains starts a slow request, sends the stop, and wants the request answered and new ones refused.
func TestStoppingDrains(t *testing.T) {
	release, asked := make(chan struct{}), make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(asked)
		<-release
		_, _ = io.WriteString(w, "late")
	}))
	defer slow.Close()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	config := Config{Listen: free.Addr().String(), Drain: 10 * time.Second, PeerTimeout: 10 * time.Second}
	free.Close()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, config, slog.New(slog.DiscardHandler)) }()
	for deadline := time.Now().Add(10 * time.Second); probe(ctx, config) != nil; {
		if time.Now().After(deadline) {
			t.Fatal("the service never became healthy")
		}
	}
	got := make(chan string, 1)
	go func() {
		body, err := get(context.Background(), "http://"+config.Listen+"/peer?url="+url.QueryEscape(slow.URL))
		if err != nil {
			got <- err.Error()
			return
		}
		got <- string(body)
	}()
	<-asked
	stop()
	for deadline := time.Now().Add(10 * time.Second); ; {
		c, err := net.Dial("tcp", config.Listen)
		if err != nil {
			break
		}
		c.Close()
		if time.Now().After(deadline) {
			t.Fatal("new connections are still taken")
		}
	}
	close(release)
	if body := <-got; body != "late" {
		t.Errorf("the request under way got %q, want its answer", body)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestASettingThatCannotWorkIsNamed(t *testing.T) {
	err := Config{Listen: "8080", Drain: -1, PeerTimeout: 0}.Validate()
	for _, want := range []string{"LISTEN", "DRAIN", "PEER_TIMEOUT"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %s", err, want)
		}
	}
}
