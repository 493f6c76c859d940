package driver

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/internal/socket"
	"github.com/rolling-swarm/rolling/logdriver/carrier"
	"github.com/rolling-swarm/rolling/logdriver/route"
)

// book notes what the door asks for.
type book struct {
	started route.Container
	file    string
	stopped []string
	asked   carrier.Question
	refuse  error
	wait    bool
}

func (b *book) Start(file string, c route.Container) error {
	b.file, b.started = file, c
	return b.refuse
}

func (b *book) Stop(file string) { b.stopped = append(b.stopped, file) }

func (b *book) Read(ctx context.Context, _ string, q carrier.Question, emit func([]byte) error, flush func()) error {
	b.asked = q
	if err := emit([]byte("frame")); err != nil {
		return err
	}
	flush()
	if b.wait {
		<-ctx.Done()
	}
	return ctx.Err()
}

func ask(t *testing.T, h http.Handler, path, body string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, path, strings.NewReader(body)))
	return w.Code, strings.TrimSpace(w.Body.String())
}

const container = `{"Config":{"topic":"t"},"ContainerID":"abc","ContainerName":"/web","ContainerImageName":"img","ContainerEnv":["A=secret"],"ContainerLabels":{"l":"v"}}`

func TestTheProtocol(t *testing.T) {
	for name, c := range map[string]struct {
		refuse     error
		path, body string
		status     int
		answer     string
	}{
		"activate":                         {nil, "/Plugin.Activate", "", 200, `{"Implements":["LogDriver"]}`},
		"capabilities, as the code has it": {nil, "/LogDriver.Capabilities", "", 200, `{"Cap":{"ReadLogs":true},"Err":""}`},
		"start":                            {nil, "/LogDriver.StartLogging", `{"File":"/run/docker/logging/f","Info":` + container + `}`, 200, `{"Err":""}`},
		"a refused start":                  {errors.New("log options: bad"), "/LogDriver.StartLogging", `{"File":"/run/docker/logging/f","Info":` + container + `}`, 200, `{"Err":"rolling/log: log options: bad"}`},
		"start without a container":        {nil, "/LogDriver.StartLogging", `{"File":"/f","Info":{}}`, 200, `{"Err":"rolling/log: start logging of container \"\" from \"/f\": want a container's ID and an absolute path"}`},
		"start of a container that climbs": {nil, "/LogDriver.StartLogging", `{"File":"/f","Info":{"ContainerID":"../x"}}`, 200, `{"Err":"rolling/log: start logging of container \"../x\" from \"/f\": want a container's ID and an absolute path"}`},
		"stop":                             {nil, "/LogDriver.StopLogging", `{"File":"/f"}`, 200, `{"Err":""}`},
		"no call":                          {nil, "/LogDriver.Sing", "", 404, `{"Err":"/LogDriver.Sing is not a call of the log driver protocol"}`},
		"no JSON":                          {nil, "/LogDriver.StartLogging", "{", 200, `{"Err":"rolling/log: the request is not the JSON that the protocol names: unexpected EOF"}`},
		"read":                             {nil, "/LogDriver.ReadLogs", `{"Info":{"ContainerID":"abc"},"Config":{"Since":"0001-01-01T00:00:00Z","Until":"0001-01-01T00:00:00Z","Tail":-1,"Follow":false}}`, 200, "frame"},
	} {
		t.Run(name, func(t *testing.T) {
			b := &book{refuse: c.refuse}
			status, answer := ask(t, New(b, slog.New(slog.DiscardHandler)).Mux(), c.path, c.body)
			if status != c.status || answer != c.answer {
				t.Fatalf("got %d %s", status, answer)
			}
		})
	}
}

func TestWhatStartSays(t *testing.T) {
	b := &book{}
	ask(t, New(b, slog.New(slog.DiscardHandler)).Mux(), "/LogDriver.StartLogging", `{"File":"/run/docker/logging/f","Info":`+container+`}`)
	if b.file != "/run/docker/logging/f" || b.started.ID != "abc" || b.started.Options["topic"] != "t" || b.started.Labels["l"] != "v" || len(b.started.Env) != 1 {
		t.Fatalf("got %q %+v", b.file, b.started)
	}
}

func TestARequestWithoutEndIsCutOff(t *testing.T) {
	status, answer := ask(t, New(&book{}, slog.New(slog.DiscardHandler)).Mux(), "/LogDriver.StartLogging", `{"File":"`+strings.Repeat("x", largestBody)+`"}`)
	if status != 200 || !strings.Contains(answer, "larger than") {
		t.Fatalf("got %d %.100s", status, answer)
	}
}

// TestAFollowerIsServedLongerThanARequestMayTake: a server's bound on reading would end it.
func TestAFollowerIsServedLongerThanARequestMayTake(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := socket.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	b := &book{wait: true}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- Serve(ctx, l, New(b, slog.New(slog.DiscardHandler)).Mux()) }()
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}}
	resp, err := client.Post("http://x/LogDriver.ReadLogs", "", strings.NewReader(`{"Info":{"ContainerID":"abc"},"Config":{"Tail":-1,"Follow":true}}`))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	got := make([]byte, 5)
	if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != "frame" { // it was flushed
		t.Fatalf("got %q, %v", got, err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := resp.Body.Read(got)
		ended <- err
	}()
	select {
	case err := <-ended:
		t.Fatalf("the follower was cut off: %v", err)
	case <-time.After(readWithin + 300*time.Millisecond):
	}
	cancel()
	<-ended // the plugin ends: so does the follower
	if err := <-served; err != nil {
		t.Fatal(err)
	}
}

func TestReadiness(t *testing.T) {
	for name, c := range map[string]struct {
		kafka  KafkaSight
		status int
		answer string
	}{
		"no brokers are set": {KafkaSight{}, 200, "ready: no brokers are set (ROLLING_KAFKA_BROKERS): lines stay in the spool, docker logs works"},
		"all is well":        {KafkaSight{Brokers: []string{"k:9092"}}, 200, "ready"},
		"a fault and a topic": {KafkaSight{Brokers: []string{"k:9092"}, Fault: "refused", Parked: map[string]string{"t": "missing"}}, 503,
			"not ready: lines stay in the spool: kafka: refused; topic t: missing"},
	} {
		t.Run(name, func(t *testing.T) {
			pages := New(&book{}, slog.New(slog.DiscardHandler)).Status(func() Sight {
				return Sight{Kafka: c.kafka, Carrier: carrier.Picture{Read: 3, Dropped: map[string]uint64{"spool-full": 2}}}
			})
			get := func(path string) (int, string) {
				w := httptest.NewRecorder()
				pages.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
				return w.Code, strings.TrimSpace(w.Body.String())
			}
			if status, answer := get("/readyz"); status != c.status || answer != c.answer {
				t.Fatalf("got %d %s", status, answer)
			}
			if status, answer := get("/metrics"); status != 200 || !strings.Contains(answer, "rolling_log_lines_read_total 3") || !strings.Contains(answer, `rolling_log_lines_dropped_total{reason="spool-full"} 2`) {
				t.Fatalf("got %d %s", status, answer)
			}
		})
	}
}
