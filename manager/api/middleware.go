package api

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"runtime/debug"
	"time"

	"github.com/labstack/echo/v4"
)

const (
	// bodyLimit is for a project file with the files that it names; Swarm itself takes 1000 KB a config and 500 KB a secret.
	bodyLimit = 16 << 20
	// smallLimit is for every other request.
	smallLimit = 256 << 10
	bodyWithin = 30 * time.Second
)

type requestIDKey struct{}

var idPattern = regexp.MustCompile(`^[A-Za-z0-9._:/+=-]{1,128}$`)

func requestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}

// named gives each request an id, its client's own if that is fit for a log, and says in the log how it ended.
func (a *API) named(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		id := r.Header.Get(echo.HeaderXRequestID)
		if !idPattern.MatchString(id) {
			id = rand.Text()
		}
		c.Response().Header().Set(echo.HeaderXRequestID, id)
		c.Response().Header().Set("X-Content-Type-Options", "nosniff")
		c.Response().Header().Set("Cache-Control", "no-store")
		c.SetRequest(r.WithContext(context.WithValue(r.Context(), requestIDKey{}, id)))
		start := a.now()
		if err := next(c); err != nil {
			c.Error(err)
		}
		level := slog.LevelDebug
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			level = slog.LevelInfo
		}
		if c.Response().Status >= http.StatusInternalServerError {
			level = slog.LevelWarn
		}
		took := a.now().Sub(start)
		streamed := c.Response().Header().Get(echo.HeaderContentType) == eventStream
		a.figures.count(method(r.Method), c.Path(), c.Response().Status, took, streamed)
		a.log.Log(r.Context(), level, "request", "method", r.Method, "path", r.URL.Path, "status", c.Response().Status,
			"took", took.Round(time.Microsecond), "id", id)
		return nil
	}
}

// method keeps invented methods out of the figures' labels.
func method(of string) string {
	switch of {
	case http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPost, http.MethodDelete:
		return of
	}
	return "other"
}

// recovered turns a panic into an answer: a fault in one request must not end the loop that keeps Swarm true.
func (a *API) recovered(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) (err error) {
		defer func() {
			what := recover()
			if what == nil {
				return
			}
			if broken, isError := what.(error); isError && errors.Is(broken, http.ErrAbortHandler) {
				panic(what)
			}
			a.log.Error("a request failed in an unforeseen way", "path", c.Request().URL.Path, "id", requestID(c.Request().Context()), "error", what, "stack", string(debug.Stack()))
			err = problem(http.StatusInternalServerError, CodeInternal, "the manager failed in an unforeseen way: its log has more under this request's id")
		}()
		return next(c)
	}
}

// local answers only who means this machine: a page in a browser that had its own name resolve to 127.0.0.1, or that posts
// to it from elsewhere, is refused.
func (a *API) local(next echo.HandlerFunc) echo.HandlerFunc {
	origin := http.NewCrossOriginProtection()
	return func(c echo.Context) error {
		r := c.Request()
		if server, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr); server != nil && server.Network() == "unix" {
			return next(c) // no browser gets here
		}
		if !loopbackHost(r.Host) {
			return problem(http.StatusMisdirectedRequest, CodeForbiddenHost, fmt.Sprintf("host %q: this API answers to localhost and addresses of loopback alone", r.Host))
		}
		if err := origin.Check(r); err != nil {
			return problem(http.StatusForbidden, CodeCrossOrigin, "this request comes from a page of another origin: "+err.Error())
		}
		return next(c)
	}
}

func loopbackHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if len(host) > 1 && host[0] == '[' && host[len(host)-1] == ']' {
		host = host[1 : len(host)-1]
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// whole reads the body at once, bounded in size and time. The deadline is lifted afterwards: left in place it would cancel
// the request itself once it passes, whatever the request is doing.
func (a *API) whole(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		if r.Body == nil || r.Body == http.NoBody {
			return next(c)
		}
		limit := int64(smallLimit)
		if r.Method == http.MethodPut {
			limit = bodyLimit
		}
		control := http.NewResponseController(c.Response())
		_ = control.SetReadDeadline(time.Now().Add(bodyWithin)) // a test's recorder has no deadline
		body, err := io.ReadAll(http.MaxBytesReader(c.Response(), r.Body, limit))
		_ = control.SetReadDeadline(time.Time{})
		var tooLarge *http.MaxBytesError
		var slow net.Error
		switch {
		case errors.As(err, &tooLarge):
			return problem(http.StatusRequestEntityTooLarge, CodeTooLarge, fmt.Sprintf("the request's body is larger than %d KiB", limit>>10))
		case errors.As(err, &slow) && slow.Timeout():
			return problem(http.StatusRequestTimeout, CodeReadTimeout, fmt.Sprintf("the request's body did not come within %v", bodyWithin))
		case err != nil:
			return problem(http.StatusBadRequest, CodeInvalidRequest, "the request's body cannot be read: "+err.Error())
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		return next(c)
	}
}

// failed writes what the router itself or a middleware refused.
func (a *API) failed(err error, c echo.Context) {
	if c.Response().Committed {
		return
	}
	var p *Problem
	var route *echo.HTTPError
	switch {
	case errors.As(err, &p):
	case errors.As(err, &route) && route.Code == http.StatusNotFound:
		p = problem(route.Code, CodeNotFound, fmt.Sprintf("there is nothing at %s: see /api/v1/openapi.json", c.Request().URL.Path))
	case errors.As(err, &route) && route.Code == http.StatusMethodNotAllowed:
		p = problem(route.Code, CodeMethod, fmt.Sprintf("%s cannot be done to %s: see /api/v1/openapi.json", c.Request().Method, c.Request().URL.Path))
	default:
		a.log.Error("a request failed", "path", c.Request().URL.Path, "id", requestID(c.Request().Context()), "error", err)
		p = problem(http.StatusInternalServerError, CodeInternal, "the manager failed: its log has more under this request's id")
	}
	copied := *p
	copied.RequestID = requestID(c.Request().Context())
	c.Response().Header().Set(echo.HeaderContentType, copied.ContentType(""))
	c.Response().WriteHeader(copied.Status)
	if c.Request().Method != http.MethodHead {
		_ = c.Echo().JSONSerializer.Serialize(c, copied, "") // the client is gone, if anything
	}
}

// serverLog carries what net/http has to say into the manager's log.
func (a *API) serverLog() *log.Logger { return slog.NewLogLogger(a.log.Handler(), slog.LevelWarn) }
