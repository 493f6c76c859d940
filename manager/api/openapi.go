package api

import (
	"context"
	"path"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

const description31 = `Everything that Rolling's manager does. Times are RFC 3339 in UTC. Every failed request is answered with
application/problem+json and a stable code, all problems at once. Lists take limit and cursor. A change of what an environment
runs is answered with 202 and the rollout that it began; its events say how it goes on. A POST with an Idempotency-Key may be
repeated: within a day, and as long as the manager lives, it gets the answer of the first. The API is served on a unix socket
and on loopback alone, since it has no users yet.`

// description is the OpenAPI document before the routes are added. What the library would serve by itself beside them (a
// page with scripts from elsewhere, schemas, other renderings) is left out.
func description(version string) huma.Config {
	return huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{Title: "Rolling", Version: version, Description: description31,
				License: &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"}},
			Components: &huma.Components{Schemas: huma.NewMapRegistry("#/components/schemas/", schemaName)},
			Tags: []*huma.Tag{
				{Name: "projects", Description: "Project files."},
				{Name: "releases", Description: "One commit and its images by digest; a release never changes."},
				{Name: "deployments", Description: "What an environment should run: each change begins a rollout."},
				{Name: "rollouts", Description: "How an environment is brought to a release, and how that ended."},
				{Name: "tasks", Description: "What runs, task by task."},
				{Name: "events", Description: "What happens, as server-sent events."},
				{Name: "swarm", Description: "Nodes, networks, pools, addresses, routes."},
				{Name: "manager", Description: "The manager itself."},
			},
		},
		Formats:                      map[string]huma.Format{"application/json": huma.DefaultJSONFormat, "json": huma.DefaultJSONFormat},
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true, // a misspelt filter would otherwise show everything
		Transformers:                 []huma.Transformer{finish},
	}
}

// schemaName names a type in the document. What comes from a core bears the core's name too, since cores do not know each
// other's words: a problem of a project file is none of this door's.
func schemaName(t reflect.Type, hint string) string {
	name := huma.DefaultSchemaNamer(t, hint)
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	room := path.Base(t.PkgPath())
	if t.Name() == "" || room == "api" || room == "engine" {
		return name
	}
	return strings.ToUpper(room[:1]) + room[1:] + name
}

// operation describes one route. Size and time of a body are limited before huma sees it, so its own limits are off.
func (a *API) operation(method, at, id, tag string, status int, summary string) huma.Operation {
	return huma.Operation{
		Method: method, Path: at, OperationID: id, Tags: []string{tag}, Summary: summary, DefaultStatus: status,
		MaxBodyBytes: -1, BodyReadTimeout: -1,
		Responses: map[string]*huma.Response{"default": {
			Description: "What went wrong.",
			Content: map[string]*huma.MediaType{(*Problem)(nil).ContentType(""): {
				Schema: a.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[Problem](), true, ""),
			}},
		}},
	}
}

// Repeatable is part of every call that makes or begins something; see once.
type Repeatable struct {
	Key string `header:"Idempotency-Key" maxLength:"255" doc:"Makes it safe to repeat the call: see the API's description."`
}

// serve registers a route whose errors are turned into problems.
func serve[I, O any](a *API, op huma.Operation, do func(context.Context, *I) (*O, error)) {
	huma.Register(a.huma, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := do(ctx, in)
		if err != nil {
			return nil, a.refusal(ctx, op, err)
		}
		return out, nil
	})
}

// tidy takes out of the document what no answer of ours looks like.
func tidy(document *huma.OpenAPI) {
	schemas := document.Components.Schemas.Map()
	delete(schemas, "ErrorModel")
	delete(schemas, "ErrorDetail")
}
