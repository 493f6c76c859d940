package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/rolling-swarm/rolling/manager/api"
)

const (
	dialWithin = 5 * time.Second
	// answerLimit is far above every answer: a page of a list, or a project file.
	answerLimit = 64 << 20
)

// client speaks to one manager.
type client struct {
	http   *http.Client
	at     api.Address
	prefix string // what a URL begins with
	agent  string
}

func (c *commands) client() (*client, error) {
	at, err := api.ParseAddress(c.Server)
	if err != nil {
		return nil, fmt.Errorf("--server: %w", err)
	}
	host := at.Path
	if at.Network == "unix" {
		host = "localhost"
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		d := net.Dialer{Timeout: dialWithin}
		return d.DialContext(ctx, at.Network, at.Path)
	}
	return &client{
		http: &http.Client{
			Transport:     &http.Transport{DialContext: dial, ResponseHeaderTimeout: 0},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		at: at, prefix: "http://" + host, agent: "rolling/" + c.Version,
	}, nil
}

// unreachable is a manager that does not answer at all.
type unreachable struct {
	at  api.Address
	err error
}

func (e *unreachable) Error() string {
	return fmt.Sprintf("the manager at %s does not answer (%v): is 'rolling server' running there? --server or ROLLING_URL names another", e.at, e.err)
}

func (e *unreachable) Unwrap() error { return e.err }

// open sends a request. What is no success comes back as an error; else the caller closes the body.
func (c *client) open(ctx context.Context, method, path string, query url.Values, header http.Header, body any) (*http.Response, error) {
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(text)
	}
	address := c.prefix + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	request, err := http.NewRequestWithContext(ctx, method, address, content)
	if err != nil {
		return nil, err
	}
	for name, values := range header {
		request.Header[name] = values
	}
	request.Header.Set("User-Agent", c.agent)
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	answer, err := c.http.Do(request)
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return nil, &unreachable{c.at, err}
	}
	if answer.StatusCode < 200 || answer.StatusCode > 299 {
		defer answer.Body.Close() //nolint:errcheck // only read
		return nil, c.refusal(answer)
	}
	return answer, nil
}

func (c *client) refusal(answer *http.Response) error {
	text, err := io.ReadAll(io.LimitReader(answer.Body, answerLimit))
	if err != nil {
		return &unreachable{c.at, err}
	}
	var p api.Problem
	if !strings.HasPrefix(answer.Header.Get("Content-Type"), "application/problem+json") || json.Unmarshal(text, &p) != nil {
		return fmt.Errorf("what answers at %s is no manager of Rolling, or one of another version: %s %.200q", c.at, answer.Status, text)
	}
	return &refusedError{p}
}

// do sends a request and reads the whole answer.
func (c *client) do(ctx context.Context, method, path string, query url.Values, header http.Header, body any) (json.RawMessage, http.Header, error) {
	answer, err := c.open(ctx, method, path, query, header, body)
	if err != nil {
		return nil, nil, err
	}
	defer answer.Body.Close() //nolint:errcheck // only read
	text, err := io.ReadAll(io.LimitReader(answer.Body, answerLimit))
	if err != nil {
		return nil, nil, &unreachable{c.at, err}
	}
	return text, answer.Header, nil
}

// item is one object as the manager gave it, and decoded. What is printed as JSON is the former, whole even if the manager
// is newer than this command.
type item[T any] struct {
	raw json.RawMessage
	is  T
}

func decode[T any](raw json.RawMessage) (item[T], error) {
	it := item[T]{raw: raw}
	if err := json.Unmarshal(raw, &it.is); err != nil {
		return it, fmt.Errorf("the manager's answer makes no sense: %w", err)
	}
	return it, nil
}

func fetch[T any](ctx context.Context, c *client, method, path string, body any) (item[T], error) {
	raw, _, err := c.do(ctx, method, path, nil, nil, body)
	if err != nil {
		return item[T]{}, err
	}
	return decode[T](raw)
}

// list fetches a list, page by page, up to limit entries; 0 means all. What the manager could not ask is told to warn.
func list[T any](ctx context.Context, c *client, path string, query url.Values, limit int, warn func(string)) ([]item[T], error) {
	const largestPage = 1000
	asked := url.Values{"limit": {fmt.Sprint(largestPage)}}
	for name, values := range query {
		asked[name] = values
	}
	if limit > 0 && limit < largestPage {
		asked.Set("limit", fmt.Sprint(limit))
	}
	all := []item[T]{}
	for {
		raw, _, err := c.do(ctx, http.MethodGet, path, asked, nil, nil)
		if err != nil {
			return nil, err
		}
		page, err := decode[api.List[json.RawMessage]](raw)
		if err != nil {
			return nil, err
		}
		for _, w := range page.is.Warnings {
			warn(w)
		}
		for _, r := range page.is.Items {
			it, err := decode[T](r)
			if err != nil {
				return nil, err
			}
			all = append(all, it)
			if limit > 0 && len(all) == limit {
				return all, nil
			}
		}
		if page.is.NextCursor == "" {
			return all, nil
		}
		asked.Set("cursor", page.is.NextCursor)
	}
}

// where puts names into a path.
func where(format string, names ...string) string {
	escaped := make([]any, len(names))
	for i, n := range names {
		escaped[i] = url.PathEscape(n)
	}
	return fmt.Sprintf(format, escaped...)
}
