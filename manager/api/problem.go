package api

import (
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/rolling-swarm/rolling/manager/engine"
)

// Problem is what every failed request is answered with, as application/problem+json (RFC 9457).
type Problem struct {
	Type      string   `json:"type,omitempty" doc:"Absent: the code says what kind of problem it is."`
	Title     string   `json:"title" doc:"The status in words." example:"Conflict"`
	Status    int      `json:"status" doc:"The HTTP status." example:"409"`
	Code      Code     `json:"code" doc:"The kind of problem. Codes are stable: programs may rely on them." example:"rollout_running"`
	Detail    string   `json:"detail" doc:"What failed, which object, why, and what to do."`
	Problems  []Detail `json:"errors,omitempty" doc:"Everything that is wrong, if it is more than the detail says."`
	RequestID string   `json:"requestId,omitempty" doc:"The request's X-Request-ID, as it stands in the manager's log."`

	Holder *engine.Rollout `json:"holder,omitempty" doc:"The rollout that holds the environment, if that is the problem."`
	Plan   *engine.Plan    `json:"plan,omitempty" doc:"The plan that shows what stands in the way, if something does."`
}

// Detail is one of several things that are wrong.
type Detail struct {
	Code Code   `json:"code,omitempty" doc:"The kind, where it has one of its own."`
	Path string `json:"path,omitempty" doc:"Where: a key of the project file, or a field of the request." example:"services.web.deploy.replicas"`
	Text string `json:"text" doc:"What is wrong, why, and what to do."`
}

func (p *Problem) Error() string { return p.Detail }

// GetStatus lets huma answer with the problem's status.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType lets huma name the media type of RFC 9457.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// Code is the kind of a problem.
type Code string

// The codes that this door gives by itself; every other one is the engine's (engine.Code), and a refusal of a release has
// one of release.Code for each reason.
const (
	CodeInvalidRequest     Code = "invalid_request"
	CodeProjectName        Code = "project_name_mismatch"
	CodeNotFound           Code = "not_found"
	CodeMethod             Code = "method_not_allowed"
	CodeTooLarge           Code = "request_too_large"
	CodeMediaType          Code = "unsupported_media_type"
	CodeReadTimeout        Code = "request_timeout"
	CodeForbiddenHost      Code = "forbidden_host"
	CodeCrossOrigin        Code = "cross_origin"
	CodeIdempotencyReused  Code = "idempotency_key_reused"
	CodeIdempotencyRunning Code = "idempotency_key_in_use"
	CodeNotReady           Code = "not_ready"
	CodeUnavailable        Code = "unavailable" // the store, Swarm or an agent did not answer: ask again later
	CodeInternal           Code = "internal"
)

func problem(status int, code Code, detail string, more ...Detail) *Problem {
	return &Problem{Title: http.StatusText(status), Status: status, Code: code, Detail: detail, Problems: more}
}

// fromLibrary turns huma's own refusals, which know no codes, into problems.
func fromLibrary(e *huma.ErrorModel) *Problem {
	codes := map[int]Code{
		http.StatusBadRequest: CodeInvalidRequest, http.StatusUnprocessableEntity: CodeInvalidRequest,
		http.StatusRequestEntityTooLarge: CodeTooLarge, http.StatusUnsupportedMediaType: CodeMediaType,
		http.StatusRequestTimeout: CodeReadTimeout,
	}
	code, known := codes[e.Status]
	if !known {
		code = CodeInternal
	}
	p := problem(e.Status, code, e.Detail)
	for _, d := range e.Errors {
		p.Problems = append(p.Problems, Detail{Path: d.Location, Text: d.Message})
	}
	if len(p.Problems) == 1 {
		p.Detail = strings.TrimPrefix(p.Problems[0].Path+": "+p.Problems[0].Text, ": ")
	}
	return p
}

// finish is the last thing that happens to an answer: huma's errors become problems, and problems get the request's id.
func finish(ctx huma.Context, _ string, body any) (any, error) {
	p, ok := body.(*Problem)
	if e, isModel := body.(*huma.ErrorModel); isModel {
		p, ok = fromLibrary(e), true
	}
	if !ok {
		return body, nil
	}
	copied := *p
	copied.RequestID = requestID(ctx.Context())
	return &copied, nil
}
