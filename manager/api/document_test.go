package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/rolling-swarm/rolling/manager/api"
	"github.com/rolling-swarm/rolling/manager/api/apitest"
)

// document is the served OpenAPI document, and which of its operations were called with success.
type document struct {
	tree     map[string]any
	compiler *jsonschema.Compiler
	used     map[string]bool
}

const documentURL = "http://rolling/openapi.json"

func describe(t *testing.T) *document {
	t.Helper()
	door, err := api.New(new(apitest.Engine).Parts())
	if err != nil {
		t.Fatal(err)
	}
	answer := httptest.NewRecorder()
	request := httptest.NewRequest(http.MethodGet, "/api/v1/openapi.json", nil)
	request.Host = "localhost"
	door.ServeHTTP(answer, request)
	tree, err := jsonschema.UnmarshalJSON(bytes.NewReader(answer.Body.Bytes()))
	if err != nil {
		t.Fatalf("%d %s: %v", answer.Code, answer.Body, err)
	}
	d := &document{tree: tree.(map[string]any), compiler: jsonschema.NewCompiler(), used: map[string]bool{}}
	d.compiler.DefaultDraft(jsonschema.Draft2020) // what OpenAPI 3.1 means
	d.compiler.AssertFormat()
	if err := d.compiler.AddResource(documentURL, tree); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *document) at(keys ...string) any {
	var here any = d.tree
	for _, k := range keys {
		m, ok := here.(map[string]any)
		if !ok {
			return nil
		}
		here = m[k]
	}
	return here
}

// operations gives "METHOD /path" for each.
func (d *document) operations() []string {
	var all []string
	for path, item := range d.at("paths").(map[string]any) {
		for method := range item.(map[string]any) {
			all = append(all, strings.ToUpper(method)+" "+path)
		}
	}
	slices.Sort(all)
	return all
}

func (d *document) unused() []string {
	return slices.DeleteFunc(d.operations(), func(o string) bool { return d.used[o] })
}

// template finds the path of the document that a request's path is.
func (d *document) template(method, path string) string {
	words := strings.Split(path, "/")
	for _, o := range d.operations() {
		m, template, _ := strings.Cut(o, " ")
		parts := strings.Split(template, "/")
		if m != method || len(parts) != len(words) {
			continue
		}
		fits := true
		for i := range parts {
			fits = fits && (parts[i] == words[i] || strings.HasPrefix(parts[i], "{"))
		}
		if fits {
			return template
		}
	}
	return ""
}

// check holds an answer against the document: its status, its media type, its headers, its body.
func (d *document) check(t *testing.T, request *http.Request, answer *http.Response, body []byte) {
	t.Helper()
	template := d.template(request.Method, request.URL.Path)
	if template == "" {
		if answer.StatusCode != http.StatusNotFound && answer.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("%s %s is answered with %d, and the document does not know it", request.Method, request.URL.Path, answer.StatusCode)
		}
		return
	}
	at := []string{"paths", template, strings.ToLower(request.Method), "responses", fmt.Sprint(answer.StatusCode)}
	if d.at(at...) == nil {
		at[4] = "default"
		if answer.StatusCode < 400 {
			t.Errorf("%s %s: the document knows no answer %d", request.Method, template, answer.StatusCode)
			return
		}
	}
	if answer.StatusCode < 400 {
		d.used[request.Method+" "+template] = true
	}
	if headers, ok := d.at(append(slices.Clone(at), "headers")...).(map[string]any); ok {
		for name := range headers {
			if answer.Header.Get(name) == "" {
				t.Errorf("%s %s: the answer has no %s", request.Method, template, name)
			}
		}
	}
	media, _, _ := strings.Cut(answer.Header.Get("Content-Type"), ";")
	content := d.at(append(slices.Clone(at), "content")...)
	if content == nil {
		if len(body) > 0 {
			t.Errorf("%s %s: the document knows no body: %s", request.Method, template, body)
		}
		return
	}
	if d.at(append(slices.Clone(at), "content", media)...) == nil {
		t.Errorf("%s %s %d: the document knows no %q", request.Method, template, answer.StatusCode, media)
		return
	}
	if strings.HasSuffix(media, "json") {
		d.valid(t, append(slices.Clone(at), "content", media, "schema"), body)
	}
}

func (d *document) valid(t *testing.T, at []string, body []byte) {
	t.Helper()
	escape := strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D")
	pointer := documentURL + "#"
	for _, k := range at {
		pointer += "/" + escape.Replace(k)
	}
	schema, err := d.compiler.Compile(pointer)
	if err != nil {
		t.Fatalf("%s: %v", pointer, err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	if err := schema.Validate(value); err != nil {
		t.Errorf("the answer is not what the document says: %v\n%s", err, body)
	}
}

// TestTheDocumentNamesEveryRouteAndNoOther compares the document with what the router serves.
func TestTheDocumentNamesEveryRouteAndNoOther(t *testing.T) {
	door, err := api.New(new(apitest.Engine).Parts())
	if err != nil {
		t.Fatal(err)
	}
	served := door.Served()
	slices.Sort(served)
	if described := describe(t).operations(); !slices.Equal(served, described) {
		t.Errorf("served:\n%s\ndescribed:\n%s", strings.Join(served, "\n"), strings.Join(described, "\n"))
	}
}

func TestTheDocumentHoldsTogether(t *testing.T) {
	d := describe(t)
	if version := d.at("openapi"); version != "3.1.0" {
		t.Errorf("openapi: %v, want 3.1.0", version)
	}
	ids := map[any]string{}
	for _, o := range d.operations() {
		method, path, _ := strings.Cut(o, " ")
		at := []string{"paths", path, strings.ToLower(method)}
		id := d.at(append(at, "operationId")...)
		if other, twice := ids[id]; twice || id == nil {
			t.Errorf("%s and %s have the operationId %v", o, other, id)
		}
		ids[id] = o
		if d.at(append(at, "summary")...) == nil || d.at(append(at, "responses", "default", "content", "application/problem+json")...) == nil {
			t.Errorf("%s: no summary or no problem", o)
		}
		for _, part := range strings.Split(path, "/") {
			if name, ok := strings.CutPrefix(part, "{"); ok && !hasParameter(d.at(append(at, "parameters")...), strings.TrimSuffix(name, "}")) {
				t.Errorf("%s: parameter %s is not described", o, part)
			}
		}
	}
	text, err := json.Marshal(d.tree)
	if err != nil {
		t.Fatal(err)
	}
	schemas := d.at("components", "schemas").(map[string]any)
	for _, piece := range strings.Split(string(text), `"$ref":"#/components/schemas/`)[1:] {
		name, _, _ := strings.Cut(piece, `"`)
		if schemas[name] == nil {
			t.Errorf("schema %s is referred to and not there", name)
		}
	}
	for name := range schemas {
		if _, err := d.compiler.Compile(documentURL + "#/components/schemas/" + name); err != nil {
			t.Errorf("schema %s: %v", name, err)
		}
	}
}

func hasParameter(parameters any, name string) bool {
	list, _ := parameters.([]any)
	return slices.ContainsFunc(list, func(p any) bool {
		m, _ := p.(map[string]any)
		return m["name"] == name && m["in"] == "path" && m["required"] == true
	})
}
