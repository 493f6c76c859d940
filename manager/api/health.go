package api

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humaecho"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// checkWithin is how long one thing may take to say that it is there: whoever asks for readiness asks often.
const checkWithin = 2 * time.Second

// Health says that the manager's process answers.
type Health struct {
	Status string `json:"status" enum:"ok"`
}

// Readiness says whether the manager can do its work.
type Readiness struct {
	Ready  bool          `json:"ready"`
	Checks []CheckResult `json:"checks,omitempty" doc:"Only where verbose is asked for."`
}

// CheckResult is how one check went.
type CheckResult struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	Text string `json:"text,omitempty" doc:"Why not."`
}

// Version says which manager this is.
type Version struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty" doc:"The commit that it is built of, where the build says it."`
	Go       string `json:"go"`
}

type (
	readyInput struct {
		Verbose string `query:"verbose" maxLength:"5" doc:"Name every check; it needs no value."`
		verbose bool
	}
	healthOutput  struct{ Body Health }
	readyOutput   struct{ Body Readiness }
	versionOutput struct{ Body Version }
)

func (a *API) healthRoutes() {
	serve(a, a.operation(http.MethodGet, "/healthz", "healthz", "manager", http.StatusOK, "Say that the process answers"),
		func(context.Context, *struct{}) (*healthOutput, error) { return &healthOutput{Health{"ok"}}, nil })
	serve(a, a.operation(http.MethodGet, "/readyz", "readyz", "manager", http.StatusOK, "Say whether store and Swarm answer"), a.ready)
	serve(a, a.operation(http.MethodGet, "/version", "version", "manager", http.StatusOK, "Say which manager this is"),
		func(context.Context, *struct{}) (*versionOutput, error) {
			return &versionOutput{Build(a.parts.Version)}, nil
		})
	numbers := a.operation(http.MethodGet, "/metrics", "metrics", "manager", http.StatusOK, "Figures for Prometheus")
	numbers.Responses["200"] = &huma.Response{Description: "Prometheus' text format.", Content: map[string]*huma.MediaType{"text/plain": {Schema: &huma.Schema{Type: huma.TypeString}}}}
	serve(a, numbers, a.metrics())
	document := a.operation(http.MethodGet, "/api/v1/openapi.json", "openapi", "manager", http.StatusOK, "This document")
	document.Responses["200"] = &huma.Response{Description: "OpenAPI 3.1.", Content: map[string]*huma.MediaType{"application/openapi+json": {Schema: &huma.Schema{Type: huma.TypeObject}}}}
	serve(a, document, func(context.Context, *struct{}) (*huma.StreamResponse, error) {
		return &huma.StreamResponse{Body: func(ctx huma.Context) {
			ctx.SetHeader("Content-Type", "application/openapi+json")
			_, _ = ctx.BodyWriter().Write(a.document) // the client is gone, if anything
		}}, nil
	})
}

// Resolve looks at the query itself, since a parameter without a value counts as absent elsewhere.
func (in *readyInput) Resolve(ctx huma.Context) []error {
	u := ctx.URL()
	in.verbose = u.Query().Has("verbose") && in.Verbose != "false"
	return nil
}

// ready asks all checks at once: one that hangs must not hide another.
func (a *API) ready(ctx context.Context, in *readyInput) (*readyOutput, error) {
	ctx, cancel := context.WithTimeout(ctx, checkWithin)
	defer cancel()
	results := make([]CheckResult, len(a.parts.Checks))
	var asked sync.WaitGroup
	for i, c := range a.parts.Checks {
		asked.Go(func() {
			results[i] = CheckResult{Name: c.Name, OK: true}
			if err := c.Ask(ctx); err != nil {
				results[i] = CheckResult{Name: c.Name, Text: err.Error()}
			}
		})
	}
	asked.Wait()
	p := problem(http.StatusServiceUnavailable, CodeNotReady, "")
	for _, r := range results {
		if !r.OK {
			p.Problems = append(p.Problems, Detail{Path: r.Name, Text: r.Text})
		}
	}
	if len(p.Problems) > 0 {
		p.Detail = fmt.Sprintf("%d of %d checks failed", len(p.Problems), len(results))
		return nil, p
	}
	out := &readyOutput{Readiness{Ready: true}}
	if in.verbose {
		out.Body.Checks = results
	}
	return out, nil
}

func (a *API) metrics() func(context.Context, *struct{}) (*huma.StreamResponse, error) {
	gatherer := a.parts.Figures
	if gatherer == nil {
		gatherer = prometheus.NewRegistry()
	}
	pages := promhttp.HandlerFor(gatherer, promhttp.HandlerOpts{})
	return func(context.Context, *struct{}) (*huma.StreamResponse, error) {
		return &huma.StreamResponse{Body: func(ctx huma.Context) {
			c := humaecho.Unwrap(ctx)
			pages.ServeHTTP(c.Response(), c.Request())
		}}, nil
	}
}

// Build says what is known of this program.
func Build(version string) Version {
	v := Version{Version: version, Go: runtime.Version()}
	if b, ok := debug.ReadBuildInfo(); ok {
		for _, s := range b.Settings {
			if s.Key == "vcs.revision" {
				v.Revision = s.Value
			}
		}
	}
	return v
}
