package pages

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/rolling-swarm/rolling/manager/engine"
)

const (
	streamsAtOnce = 128
	drawnAtOnce   = 4
	// gather is how long more events are waited for before a page is drawn again, and pause the least time between two
	// drawings: however much happens, a stream costs so many drawings a second and no more.
	gather = 60 * time.Millisecond
	pause  = 300 * time.Millisecond
	// beatEvery tells a page that it is still live; its script calls it stale after three that did not come.
	beatEvery  = 5 * time.Second
	takeWithin = 10 * time.Second
	saidAtOnce = 3 // events that are put into words for one drawing
)

// live sends what changes of one page: /live?page=ADDRESS&seen=WORD. The events are
//
//	whole  {html}       the page's parts, all of them: some came or went, or they are not those that were seen
//	part   {id, html}   one part that differs
//	token  {token}      for the forms that are in no part
//	say    {text}       what happened, in words, for who does not see it
//	beat   {}           nothing: the stream lives
func (p *Pages) live(e *echo.Echo, untilStop func(context.Context) (context.Context, context.CancelFunc)) echo.HandlerFunc {
	builds := p.shown()
	return func(c echo.Context) error {
		b, a, here, ok := resolve(e, builds, c.QueryParam("page"))
		if !ok {
			return echo.ErrNotFound
		}
		select {
		case p.streams <- struct{}{}:
			defer func() { <-p.streams }()
		default:
			return c.NoContent(http.StatusServiceUnavailable)
		}
		ctx, cancel := untilStop(c.Request().Context())
		defer cancel()
		v := p.visit(c)
		v.here = here
		since, err := p.parts.Events.LastEvent(ctx)
		if err != nil {
			return c.NoContent(http.StatusServiceUnavailable)
		}
		events, err := p.parts.Events.Events(ctx, since)
		if err != nil {
			return c.NoContent(http.StatusServiceUnavailable)
		}
		h := c.Response().Header()
		h.Set("Content-Type", "text/event-stream")
		h.Set("X-Accel-Buffering", "no") // nginx would hold the events back
		c.Response().WriteHeader(http.StatusOK)
		s := &stream{p: p, v: v, build: b, address: a, events: events, out: c.Response(), control: http.NewResponseController(c.Response()), seen: c.QueryParam("seen")}
		s.run(ctx)
		return nil
	}
}

// resolve finds what draws the page at an address.
func resolve(e *echo.Echo, builds map[string]build, at string) (build, address, string, bool) {
	u, err := url.ParseRequestURI(local(at))
	if err != nil {
		return nil, address{}, "", false
	}
	c := e.NewContext(&http.Request{Method: http.MethodGet, URL: u, Header: http.Header{}}, nil)
	e.Router().Find(http.MethodGet, echo.GetPath(c.Request()), c)
	b, ok := builds[c.Path()]
	return b, addressOf(c, u.Query().Get), u.RequestURI(), ok
}

// stream keeps one page of one visitor true.
type stream struct {
	p       *Pages
	v       *visit
	build   build
	address address
	events  <-chan engine.Event
	out     http.ResponseWriter
	control *http.ResponseController
	seen    string            // what the page showed when the stream began
	sums    map[string]string // what it shows, by part; nil: not known yet
	order   string
	wanted  func(engine.Event) bool
	every   time.Duration
}

func (s *stream) run(ctx context.Context) {
	if !s.redraw(ctx, nil) || !s.send("token", map[string]string{"token": s.v.token}) {
		return
	}
	last := time.Now()
	beat := time.NewTicker(beatEvery)
	defer beat.Stop()
	due, waiting := time.NewTimer(s.every), false // waiting: an event has set it
	defer due.Stop()
	var said []engine.Event
	for {
		select {
		case e, more := <-s.events:
			if !more {
				return
			}
			if s.wanted != nil && !s.wanted(e) {
				continue
			}
			said = append(said[max(0, len(said)+1-saidAtOnce):], e)
			if !waiting {
				waiting = true
				due.Reset(max(gather, time.Until(last.Add(pause))))
			}
		case <-due.C:
			if !s.redraw(ctx, said) {
				return
			}
			last, said, waiting = time.Now(), nil, false
			due.Reset(s.every)
		case <-beat.C:
			if !s.send("beat", struct{}{}) {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// redraw draws the page and sends what differs from what it showed.
func (s *stream) redraw(ctx context.Context, said []engine.Event) bool {
	select {
	case s.p.drawing <- struct{}{}:
		defer func() { <-s.p.drawing }()
	case <-ctx.Done():
		return false
	}
	s.v.now, s.v.quiet, s.v.failed = s.p.parts.Now(), s.v.failed, false
	within, cancel := context.WithTimeout(ctx, drawWithin)
	defer cancel()
	pg, err := s.build(within, s.v, s.address)
	if err != nil {
		if ctx.Err() != nil {
			return false
		}
		f := s.p.faultOf(within, s.v, err)
		pg = s.v.faultPage(f)
	}
	s.wanted, s.every = pg.wanted, pg.every
	if s.every == 0 {
		s.every = beatEvery
	}
	parts, err := s.v.draw(pg)
	if err != nil {
		s.p.parts.Log.Error("a page cannot be drawn", "page", s.v.here, "error", err)
		return false
	}
	for _, e := range said {
		if text := s.v.telling(e); text != "" && !s.send("say", map[string]string{"text": text}) {
			return false
		}
	}
	return s.differ(parts)
}

// differ sends the parts that are not as they were.
func (s *stream) differ(parts []drawn) bool {
	sums, order := map[string]string{}, ""
	for _, d := range parts {
		sums[d.ID] = d.sum
		order += d.ID + " "
	}
	defer func() { s.sums, s.order = sums, order }()
	if s.sums == nil && s.seen == seen(parts) {
		return true
	}
	if s.sums == nil || order != s.order {
		var html string
		for _, d := range parts {
			html += string(d.HTML)
		}
		return s.send("whole", map[string]string{"html": html})
	}
	for _, d := range parts {
		if s.sums[d.ID] != d.sum && !s.send("part", map[string]string{"id": d.ID, "html": string(d.HTML)}) {
			return false
		}
	}
	return true
}

func (s *stream) send(event string, data any) bool {
	var text bytes.Buffer
	j := json.NewEncoder(&text)
	j.SetEscapeHTML(false) // a script reads it, and it is mostly HTML
	if err := j.Encode(data); err != nil {
		return false // no text and no map of texts makes this happen
	}
	_ = s.control.SetWriteDeadline(time.Now().Add(takeWithin))                 // a test's recorder has no deadline
	_, err := fmt.Fprintf(s.out, "event: %s\ndata: %s\n", event, text.Bytes()) // the encoder ends its line
	return err == nil && s.control.Flush() == nil
}

// telling puts the events into words that somebody who does not see the page wants to hear of.
func (v *visit) telling(e engine.Event) string {
	switch e.Type {
	case "rollout.started", "rollout.back", "rollout.ended", "release.created":
	default:
		return ""
	}
	outcome := ""
	if e.Type == "rollout.ended" {
		outcome = outcomePill(v.words, e.State, false).Text
	}
	return v.t("say."+e.Type, "project", e.Project, "environment", e.Environment, "release", e.Release, "outcome", outcome)
}
