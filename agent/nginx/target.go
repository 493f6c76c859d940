package nginx

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rolling-swarm/rolling/agent/member"
)

// target is one nginx.
type target struct {
	place
	token  string
	client *http.Client
	log    *slog.Logger
	wake   chan struct{}

	// Owned by run.
	turn   member.Turn
	follow *member.Decision // what turn was started for
	fresh  bool             // follow has not been in force yet

	mu       sync.Mutex
	wanted   *member.Decision // guarded by mu
	standing member.Standing  // guarded by mu
}

func newTarget(p place, token string, log *slog.Logger) *target {
	dialer := net.Dialer{Timeout: time.Second}
	transport := &http.Transport{
		MaxIdleConns: 1, IdleConnTimeout: time.Minute, ResponseHeaderTimeout: answerWithin,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if p.socket != "" {
				network, address = "unix", p.socket
			}
			return dialer.DialContext(ctx, network, address)
		},
	}
	return &target{
		place: p, token: token, log: log.With("nginx", p.name), wake: make(chan struct{}, 1),
		client:   &http.Client{Transport: transport, Timeout: answerWithin},
		standing: member.Standing{Target: "nginx " + p.name},
	}
}

func (t *target) set(d *member.Decision) {
	t.mu.Lock()
	t.wanted = d
	t.mu.Unlock()
	select {
	case t.wake <- struct{}{}:
	default: // it is awake already
	}
}

func (t *target) show() member.Standing {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.standing
}

func (t *target) run(ctx context.Context) {
	defer t.client.CloseIdleConnections()
	pause := retryFirst
	for {
		wait := lookEvery
		if err := t.step(ctx); err != nil && ctx.Err() == nil {
			wait, pause = pause, min(2*pause, retryMost)
		} else {
			pause = retryFirst
		}
		select {
		case <-ctx.Done():
			return
		case <-t.wake:
		case <-time.After(wait):
		}
	}
}

// step brings the nginx one step nearer to what is wanted, and notes how that went.
func (t *target) step(ctx context.Context) error {
	t.mu.Lock()
	wanted := t.wanted
	t.mu.Unlock()
	if wanted == nil {
		return nil
	}
	if wanted != t.follow {
		t.follow, t.fresh = wanted, true
		t.turn.Decide(wanted.By, wanted.At)
	}
	err := t.align(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	t.note(err)
	return err
}

// align pushes a fresh decision without a look, which saves a round trip; else it looks first and pushes if that is due.
func (t *target) align(ctx context.Context) error {
	if !t.fresh {
		held, err := t.look(ctx)
		if err != nil && !errors.Is(err, errNoDump) {
			return err
		}
		if due, overtaken := t.judge(held); !due {
			return cmp.Or(overtaken, err)
		}
	}
	for range 3 {
		held, err := t.push(ctx)
		if !errors.Is(err, errNotAbove) {
			return err
		}
		if due, err := t.judge(held); !due {
			return err
		}
	}
	return fmt.Errorf("nginx %s: it holds a newer version each time: another agent pushes too", t.name)
}

func (t *target) judge(held member.Stamp) (due bool, err error) {
	switch t.turn.Judge(held, time.Now()) {
	case member.Write:
		return true, nil
	case member.Overtaken:
		return false, fmt.Errorf("nginx %s: the agent of %s pushed a newer set (version %d): waiting for it to stop", t.name, held.By, held.Version)
	}
	return false, nil
}

// note keeps what a person and the metrics are shown; it logs only what is new.
func (t *target) note(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	inStep := err == nil || errors.Is(err, errNoDump)
	text := ""
	if err != nil {
		text = err.Error()
		t.standing.Failures++
	}
	if inStep && t.fresh {
		t.fresh = false
		t.standing.Writes++
		if !t.follow.Changed.IsZero() {
			t.standing.Lag = now.Sub(t.follow.Changed)
		}
	}
	if inStep != t.standing.InStep || t.standing.Since.IsZero() {
		t.standing.InStep, t.standing.Since = inStep, now
	}
	if text != t.standing.Error {
		if t.standing.Error = text; text != "" {
			t.log.Warn("nginx is not as it should be", "error", text)
		} else {
			t.log.Info("nginx is in step again", "version", t.turn.Mine().Version)
		}
	}
	t.standing.Version = t.turn.Mine().Version
}

var (
	errNotAbove = errors.New("the version in force is not lower")
	errNoDump   = errors.New("the members are in force, but it cannot keep them on disk")
)

// look asks for the version in force.
func (t *target) look(ctx context.Context) (member.Stamp, error) {
	a, err := t.ask(ctx, http.MethodHead, nil)
	switch {
	case err != nil:
		return a.held, err
	case a.status != http.StatusOK:
		return a.held, t.refused("give its version", a)
	}
	return a.held, t.dumped(a)
}

// push replaces the members; errNotAbove comes with the stamp in force.
func (t *target) push(ctx context.Context) (member.Stamp, error) {
	body, err := json.Marshal(document{Stamp: t.turn.Mine(), Upstreams: listed(t.follow.Upstreams)})
	if err != nil {
		return member.Stamp{}, fmt.Errorf("nginx %s: encode the members: %w", t.name, err)
	}
	a, err := t.ask(ctx, http.MethodPut, body)
	switch {
	case err != nil:
		return a.held, err
	case a.status == http.StatusConflict:
		return a.held, errNotAbove
	case a.status != http.StatusOK:
		return a.held, t.refused("take the members", a)
	}
	return a.held, t.dumped(a)
}

func (t *target) dumped(a answer) error {
	if a.noDump == "" {
		return nil
	}
	return fmt.Errorf("nginx %s: %w: %s", t.name, errNoDump, a.noDump)
}

// document is what travels to nginx and lies on its disk.
type document struct {
	member.Stamp
	Upstreams map[string][]member.Peer `json:"upstreams"`
}

// listed makes an upstream without members an empty list, where Go would write null.
func listed(upstreams map[string][]member.Peer) map[string][]member.Peer {
	all := make(map[string][]member.Peer, len(upstreams))
	for name, peers := range upstreams {
		all[name] = append([]member.Peer{}, peers...)
	}
	return all
}

func (t *target) refused(what string, a answer) error {
	switch a.status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("nginx %s: it refuses us (%d): check the token on both sides", t.name, a.status)
	case http.StatusNotFound:
		return fmt.Errorf("nginx %s: there is no door of rolling.lua at %s (404)", t.name, t.url)
	}
	return fmt.Errorf("nginx %s: it does not %s: %d %s", t.name, what, a.status, a.text)
}

// answer is what the door said.
type answer struct {
	status int
	held   member.Stamp // in force after the request
	noDump string       // why that is not on disk, "" if it is
	text   string       // for people
}

func (t *target) ask(ctx context.Context, method string, body []byte) (answer, error) {
	request, err := http.NewRequestWithContext(ctx, method, t.url, bytes.NewReader(body))
	if err != nil {
		return answer{}, fmt.Errorf("nginx %s: %w", t.name, err)
	}
	if t.token != "" {
		request.Header.Set("Authorization", "Bearer "+t.token)
	}
	response, err := t.client.Do(request)
	if err != nil {
		return answer{}, fmt.Errorf("nginx %s: %w", t.name, err)
	}
	defer func() { _ = response.Body.Close() }()               // a read body has nothing left to fail
	said, _ := io.ReadAll(io.LimitReader(response.Body, 4096)) // for an error's text only
	a := answer{status: response.StatusCode, noDump: response.Header.Get("Rolling-Dump"), text: strings.TrimSpace(string(said))}
	a.held.By = response.Header.Get("Rolling-By")
	a.held.Version, err = strconv.ParseInt(response.Header.Get("Rolling-Version"), 10, 64)
	if err != nil && a.status < 400 {
		return a, fmt.Errorf("nginx %s: the answer has no Rolling-Version: is rolling.lua at %s?", t.name, t.url)
	}
	return a, nil
}
