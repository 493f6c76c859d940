package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rolling-swarm/rolling/manager/api"
)

// What a drain and its end are given, unless --timeout says more: a service may have a long grace.
const (
	drainWithin = 10 * time.Minute
	nodeEvery   = 500 * time.Millisecond
)

var nodeDetailView = view[api.NodeDetail]{id: func(n api.NodeDetail) string { return n.Name }, text: nodeText}

func nodeText(n api.NodeDetail) string {
	var b strings.Builder
	pair := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%-12s %s\n", name, value)
		}
	}
	pair("node", n.Name)
	pair("id", n.ID)
	pair("role", n.Role+map[bool]string{true: ", leads the Swarm"}[n.Leader])
	pair("state", n.State)
	pair("availability", n.Availability)
	pair("address", n.Address)
	pair("engine", n.Engine)
	pair("routes", routesWord(n))
	pair("tasks", fmt.Sprint(n.Tasks))
	for _, t := range n.Remaining {
		pair("remains", fmt.Sprintf("%s.%s %s", t.Service, t.Slot, t.State))
	}
	if n.Stays > 0 {
		pair("stays", fmt.Sprintf("%d containers of docker run, which no drain moves", n.Stays))
	}
	for _, w := range n.Warnings {
		pair("warning", w)
	}
	return b.String()
}

func routesWord(n api.NodeDetail) string {
	switch {
	case n.Marked == nil:
		return ""
	case *n.Marked:
		return "marked for a shutdown"
	}
	return "announced"
}

// nodeVerbs are what one can do about nodes beside listing them.
func (c *commands) nodeVerbs() []*cobra.Command {
	return []*cobra.Command{c.nodeShow(), c.nodeDrain(), c.nodeActivate()}
}

func (c *commands) nodeShow() *cobra.Command {
	var o output
	cmd := c.verb("show NODE", "Show a node, and what still runs there while it drains", func(ctx context.Context, _ *cobra.Command, args []string) error {
		return showing(ctx, c, o, nodeDetailView, where("/api/v1/nodes/%s", args[0]))
	})
	o.flags(cmd)
	return cmd
}

// change is a drain or its end, as one waits for it.
type change struct {
	path    string
	body    any
	repeat  bool // the wish itself has to be said again until it is done
	done    func(api.NodeDetail) bool
	waits   func(api.NodeDetail) string // what it waits for, in a word
	outcome string
	again   string // the command that goes on with it
}

func (c *commands) nodeDrain() *cobra.Command {
	var o output
	var detach bool
	var w api.Draining
	cmd := c.verb("drain NODE", "Move everything off a node: its routes first, then its tasks", func(ctx context.Context, _ *cobra.Command, args []string) error {
		return c.changeNode(ctx, o, args[0], detach, change{
			path: where("/api/v1/nodes/%s/drain", args[0]), body: w,
			done:    func(n api.NodeDetail) bool { return len(n.Remaining) == 0 },
			waits:   remains,
			outcome: "is drained: nothing of Swarm's runs there; rolling node activate " + args[0] + " brings it back",
			again:   "rolling node drain " + args[0],
		})
	})
	cmd.Flags().BoolVar(&w.Force, "force", false, "also if its routes cannot be marked first, if no other node can take its tasks, or if the manager itself runs there")
	c.waitFlags(cmd, &detach)
	o.flags(cmd)
	return cmd
}

func (c *commands) nodeActivate() *cobra.Command {
	var o output
	var detach bool
	cmd := c.verb("activate NODE", "Undo a drain: tasks may run there again, and its routes are announced without a mark", func(ctx context.Context, _ *cobra.Command, args []string) error {
		return c.changeNode(ctx, o, args[0], detach, change{
			path: where("/api/v1/nodes/%s/activate", args[0]), repeat: true,
			done:    func(n api.NodeDetail) bool { return n.Marked != nil && !*n.Marked },
			waits:   func(api.NodeDetail) string { return "its agent comes back, to take the mark off its routes" },
			outcome: "is active",
			again:   "rolling node activate " + args[0],
		})
	})
	c.waitFlags(cmd, &detach)
	o.flags(cmd)
	return cmd
}

func (c *commands) waitFlags(cmd *cobra.Command, detach *bool) {
	cmd.Flags().BoolVarP(detach, "detach", "d", false, "return once it has begun")
	cmd.Flags().DurationVar(&c.timeout, "timeout", drainWithin, "how long to wait for the end; it goes on afterwards")
}

// remains is what a drain waits for.
func remains(n api.NodeDetail) string {
	var names []string
	for _, t := range n.Remaining {
		names = append(names, t.Service+"."+t.Slot)
	}
	const most = 4
	more := ""
	if len(names) > most {
		names, more = names[:most], fmt.Sprintf(" and %d more", len(names)-most)
	}
	return fmt.Sprintf("%d tasks to end: %s%s", len(n.Remaining), strings.Join(names, " "), more)
}

func (c *commands) changeNode(ctx context.Context, o output, node string, detach bool, ch change) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	it, err := fetch[api.NodeDetail](ctx, cl, http.MethodPost, ch.path, ch.body)
	if err != nil {
		return err
	}
	if detach {
		c.warn(it.is)
		return showOne(c, o, nodeDetailView, it)
	}
	limit, cancel := ctx, context.CancelFunc(func() {})
	if c.timeout > 0 {
		limit, cancel = context.WithTimeout(ctx, c.timeout)
	}
	defer cancel()
	it, err = c.untilNode(limit, cl, node, it, ch)
	switch {
	case err != nil && ctx.Err() != nil:
		return &ended{exitInterrupted, "interrupted: it goes on; follow it with: " + ch.again}
	case err != nil && limit.Err() != nil:
		return &ended{exitTimedOut, fmt.Sprintf("node %s: after %v still waiting until %s: it goes on; follow it with: %s", node, c.timeout, ch.waits(it.is), ch.again)}
	case err != nil:
		return err
	}
	c.warn(it.is)
	c.say("node %s %s", it.is.Name, ch.outcome)
	if o.form == "table" && !o.quiet && o.format == "" {
		return nil
	}
	return showOne(c, o, nodeDetailView, it)
}

func (c *commands) warn(n api.NodeDetail) {
	for _, w := range n.Warnings {
		c.say("rolling: %s", w)
	}
	if n.Stays > 0 {
		c.say("rolling: %d containers of docker run stay on %s: no drain moves them", n.Stays, n.Name)
	}
}

// untilNode looks until it is done, through every loss of the manager, and says whenever what it waits for is another.
func (c *commands) untilNode(ctx context.Context, cl *client, node string, it item[api.NodeDetail], ch change) (item[api.NodeDetail], error) {
	said := ""
	for !ch.done(it.is) {
		if text := ch.waits(it.is); text != said {
			said = text
			c.say("%s node %s: waiting until %s", c.Now().UTC().Format("15:04:05"), it.is.Name, text)
		}
		if err := c.Pause(ctx, nodeEvery); err != nil {
			return it, err
		}
		method, path := http.MethodGet, where("/api/v1/nodes/%s", node)
		if ch.repeat {
			method, path = http.MethodPost, ch.path
		}
		next, err := fetch[api.NodeDetail](ctx, cl, method, path, nil)
		var gone *unreachable
		switch {
		case err == nil:
			it = next
		case ctx.Err() != nil:
			return it, ctx.Err()
		case !errors.As(err, &gone) && !later(err):
			return it, err
		}
	}
	return it, nil
}
