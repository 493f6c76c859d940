package line

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/yamux"
	"golang.org/x/sync/errgroup"

	"github.com/rolling-swarm/rolling/internal/wire"
)

const (
	// answerWithin bounds a question, unless its context does sooner. The agent gives up on its work after 10 s.
	answerWithin = 12 * time.Second
	// maxRequests to one agent at once; the next ones wait. The agent refuses more than that.
	maxRequests = 16
	// maxAsking nodes are asked at once where all are.
	maxAsking = 32
)

// ErrNoLine is of a node whose agent has no line now.
var ErrNoLine = errors.New("its agent has no line to this manager: is the agent running there, and does it reach the manager?")

// line is one of a node.
type line struct {
	node      Node
	conn      net.Conn // below TLS
	session   *yamux.Session
	transport *http.Transport
}

func newLine(conn net.Conn, session *yamux.Session) *line {
	return &line{conn: conn, session: session, transport: &http.Transport{
		DialContext:     func(ctx context.Context, _, _ string) (net.Conn, error) { return open(ctx, session) },
		MaxConnsPerHost: maxRequests, MaxIdleConnsPerHost: 2, IdleConnTimeout: 30 * time.Second,
		ResponseHeaderTimeout: answerWithin, MaxResponseHeaderBytes: 16 << 10, DisableCompression: true,
	}}
}

// open opens a stream. yamux takes no context; a stream that comes too late is closed.
func open(ctx context.Context, session *yamux.Session) (net.Conn, error) {
	type opened struct {
		stream *yamux.Stream
		err    error
	}
	got := make(chan opened, 1)
	go func() {
		stream, err := session.OpenStream()
		got <- opened{stream, err}
	}()
	select {
	case o := <-got:
		if o.err != nil {
			return nil, o.err
		}
		return o.stream, nil
	case <-ctx.Done():
		go func() {
			if o := <-got; o.err == nil {
				_ = o.stream.Close()
			}
		}()
		return nil, ctx.Err()
	}
}

// close does not wait for a peer that is silent, as TLS alone would.
func (l *line) close() {
	_ = l.conn.Close()
	_ = l.session.Close()
	l.transport.CloseIdleConnections()
}

// get asks and reads a JSON answer.
func (l *line) get(ctx context.Context, path string, query url.Values, into any) error {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	at := url.URL{Scheme: "http", Host: "agent", Path: path, RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return err
	}
	resp, err := l.transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	body := &io.LimitedReader{R: resp.Body, N: wire.MaxAnswer + 1}
	if resp.StatusCode != http.StatusOK {
		return refusal(resp.StatusCode, body)
	}
	if err := json.NewDecoder(body).Decode(into); err != nil {
		if body.N <= 0 {
			return fmt.Errorf("the answer is longer than %d bytes", wire.MaxAnswer)
		}
		return fmt.Errorf("read the answer: %w", err)
	}
	return nil
}

// strangers is what an agent of the first releases says to a question that it does not know.
const strangers = "404 page not found"

func refusal(status int, body io.Reader) error {
	text, _ := io.ReadAll(io.LimitReader(body, 1<<10))
	why := strings.TrimSpace(strings.ToValidUTF8(string(text), ""))
	switch {
	case status == http.StatusNotImplemented || status == http.StatusNotFound && why == strangers:
		return fmt.Errorf("%w (%s)", wire.ErrOlder, why)
	case status == http.StatusNotFound:
		return fmt.Errorf("%w (%s)", wire.ErrUnknown, why)
	}
	return fmt.Errorf("it answers %d: %s", status, why)
}

func (s *Switchboard) line(node string) (*line, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.lines[node]
	if l == nil {
		return nil, fmt.Errorf("node %s: %w", node, ErrNoLine)
	}
	return l, nil
}

// RoundTripper asks the agent of a node, by its id, anything in HTTP; the host of a request does not matter.
func (s *Switchboard) RoundTripper(node string) http.RoundTripper { return roundTripper{s, node} }

type roundTripper struct {
	board *Switchboard
	node  string
}

func (r roundTripper) RoundTrip(req *http.Request) (*http.Response, error) {
	l, err := r.board.line(r.node)
	if err != nil {
		return nil, err
	}
	return l.transport.RoundTrip(req)
}

func (s *Switchboard) ask(ctx context.Context, node, path string, query url.Values, into any) error {
	l, err := s.line(node)
	if err != nil {
		return err
	}
	if err := l.get(ctx, path, query, into); err != nil {
		return fmt.Errorf("ask the agent of node %s for %s: %w", l.node.Hostname, strings.TrimPrefix(path, "/v1/"), err)
	}
	return nil
}

// Lines are the last n of a container on the node, found by its own id, or, if that is "", by its task's.
func (s *Switchboard) Lines(ctx context.Context, node, task, container string, n int) (wire.Lines, error) {
	query := url.Values{"n": {strconv.Itoa(max(1, min(n, wire.MaxLines)))}}
	if container != "" {
		query.Set("container", container)
	} else {
		query.Set("task", task)
	}
	var got wire.Lines
	err := s.ask(ctx, node, wire.PathLines, query, &got)
	return got, err
}

// Checks are what the health check of a container on the node has said last, found as for Lines.
func (s *Switchboard) Checks(ctx context.Context, node, task, container string) (wire.Checks, error) {
	query := url.Values{"container": {container}}
	if container == "" {
		query = url.Values{"task": {task}}
	}
	var got wire.Checks
	err := s.ask(ctx, node, wire.PathChecks, query, &got)
	return got, err
}

// Samples are the recent measurements of tasks on the node. Who is not measured there is missing.
func (s *Switchboard) Samples(ctx context.Context, node string, tasks []string) (wire.Samples, error) {
	all := wire.Samples{Tasks: map[string]wire.Sample{}}
	for some := range slices.Chunk(tasks, wire.MaxTasks) {
		var got wire.Samples
		if err := s.ask(ctx, node, wire.PathSamples, url.Values{"task": some}, &got); err != nil {
			return wire.Samples{}, err
		}
		maps.Copy(all.Tasks, got.Tasks)
		all.IntervalSeconds, all.End = got.IntervalSeconds, got.End
	}
	return all, nil
}

// Health is what the agent of a node says of itself.
func (s *Switchboard) Health(ctx context.Context, node string) (wire.Health, error) {
	var got wire.Health
	err := s.ask(ctx, node, wire.PathHealth, nil, &got)
	return got, err
}

// Routes asks every node that has a line. Those that answer are returned; the error, if any, names the others.
func (s *Switchboard) Routes(ctx context.Context) ([]Picture, error) {
	var mu sync.Mutex // guards pictures and failed
	var pictures []Picture
	var failed []error
	var group errgroup.Group
	group.SetLimit(maxAsking)
	for _, node := range s.Nodes() {
		group.Go(func() error {
			var got wire.Routes
			err := s.ask(ctx, node.NodeID, wire.PathRoutes, nil, &got)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = append(failed, err)
				return nil
			}
			pictures = append(pictures, Picture{Node: node.Hostname, Routes: got.Routes})
			return nil
		})
	}
	_ = group.Wait() // no function of it fails
	return pictures, errors.Join(failed...)
}
