package manager

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/rolling-swarm/rolling/lab/bench/orders"
)

// api is the manager's door, as a client sees it.
type api struct{ c *http.Client }

// call does one request and reads the whole answer.
func (a api) call(ctx context.Context, method, path string, body, answer any) error {
	var sent io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("%s %s: %w", method, path, err)
		}
		sent = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://manager/api/v1"+path, sent)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	got, err := a.c.Do(r)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	defer got.Body.Close() //nolint:errcheck // read only
	text, err := io.ReadAll(io.LimitReader(got.Body, 64<<20))
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if got.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %s: %s", method, path, got.Status, bytes.TrimSpace(text))
	}
	if answer == nil {
		return nil
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return fmt.Errorf("%s %s: %w: %.200s", method, path, err, text)
	}
	return nil
}

// running is the release that production runs.
func (a api) running(ctx context.Context) (string, error) {
	var p struct {
		Environments []struct{ Name, Release string } `json:"environments"`
	}
	if err := a.call(ctx, http.MethodGet, "/projects/"+orders.Name, nil, &p); err != nil {
		return "", err
	}
	for _, e := range p.Environments {
		if e.Name == orders.Environment {
			return e.Release, nil
		}
	}
	return "", fmt.Errorf("project %s has no environment %s", orders.Name, orders.Environment)
}

func (a api) plan(ctx context.Context, release string) (empty bool, err error) {
	var p struct {
		Empty *bool `json:"empty"`
	}
	err = a.call(ctx, http.MethodGet, "/projects/"+orders.Name+"/environments/"+orders.Environment+"/plan?release="+release, nil, &p)
	if err == nil && p.Empty == nil {
		err = fmt.Errorf("the plan for release %s does not say whether it is empty", release)
	}
	return err == nil && *p.Empty, err
}

func (a api) apply(ctx context.Context, name, file string) error {
	return a.call(ctx, http.MethodPut, "/projects/"+name, map[string]string{"file": file}, nil)
}

func (a api) forget(ctx context.Context, name string) error {
	return a.call(ctx, http.MethodDelete, "/projects/"+name, nil, nil)
}

// list asks for one page of so many projects, and tells how many came.
func (a api) list(ctx context.Context, limit int) (int, error) {
	var l struct {
		Items []json.RawMessage `json:"items"`
	}
	err := a.call(ctx, http.MethodGet, fmt.Sprintf("/projects?limit=%d", limit), nil, &l)
	return len(l.Items), err
}
