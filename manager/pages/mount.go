package pages

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/rolling-swarm/rolling/manager/engine"
	"github.com/rolling-swarm/rolling/manager/project"
	"github.com/rolling-swarm/rolling/manager/release"
)

// address is what a page's address says. Names are as they came: the engine says which there are.
type address struct {
	project     project.Name
	environment project.EnvironmentName
	service     project.ServiceName
	release     release.ID
	rollout     engine.RolloutID
	task        string
	query       func(string) string
}

// addressOf reads what the router found. It leaves escapes as they are where a path has any that matter.
func addressOf(c echo.Context, query func(string) string) address {
	param := c.Param
	if c.Request().URL.RawPath != "" {
		param = func(name string) string {
			plain, err := url.PathUnescape(c.Param(name))
			if err != nil {
				return c.Param(name)
			}
			return plain
		}
	}
	return address{
		project: project.Name(param("project")), environment: project.EnvironmentName(param("environment")),
		service: project.ServiceName(param("service")), rollout: engine.RolloutID(param("rollout")), task: param("task"),
		release: release.ID(query("release")), query: query,
	}
}

// build draws up one page for one visitor.
type build func(ctx context.Context, v *visit, a address) (page, error)

const (
	atProject     = "/projects/:project"
	atEnvironment = atProject + "/environments/:environment"
	atRollout     = "/rollouts/:rollout"
)

// shown are all pages by their address; those that change by themselves say so in what they draw up.
func (p *Pages) shown() map[string]build {
	return map[string]build{
		"/":                                p.board,
		atProject:                          p.releases,
		atEnvironment:                      p.environment,
		atEnvironment + "/deploy":          p.deployment,
		atEnvironment + "/rollback":        p.wayBack,
		atEnvironment + "/tasks/:task/log": p.log,
		"/rollouts":                        p.history,
		atRollout:                          p.rollout,
	}
}

// Mount adds the pages to a server. by names, for the record, who asks; untilStop gives a context that ends with the
// request and with the manager. The server's own rules hold for pages too: who may connect, same origin, size of a body.
func (p *Pages) Mount(e *echo.Echo, by func(context.Context) string, untilStop func(context.Context) (context.Context, context.CancelFunc)) {
	for path, b := range p.shown() {
		e.GET(path, p.safe(p.show(b)))
		e.HEAD(path, p.safe(p.show(b)))
	}
	act := func(path string, does deed) { e.POST(path, p.safe(p.act(by, does))) }
	act(atEnvironment+"/deploy", p.deploy)
	act(atEnvironment+"/rollback", p.rollback)
	act(atEnvironment+"/services/:service/scale", p.scale)
	act(atRollout+"/cancel", p.cancel)
	act("/preferences", p.prefer)
	e.GET("/live", p.safe(p.live(e, untilStop)))
	e.GET("/assets/:name", p.asset)
	e.HEAD("/assets/:name", p.asset)
	others := e.HTTPErrorHandler
	e.HTTPErrorHandler = func(err error, c echo.Context) {
		if !errors.Is(err, echo.ErrNotFound) || !wantsPage(c.Request()) || p.safe(p.nothing)(c) != nil {
			others(err, c)
		}
	}
}

// wantsPage says whether a person asks; a program that asks for nothing gets the API's answer.
func wantsPage(r *http.Request) bool {
	return !strings.HasPrefix(r.URL.Path, "/api/") && strings.Contains(r.Header.Get("Accept"), "text/html")
}

// nothing answers a browser at an address that there is nothing at.
func (p *Pages) nothing(c echo.Context) error {
	v := p.visit(c)
	return p.send(c, v, http.StatusNotFound, v.faultPage(fault{Code: "no_page", Detail: c.Request().URL.Path}))
}

// safe sets what keeps a page to itself: no script, style, frame or form but this server's own.
func (p *Pages) safe(next echo.HandlerFunc) echo.HandlerFunc {
	const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; " +
		"form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
	return func(c echo.Context) error {
		h := c.Response().Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		return next(c)
	}
}

// asset serves what a page is dressed with. The address changes with the content, so a browser asks once.
func (p *Pages) asset(c echo.Context) error {
	a, ok := p.kit.Asset(c.Request().URL.Path)
	if !ok {
		return echo.ErrNotFound
	}
	h := c.Response().Header()
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Vary", "Accept-Encoding")
	body := a.Body
	if a.Gzip != nil && takesGzip(c.Request()) {
		h.Set("Content-Encoding", "gzip")
		body = a.Gzip
	}
	return c.Blob(http.StatusOK, a.Type, body)
}
