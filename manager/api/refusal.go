package api

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/rolling-swarm/rolling/manager/engine"
)

// status says which HTTP status a refusal of the engine is.
func status(code engine.Code) (int, bool) {
	statuses := map[engine.Code]int{
		engine.Invalid:      http.StatusUnprocessableEntity,
		engine.NotFound:     http.StatusNotFound,
		engine.Exists:       http.StatusConflict,
		engine.Stale:        http.StatusPreconditionFailed,
		engine.InUse:        http.StatusConflict,
		engine.Refused:      http.StatusForbidden,
		engine.Busy:         http.StatusConflict,
		engine.Blocked:      http.StatusConflict,
		engine.Drifted:      http.StatusConflict,
		engine.NoRoom:       http.StatusConflict,
		engine.ImageUnknown: http.StatusUnprocessableEntity,
	}
	s, known := statuses[code]
	return s, known
}

// refusal turns an error into the problem that the client is told. What is not a refusal means that the store or Swarm did
// not answer; only that is logged, since the client cannot mend it.
func (a *API) refusal(ctx context.Context, op huma.Operation, err error) error {
	var p *Problem
	if errors.As(err, &p) {
		return p
	}
	var e *engine.Error
	if errors.As(err, &e) {
		if s, known := status(e.Code); known {
			return refused(s, e, err)
		}
	}
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return problem(http.StatusServiceUnavailable, CodeUnavailable, "the request was given up: "+err.Error())
	}
	a.log.Error("a request failed", "operation", op.OperationID, "id", requestID(ctx), "error", err)
	return problem(http.StatusServiceUnavailable, CodeUnavailable, err.Error())
}

func refused(status int, e *engine.Error, err error) *Problem {
	p := problem(status, Code(e.Code), err.Error())
	for _, q := range e.Problems {
		p.Problems = append(p.Problems, Detail{Path: q.Path, Text: q.Text})
	}
	for _, r := range e.Refusals {
		p.Problems = append(p.Problems, Detail{Code: Code(r.Code), Text: r.Text})
	}
	if len(p.Problems) > 0 {
		p.Detail, _, _ = strings.Cut(p.Detail, "\n") // the lines after the first are the problems once more
	}
	p.Holder, p.Plan = e.Holder, e.Plan
	return p
}
