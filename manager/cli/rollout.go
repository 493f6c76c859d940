package cli

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rolling-swarm/rolling/manager/api"
)

var rolloutView = view[api.Rollout]{
	id: func(r api.Rollout) string { return string(r.ID) },
	columns: []column[api.Rollout]{
		{"ROLLOUT", false, func(r api.Rollout) string { return string(r.ID) }},
		{"KIND", false, func(r api.Rollout) string { return string(r.Kind) }},
		{"PROJECT", false, func(r api.Rollout) string { return string(r.Project) }},
		{"ENVIRONMENT", false, func(r api.Rollout) string { return string(r.Environment) }},
		{"RELEASE", false, func(r api.Rollout) string { return string(r.Release) }},
		{"STATE", false, func(r api.Rollout) string { return string(r.State) }},
		{"STARTED", false, func(r api.Rollout) string { return stamp(r.Started) }},
		{"TOOK", false, took},
		{"FROM", true, func(r api.Rollout) string { return string(r.From) }},
		{"BY", true, func(r api.Rollout) string { return r.By }},
		{"CAUSE", true, func(r api.Rollout) string { return firstLine(r.Cause) }},
	},
	text: rolloutText,
}

// rolloutLine is the short form, for commands that said on the way what happened.
var rolloutLine = view[api.Rollout]{id: rolloutView.id, columns: rolloutView.columns, text: func(r api.Rollout) string {
	text := fmt.Sprintf("%s: %s of %s in %s/%s: %s", r.ID, r.Kind, r.Release, r.Project, r.Environment, r.State)
	if t := took(r); t != "" {
		text += " after " + t
	}
	return text
}}

func took(r api.Rollout) string {
	if r.Ended == nil {
		return ""
	}
	return r.Ended.Sub(r.Started).Round(time.Second).String()
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

func rolloutText(r api.Rollout) string {
	var b strings.Builder
	pair := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%-12s %s\n", name, value)
		}
	}
	pair("rollout", fmt.Sprintf("%s, %s", r.ID, r.Kind))
	pair("environment", string(r.Project)+"/"+string(r.Environment))
	pair("release", string(r.Release))
	pair("from", string(r.From))
	pair("started", stamp(r.Started)+by(r.By))
	if r.Ended != nil {
		pair("ended", fmt.Sprintf("%s, after %s", stamp(*r.Ended), took(r)))
	}
	state := string(r.State)
	if r.GoingBack && !over(r) {
		state += ", on its way back"
	}
	fmt.Fprintf(&b, "%-12s %s", "state", state)
	why(&b, r, "  ")
	for _, n := range r.Notes {
		pair("note", n)
	}
	for _, s := range r.Services {
		pair("service", s.Service+": "+count(s))
	}
	if r.Plan != "" {
		b.WriteString("\n" + r.Plan)
	}
	return b.String()
}

func (c *commands) rollouts() *cobra.Command {
	return c.noun("rollout", "How environments are brought to releases", c.rolloutList(), c.rolloutShow(), c.rolloutWatch(), c.rolloutRollback(), c.rolloutCancel())
}

func (c *commands) rolloutList() *cobra.Command {
	var o output
	var limit int
	cmd := c.verb("list [PROJECT] [ENVIRONMENT]", "List rollouts, newest first", func(ctx context.Context, cmd *cobra.Command, args []string) error {
		if limit < 0 {
			return usage(cmd, "--limit: want 0 or more")
		}
		query := url.Values{}
		for i, name := range []string{"project", "environment"} {
			if word := argument(args, i); word != "" {
				query.Set(name, word)
			}
		}
		return listing(ctx, c, o, rolloutView, "/api/v1/rollouts", query, limit)
	})
	cmd.Flags().IntVar(&limit, "limit", 20, "at most so many (0: all)")
	o.flags(cmd)
	return cmd
}

func (c *commands) rolloutShow() *cobra.Command {
	var o output
	cmd := c.verb("show ROLLOUT", "Show how a rollout stands or how it ended, and why", func(ctx context.Context, _ *cobra.Command, args []string) error {
		return showing(ctx, c, o, rolloutView, where("/api/v1/rollouts/%s", args[0]))
	})
	o.flags(cmd)
	return cmd
}

func (c *commands) rolloutWatch() *cobra.Command {
	var o output
	cmd := c.verb("watch ROLLOUT", "Follow a rollout to its end; exit code as of deploy", func(ctx context.Context, _ *cobra.Command, args []string) error {
		cl, err := c.client()
		if err != nil {
			return err
		}
		return c.await(ctx, cl, args[0], o)
	})
	timeoutFlag(c, cmd)
	o.flags(cmd)
	return cmd
}

func (c *commands) rolloutRollback() *cobra.Command {
	var w waiting
	var overwrite bool
	cmd := c.verb("rollback PROJECT ENVIRONMENT", "Bring an environment back to its last good release", func(ctx context.Context, _ *cobra.Command, args []string) error {
		return c.start(ctx, w, http.MethodPost, where("/api/v1/projects/%s/environments/%s/rollback", args[0], args[1]), api.Back{Overwrite: overwrite})
	})
	overwriteFlag(cmd, &overwrite)
	w.flags(c, cmd)
	return cmd
}

func (c *commands) rolloutCancel() *cobra.Command {
	var w waiting
	cmd := c.verb("cancel ROLLOUT", "Make a rollout that runs go back", func(ctx context.Context, _ *cobra.Command, args []string) error {
		return c.start(ctx, w, http.MethodPost, where("/api/v1/rollouts/%s/cancellation", args[0]), nil)
	})
	w.flags(c, cmd)
	return cmd
}
