package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rolling-swarm/rolling/manager/api"
	"github.com/rolling-swarm/rolling/manager/release"
)

// What a manager that is away is given: it may be on its way to another node.
const (
	firstPause   = 250 * time.Millisecond
	longestPause = 5 * time.Second
)

// waiting is how a command that begins a rollout waits for its end.
type waiting struct {
	detach bool
	output
}

func (w *waiting) flags(c *commands, cmd *cobra.Command) {
	cmd.Flags().BoolVarP(&w.detach, "detach", "d", false, "return once the rollout has begun")
	timeoutFlag(c, cmd)
	w.output.flags(cmd)
}

func timeoutFlag(c *commands, cmd *cobra.Command) {
	cmd.Flags().DurationVar(&c.timeout, "timeout", 0, "how long to wait for the end, such as 10m; the rollout goes on afterwards (0: until it ends)")
}

// begun follows a rollout that has begun, or says how to.
func (c *commands) begun(ctx context.Context, cl *client, w waiting, it item[api.Rollout]) error {
	if !w.detach {
		return c.await(ctx, cl, string(it.is.ID), w.output)
	}
	if !over(it.is) {
		c.say("%s has begun; follow it with: rolling rollout watch %s", it.is.ID, it.is.ID)
	}
	return showOne(c, w.output, rolloutLine, it)
}

// await prints what happens in a rollout until it ends; the exit code says how.
func (c *commands) await(ctx context.Context, cl *client, id string, o output) error {
	limit, cancel := context.WithCancel(ctx)
	defer cancel()
	if c.timeout > 0 {
		limit, cancel = context.WithTimeout(ctx, c.timeout)
		defer cancel()
	}
	it, err := c.untilEnd(limit, cl, id, !o.quiet)
	follow := "it goes on; follow it with: rolling rollout watch " + id
	switch {
	case err != nil && ctx.Err() != nil:
		return &ended{exitInterrupted, "interrupted while " + id + " runs: " + follow}
	case err != nil && limit.Err() != nil:
		return &ended{exitTimedOut, fmt.Sprintf("%s has not ended within %v: %s", id, c.timeout, follow)}
	case err != nil:
		return err
	}
	if err := showOne(c, o, rolloutLine, it); err != nil {
		return err
	}
	return verdict(it.is)
}

// untilEnd watches a rollout through every loss of the connection, and gives it once it has ended and all of its events
// were seen.
func (c *commands) untilEnd(ctx context.Context, cl *client, id string, loud bool) (item[api.Rollout], error) {
	last, pause, lost := "", firstPause, false
	for {
		seen := last
		err := c.stream(ctx, cl, id, &last, loud)
		var gone *unreachable
		if err != nil && !errors.As(err, &gone) {
			return item[api.Rollout]{}, err
		}
		it, err := fetch[api.Rollout](ctx, cl, http.MethodGet, where("/api/v1/rollouts/%s", id), nil)
		switch {
		case err == nil && over(it.is) && last == seen:
			return it, nil
		case err == nil && over(it.is):
			continue // until a stream brings nothing new
		case err != nil && (ctx.Err() != nil || !errors.As(err, &gone) && !later(err)):
			return it, err
		case err != nil && !lost:
			c.say("%v; trying again", err)
		}
		lost = err != nil
		if last != seen {
			pause = firstPause
		}
		if err := c.Pause(ctx, pause); err != nil {
			return it, err
		}
		pause = min(2*pause, longestPause)
	}
}

// over says that nothing more will happen by itself.
func over(r api.Rollout) bool { return r.State != release.Running }

// later says that the manager answers, but cannot look yet.
func later(err error) bool {
	var refused *refusedError
	return errors.As(err, &refused) && refused.Status == http.StatusServiceUnavailable
}

// stream prints events from after last on until the stream ends. Its failure is no failure of the rollout.
func (c *commands) stream(ctx context.Context, cl *client, id string, last *string, loud bool) error {
	header := http.Header{"Accept": {"text/event-stream"}}
	if *last != "" {
		header.Set("Last-Event-ID", *last)
	}
	answer, err := cl.open(ctx, http.MethodGet, where("/api/v1/rollouts/%s/events", id), nil, header, nil)
	if err != nil {
		if later(err) {
			return &unreachable{cl.at, err}
		}
		return err
	}
	defer answer.Body.Close() //nolint:errcheck // only read
	err = readMessages(answer.Body, func(m message) error {
		var e api.Event
		if err := json.Unmarshal([]byte(m.data), &e); err != nil {
			return fmt.Errorf("an event makes no sense: %w", err)
		}
		*last = m.id
		if loud {
			c.say("%s", progress(e))
		}
		return nil
	})
	if err != nil {
		return &unreachable{cl.at, err}
	}
	return nil
}

// progress is one line of what happens.
func progress(e api.Event) string {
	text := e.Text
	if p := e.Service; p != nil && text == "" {
		text = p.Service + ": " + count(*p)
	}
	return e.At.UTC().Format("15:04:05") + " " + strings.ReplaceAll(text, "\n", "\n         ")
}

func count(p api.Progress) string {
	wanted := fmt.Sprint(p.Wanted)
	if p.Wanted < 0 {
		wanted = "one a node"
	}
	text := fmt.Sprintf("%s, %d of %s", p.State, p.Running, wanted)
	if p.Others > 0 {
		text += fmt.Sprintf(", %d of another version", p.Others)
	}
	if p.Reason != "" {
		text += ": " + p.Reason
	}
	return text
}

// verdict turns the end of a rollout into an exit code. A rollout that went back is a failure, whatever runs now.
func verdict(r api.Rollout) error {
	code := exitFailed
	switch r.State {
	case release.Succeeded:
		return nil
	case release.RolledBack:
		code = exitRolledBack
	case release.TimedOut:
		code = exitTimedOut
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", r.ID, strings.ReplaceAll(string(r.State), "_", " "))
	why(&b, r, "  ")
	return &ended{code, strings.TrimRight(b.String(), "\n")}
}

// why writes the first cause, the task that shows it, and that task's last words.
func why(b *strings.Builder, r api.Rollout, indent string) {
	if r.Cause != "" {
		b.WriteString(": " + r.Cause)
	}
	b.WriteString("\n")
	if r.Failing != nil && !strings.Contains(r.Cause, r.Failing.TaskID) {
		b.WriteString(indent + r.Failing.String() + "\n")
	}
	for _, line := range r.Lines {
		b.WriteString(indent + "| " + line + "\n")
	}
}
