package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/rolling-swarm/rolling/manager/api"
	"github.com/rolling-swarm/rolling/manager/engine"
	"github.com/rolling-swarm/rolling/manager/release"
)

// usageError is a command line that makes no sense.
type usageError struct {
	text, command string
}

func (e *usageError) Error() string { return e.text }

func usage(cmd *cobra.Command, format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...), cmd.CommandPath()}
}

// ended is a command that did its work and whose exit code says what it found.
type ended struct {
	code int
	text string // for stderr; "": nothing more to say
}

func (e *ended) Error() string { return e.text }

// refusedError is the API's no.
type refusedError struct{ api.Problem }

func (e *refusedError) Error() string { return e.Detail }

// say writes a line to stderr. If nobody reads that, there is nobody to be told.
func (c *commands) say(format string, args ...any) {
	_, _ = io.WriteString(c.Err, printable(fmt.Sprintf(format, args...))+"\n")
}

// printable keeps what a container wrote from moving the terminal's cursor, or worse.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return r
		}
		return '·'
	}, s)
}

// end says what went wrong, and gives the exit code.
func (c *commands) end(ctx context.Context, err error) int {
	var wrong *usageError
	var done *ended
	var refused *refusedError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &wrong):
		c.say("rolling: %s\nSee '%s --help'.", wrong.text, wrong.command)
		return exitUsage
	case errors.As(err, &done):
		if done.text != "" {
			c.say("rolling: %s", done.text)
		}
		return done.code
	case ctx.Err() != nil:
		c.say("rolling: interrupted")
		return exitInterrupted
	case errors.As(err, &refused):
		c.say("rolling: %s", explain(refused.Problem))
		return refusalCode(refused.Problem)
	}
	c.say("rolling: %v", err)
	return exitFailed
}

// explain writes a problem with everything that is wrong, each on a line.
func explain(p api.Problem) string {
	var b strings.Builder
	b.WriteString(strings.TrimSpace(p.Detail))
	for _, d := range p.Problems {
		line := strings.TrimPrefix(d.Path+": "+d.Text, ": ")
		if len(p.Problems) == 1 && strings.Contains(p.Detail, line) {
			continue
		}
		b.WriteString("\n  " + strings.ReplaceAll(line, "\n", "\n  "))
	}
	if p.Holder != nil {
		fmt.Fprintf(&b, "\n  follow it with: rolling rollout watch %s", p.Holder.ID)
	}
	if p.Code == api.Code(engine.Drifted) {
		b.WriteString("\n  --overwrite writes over it")
	}
	if p.Plan != nil && p.Plan.Text != "" {
		b.WriteString("\n\n" + strings.TrimRight(p.Plan.Text, "\n"))
	}
	if p.Code == api.CodeInternal && p.RequestID != "" {
		b.WriteString("\n  request " + p.RequestID)
	}
	return b.String()
}

func by(who string) string {
	if who == "" {
		return ""
	}
	return " by " + who
}

// refusalCode tells scripts whether a person's word alone is missing, or the project's rules say no.
func refusalCode(p api.Problem) int {
	if p.Status != http.StatusForbidden || p.Code != api.Code(engine.Refused) {
		return exitFailed
	}
	rule := map[api.Code]int{
		api.Code(release.ApprovalMissing): exitApproval,
		api.Code(release.Frozen):          exitDenied, api.Code(release.Rejected): exitDenied, api.Code(release.StageSkipped): exitDenied,
		api.Code(release.ImagesChanged): exitDenied, api.Code(release.Discarded): exitDenied,
	}
	code := exitFailed
	for _, d := range p.Problems {
		of, known := rule[d.Code]
		if !known {
			return exitFailed // an unknown environment, a running rollout: no rule, a mistake or bad luck
		}
		code = max(code, of)
	}
	return code
}
