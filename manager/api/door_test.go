package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rolling-swarm/rolling/manager/api"
	"github.com/rolling-swarm/rolling/manager/api/apitest"
	"github.com/rolling-swarm/rolling/manager/engine"
	"github.com/rolling-swarm/rolling/manager/project"
)

// ask sends a request and gives the status and the problem's code, if it is one.
func ask(t *testing.T, client *http.Client, method, url, body string, headers ...string) (int, api.Problem, http.Header) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			request.Host = headers[i+1]
		}
		request.Header.Set(headers[i], headers[i+1])
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
	var p api.Problem
	if strings.HasPrefix(answer.Header.Get("Content-Type"), "application/problem+json") {
		if err := json.Unmarshal(text, &p); err != nil {
			t.Fatalf("%v in %s", err, text)
		}
	}
	return answer.StatusCode, p, answer.Header
}

func TestLoopbackAnswersThisMachineAlone(t *testing.T) {
	at := serveAt(t, new(apitest.Engine), nil, api.Address{Network: "tcp", Path: "127.0.0.1:0"})[0].Addr().String()
	_, port, _ := strings.Cut(at, ":")
	for _, row := range []struct {
		name, method string
		headers      []string
		want         int
		code         api.Code
	}{
		{"by address", "GET", nil, 200, ""},
		{"by localhost", "GET", []string{"Host", "localhost:" + port}, 200, ""},
		{"by IPv6", "GET", []string{"Host", "[::1]"}, 200, ""},
		{"by a name that was made to mean 127.0.0.1", "GET", []string{"Host", "evil.example:" + port}, 421, api.CodeForbiddenHost},
		{"by a name that only looks like localhost", "GET", []string{"Host", "localhost.evil.example"}, 421, api.CodeForbiddenHost},
		{"a page elsewhere that posts", "POST", []string{"Origin", "http://evil.example", "Content-Type", "text/plain"}, 403, api.CodeCrossOrigin},
		{"a page elsewhere that posts, told by the browser", "POST", []string{"Sec-Fetch-Site", "cross-site"}, 403, api.CodeCrossOrigin},
	} {
		status, p, header := ask(t, http.DefaultClient, row.method, "http://"+at+"/api/v1/rollouts", "", row.headers...)
		if status != row.want && (row.want != 200 || status >= 400) || p.Code != row.code {
			t.Errorf("%s: %d %q, want %d %q", row.name, status, p.Code, row.want, row.code)
		}
		if header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: a page elsewhere may read the answer", row.name)
		}
	}
}

func TestOnTheSocketTheKernelSaysWhoAsks(t *testing.T) {
	spy := &callers{Engine: new(apitest.Engine)}
	client := over(serveOn(t, spy.Engine, func(p *api.Parts) { p.Deployments = spy }))
	status, p, _ := ask(t, client, "POST", "http://any.name.will.do/api/v1/rollouts", `{"project":"orders","environment":"test","release":"r-1"}`)
	if status != http.StatusForbidden && status != http.StatusNotFound {
		t.Fatalf("%d %v", status, p)
	}
	if spy.by == "" || spy.by == "loopback" {
		t.Errorf("by %q, want the user who runs the test", spy.by)
	}
}

type callers struct {
	*apitest.Engine
	by string
}

func (c *callers) Deploy(ctx context.Context, o engine.Deploy) (engine.Rollout, error) {
	c.by = o.By
	return c.Engine.Deploy(ctx, o)
}

func TestBodiesAreBounded(t *testing.T) {
	client := over(serveOn(t, new(apitest.Engine), nil))
	for _, row := range []struct {
		name, method, path string
		size               int
		want               int
	}{
		{"a small request", "POST", "/api/v1/rollouts", 100 << 10, 400},
		{"a request larger than any can be", "POST", "/api/v1/rollouts", 300 << 10, 413},
		{"a project with its files", "PUT", "/api/v1/projects/orders", 15 << 20, 400},
		{"a project larger than Swarm can hold", "PUT", "/api/v1/projects/orders", 17 << 20, 413},
	} {
		status, p, _ := ask(t, client, row.method, "http://rolling"+row.path, strings.Repeat("x", row.size), "Content-Type", "application/json")
		if status != row.want {
			t.Errorf("%s: %d %v, want %d", row.name, status, p, row.want)
		}
		if len(p.Detail) > 1000 || len(fmt.Sprint(p.Problems)) > 1000 {
			t.Errorf("%s: the answer repeats the request", row.name)
		}
	}
}

func TestRequestIDs(t *testing.T) {
	client := over(serveOn(t, new(apitest.Engine), nil))
	_, p, header := ask(t, client, "GET", "http://rolling/api/v1/rollouts/ro1", "", "X-Request-ID", "build-7")
	if header.Get("X-Request-ID") != "build-7" || p.RequestID != "build-7" {
		t.Errorf("the client's id became %q, in the problem %q", header.Get("X-Request-ID"), p.RequestID)
	}
	_, p, header = ask(t, client, "GET", "http://rolling/api/v1/rollouts/ro1", "", "X-Request-ID", "a b\tc")
	if header.Get("X-Request-ID") == "" || strings.ContainsAny(header.Get("X-Request-ID"), " \t") || p.RequestID != header.Get("X-Request-ID") {
		t.Errorf("an id unfit for a log became %q, in the problem %q", header.Get("X-Request-ID"), p.RequestID)
	}
}

// TestManyWhoRepeatAtOnceMakeOneRelease lets ten clients send the same creating call at the same time.
func TestManyWhoRepeatAtOnceMakeOneRelease(t *testing.T) {
	fake := new(apitest.Engine)
	client := over(serveOn(t, fake, nil))
	apply(t, fake)
	statuses := make([]int, 10)
	var clients sync.WaitGroup
	for i := range statuses {
		clients.Go(func() {
			statuses[i], _, _ = ask(t, client, "POST", "http://rolling/api/v1/projects/orders/releases", `{"images":{"web":"registry.example/orders/web:1"}}`, "Idempotency-Key", "k", "Content-Type", "application/json")
		})
	}
	clients.Wait()
	made := 0
	for _, s := range statuses {
		if s == http.StatusCreated {
			made++
		} else if s != http.StatusConflict {
			t.Errorf("status %d, want 201, or 409 while the first is not answered", s)
		}
	}
	all, err := fake.Releases(t.Context(), "orders")
	if err != nil || len(all) != 1 || made == 0 {
		t.Errorf("%d releases (%v), %d answers 201", len(all), err, made)
	}
}

func TestARefusalIsNotRepeatedByItsKey(t *testing.T) {
	fake := new(apitest.Engine)
	client := over(serveOn(t, fake, nil))
	create := func() int {
		status, _, _ := ask(t, client, "POST", "http://rolling/api/v1/projects/orders/releases", `{"images":{"web":"registry.example/orders/web:1"}}`, "Idempotency-Key", "k", "Content-Type", "application/json")
		return status
	}
	if status := create(); status != http.StatusNotFound {
		t.Fatalf("%d, want 404: there is no project yet", status)
	}
	apply(t, fake)
	if status := create(); status != http.StatusCreated {
		t.Errorf("%d, want 201: the reason of the refusal is gone", status)
	}
}

func apply(t *testing.T, fake *apitest.Engine) {
	t.Helper()
	file := "x-rolling: {project: orders, environments: {test: {stage: test}, production: {stage: production}}}\nservices: {web: {image: registry.example/orders/web}}\n"
	if _, err := fake.ApplyProject(t.Context(), engine.Apply{FileName: "rolling.yml", File: []byte(file)}); err != nil {
		t.Fatal(err)
	}
}

type panics struct{ *apitest.Engine }

func (panics) Projects(context.Context) ([]engine.Project, error) { panic("a fault in one request") }

func (panics) Project(context.Context, project.Name) (engine.Project, error) {
	return engine.Project{}, fmt.Errorf("read the store: %w", io.ErrUnexpectedEOF)
}

func TestAFaultInOneRequestEndsNothing(t *testing.T) {
	client := over(serveOn(t, new(apitest.Engine), func(p *api.Parts) { p.Projects = panics{new(apitest.Engine)} }))
	if status, p, _ := ask(t, client, "GET", "http://rolling/api/v1/projects", ""); status != 500 || p.Code != api.CodeInternal || strings.Contains(p.Detail, "fault in one") {
		t.Errorf("a panic: %d %v", status, p)
	}
	if status, p, _ := ask(t, client, "GET", "http://rolling/api/v1/projects/orders", ""); status != 503 || p.Code != api.CodeUnavailable {
		t.Errorf("a store that does not answer: %d %v", status, p)
	}
	if status, _, _ := ask(t, client, "GET", "http://rolling/healthz", ""); status != 200 {
		t.Errorf("afterwards: %d", status)
	}
}

func TestReadinessNamesEveryCheckThatFails(t *testing.T) {
	client := over(serveOn(t, new(apitest.Engine), func(p *api.Parts) {
		p.Checks = append(p.Checks,
			api.Check{Name: "moon", Ask: func(context.Context) error { return io.EOF }},
			api.Check{Name: "sleeper", Ask: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }})
	}))
	status, p, _ := ask(t, client, "GET", "http://rolling/readyz", "")
	if status != 503 || p.Code != api.CodeNotReady || len(p.Problems) != 2 || p.Problems[0].Path != "moon" || p.Problems[1].Path != "sleeper" {
		t.Errorf("%d %+v", status, p)
	}
}

func TestWithoutAgentsThereAreNoRoutesToShow(t *testing.T) {
	client := over(serveOn(t, new(apitest.Engine), func(p *api.Parts) { p.Routes = nil }))
	if status, p, _ := ask(t, client, "GET", "http://rolling/api/v1/routes", ""); status != 503 || p.Code != api.CodeUnavailable {
		t.Errorf("%d %v", status, p)
	}
}

func TestFigures(t *testing.T) {
	registry := prometheus.NewRegistry()
	parts := new(apitest.Engine).Parts()
	parts.Figures = registry
	door, err := api.New(parts)
	if err != nil {
		t.Fatal(err)
	}
	registry.MustRegister(door.Figures()...)
	listeners, err := api.Listen([]api.Address{{Network: "tcp", Path: "127.0.0.1:0"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- door.Serve(ctx, listeners) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	base := "http://" + listeners[0].Addr().String()
	ask(t, http.DefaultClient, "GET", base+"/api/v1/nodes", "")
	ask(t, http.DefaultClient, "GET", base+"/nowhere/1", "")
	ask(t, http.DefaultClient, "GET", base+"/nowhere/2", "")
	answer, err := http.Get(base + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		`rolling_manager_http_requests_total{method="GET",route="/api/v1/nodes",status="200"} 1`,
		`rolling_manager_http_requests_total{method="GET",route="",status="404"} 2`,
		`rolling_manager_event_streams 0`,
	} {
		if !strings.Contains(string(text), line) {
			t.Errorf("no %s in\n%s", line, text)
		}
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	describe(t).check(t, request, answer, nil)
}

func TestTheVersionIsThatOfTheBuild(t *testing.T) {
	client := over(serveOn(t, new(apitest.Engine), nil))
	answer, err := client.Get("http://rolling/version")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	describe(t).check(t, answer.Request, answer, text)
	if !strings.Contains(string(text), `"version":"1.2.3"`) {
		t.Errorf("%s", text)
	}
}

// TestStoppingEndsStreams holds a stream open while the server is told to end.
func TestStoppingEndsStreams(t *testing.T) {
	fake := new(apitest.Engine)
	door, err := api.New(fake.Parts())
	if err != nil {
		t.Fatal(err)
	}
	listeners, err := api.Listen([]api.Address{{Network: "tcp", Path: "127.0.0.1:0"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- door.Serve(ctx, listeners) }()
	answer, err := http.Get("http://" + listeners[0].Addr().String() + "/api/v1/events")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	stop()
	if _, err := io.ReadAll(answer.Body); err != nil {
		t.Errorf("the stream was cut: %v", err)
	}
	if err := <-ended; err != nil {
		t.Errorf("serve: %v", err)
	}
	if n := fake.Watchers(); n != 0 {
		deadline := time.Now().Add(10 * time.Second)
		for fake.Watchers() != 0 && time.Now().Before(deadline) {
			time.Sleep(5 * time.Millisecond)
		}
		if n = fake.Watchers(); n != 0 {
			t.Errorf("%d streams are still open in the engine", n)
		}
	}
}
