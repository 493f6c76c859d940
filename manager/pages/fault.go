package pages

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/rolling-swarm/rolling/manager/engine"
	"github.com/rolling-swarm/rolling/manager/release"
)

// fault is what went wrong, for a person: a title and what to do in the person's language, and the engine's own words.
type fault struct {
	Code    string // the engine's, or one of the door's own: no_page, form, away, unknown
	Title   string
	Do      string
	Detail  string
	Reasons []reason
	Holder  *engine.Rollout
	Plan    *engine.Plan
	Back    string // where to go on
}

// reason is one of several things that are wrong.
type reason struct{ Code, Path, Text string }

// passing says that it may be over by itself.
func (f fault) passing() bool { return f.Code == "away" }

func (f fault) status() int {
	statuses := map[string]int{
		string(engine.Invalid): http.StatusUnprocessableEntity, string(engine.NotFound): http.StatusNotFound,
		string(engine.Exists): http.StatusConflict, string(engine.Stale): http.StatusPreconditionFailed,
		string(engine.InUse): http.StatusConflict, string(engine.Refused): http.StatusForbidden,
		string(engine.Busy): http.StatusConflict, string(engine.Blocked): http.StatusConflict,
		string(engine.Drifted): http.StatusConflict, string(engine.NoRoom): http.StatusConflict,
		string(engine.ImageUnknown): http.StatusUnprocessableEntity,
		"no_page":                   http.StatusNotFound, "no_task": http.StatusNotFound,
		"count": http.StatusUnprocessableEntity, "form": http.StatusForbidden,
	}
	if s, ok := statuses[f.Code]; ok {
		return s
	}
	return http.StatusServiceUnavailable
}

// faultOf reads an error of the engine. What is no refusal means that the store or Swarm did not answer; that alone is logged.
func (p *Pages) faultOf(ctx context.Context, v *visit, err error) fault {
	var own *fault
	var e *engine.Error
	f := fault{Code: "away", Detail: err.Error()}
	switch {
	case errors.As(err, &own):
		f = *own
	case errors.As(err, &e):
		f.Code, f.Holder, f.Plan = string(e.Code), e.Holder, e.Plan
		for _, q := range e.Problems {
			f.Reasons = append(f.Reasons, reason{Path: q.Path, Text: q.Text})
		}
		for _, r := range e.Refusals {
			f.Reasons = append(f.Reasons, reason{Code: string(r.Code), Text: r.Text})
		}
		if len(f.Reasons) > 0 {
			f.Detail, _, _ = strings.Cut(f.Detail, "\n") // the lines after the first are the reasons once more
		}
	case ctx.Err() == nil || errors.Is(err, context.DeadlineExceeded):
		if v.failed = true; !v.quiet {
			p.parts.Log.Error("a page failed", "page", v.here, "error", err)
		}
	}
	f.Detail = clean(f.Detail)
	v.name(&f)
	return f
}

func (f *fault) Error() string { return f.Code + ": " + f.Detail }

// name gives a fault its words.
func (v *visit) name(f *fault) {
	code := f.Code
	if !v.words.Has("fault." + code) {
		code = "unknown"
	}
	f.Title, f.Do = v.t("fault."+code), v.t("advice."+code)
}

func (v *visit) faultPage(f fault) page {
	if f.Title == "" {
		v.name(&f)
	}
	if f.Back == "" {
		f.Back = "/"
	}
	return page{title: f.Title, parts: []part{{"fault", "fault", f}}}
}

// reasons are the refusals of a gate for a template.
func reasons(all []release.Refusal) []reason {
	var out []reason
	for _, r := range all {
		out = append(out, reason{Code: string(r.Code), Text: r.Text})
	}
	return out
}
