package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/rolling-swarm/rolling/manager/api"
)

const (
	// followEvery is how often new lines are asked for.
	followEvery = time.Second
	// mostLines is how many the manager gives at once.
	mostLines = 500
	// tasksAtOnce are asked side by side.
	tasksAtOnce = 16
)

// reading is one run of rolling logs.
type reading struct {
	c           *commands
	cl          *client
	project     string
	environment string
	only        string // SERVICE or SERVICE.SLOT; "": all
	seen        map[string][]string
	told        map[string]bool // tasks whose trouble was said
	width       int
}

func (c *commands) logs() *cobra.Command {
	var tail int
	var follow bool
	cmd := c.verb("logs PROJECT ENVIRONMENT [SERVICE[.SLOT]]", "Print the last lines that tasks wrote", func(ctx context.Context, cmd *cobra.Command, args []string) error {
		if tail < 1 || tail > mostLines {
			return usage(cmd, "--tail: %d: want 1 to %d", tail, mostLines)
		}
		cl, err := c.client()
		if err != nil {
			return err
		}
		r := reading{c: c, cl: cl, project: args[0], environment: args[1], only: argument(args, 2), seen: map[string][]string{}, told: map[string]bool{}}
		if !follow {
			return r.print(ctx, tail, tail)
		}
		if err := r.print(ctx, mostLines, tail); err != nil && len(r.seen)+len(r.told) == 0 {
			return err
		}
		return r.follow(ctx) // who could not be asked is asked again
	})
	cmd.Flags().IntVarP(&tail, "tail", "n", 20, fmt.Sprintf("lines of each task (1 to %d)", mostLines))
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what they write, until interrupted; asked for every second")
	return cmd
}

// tasks are those that were asked for, as they run now.
func (r *reading) tasks(ctx context.Context) ([]api.Task, error) {
	at := where("/api/v1/projects/%s/environments/%s/tasks", r.project, r.environment)
	items, err := list[api.Task](ctx, r.cl, at, nil, 0, func(text string) { r.c.say("missing here: %s", text) })
	if err != nil {
		return nil, err
	}
	var all []api.Task
	var known []string
	for _, it := range items {
		t := it.is
		known = append(known, slotOf(t))
		if r.only == "" || r.only == t.Service || r.only == slotOf(t) {
			all = append(all, t)
			r.width = max(r.width, len(slotOf(t)))
		}
	}
	if len(all) == 0 && r.only != "" && len(known) > 0 {
		slices.Sort(known)
		return nil, fmt.Errorf("nothing of %s runs in %s/%s: want one of %s, or a service of them", r.only, r.project, r.environment, strings.Join(slices.Compact(known), ", "))
	}
	return all, nil
}

func slotOf(t api.Task) string { return t.Service + "." + t.Slot }

// print writes the last lines of every task, task by task, of those that it asks for. Who cannot be asked is told of at the
// end.
func (r *reading) print(ctx context.Context, asked, tail int) error {
	tasks, err := r.tasks(ctx)
	if err != nil {
		return err
	}
	if len(tasks) == 0 {
		r.c.say("nothing runs in %s/%s", r.project, r.environment)
	}
	lines, errs := r.ask(ctx, tasks, asked)
	for i, t := range tasks {
		if errs[i] == nil {
			r.seen[t.ID] = lines[i]
		}
		if err := r.write(t, lines[i][max(0, len(lines[i])-tail):]); err != nil {
			return err
		}
	}
	code := exitDone
	for i, err := range errs {
		if r.told[tasks[i].ID] = err != nil; err != nil {
			r.c.say("rolling: %v", err)
			code = exitFailed
		}
	}
	if code != exitDone {
		return &ended{code: code}
	}
	return nil
}

// ask gives the lines of each task, and the error of each that has one.
func (r *reading) ask(ctx context.Context, tasks []api.Task, tail int) (lines [][]string, errs []error) {
	lines, errs = make([][]string, len(tasks)), make([]error, len(tasks))
	var all sync.WaitGroup
	room := make(chan struct{}, tasksAtOnce)
	for i, t := range tasks {
		room <- struct{}{}
		all.Go(func() {
			defer func() { <-room }()
			raw, _, err := r.cl.do(ctx, http.MethodGet, where("/api/v1/tasks/%s/lines", t.ID), url.Values{"tail": {fmt.Sprint(tail)}}, nil, nil)
			if err != nil {
				errs[i] = fmt.Errorf("%s: %w", slotOf(t), err)
				return
			}
			got, err := decode[api.Lines](raw)
			lines[i], errs[i] = got.is.Lines, err
		})
	}
	all.Wait()
	return lines, errs
}

func (r *reading) write(t api.Task, lines []string) error {
	for _, line := range lines {
		if _, err := io.WriteString(r.c.Out, fmt.Sprintf("%-*s | %s\n", r.width, slotOf(t), printable(line))); err != nil {
			return err
		}
	}
	return nil
}

// follow asks again and again, also for tasks that come; it ends with ctx.
func (r *reading) follow(ctx context.Context) error {
	for {
		if err := r.c.Pause(ctx, followEvery); err != nil {
			return err
		}
		tasks, err := r.tasks(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			r.trouble("", err)
			continue
		}
		lines, errs := r.ask(ctx, tasks, mostLines)
		for i, t := range tasks {
			if r.trouble(t.ID, errs[i]) {
				continue
			}
			news, gap := beyond(r.seen[t.ID], lines[i])
			if r.seen[t.ID] = lines[i]; gap {
				r.c.say("%s writes more than %d lines a second: some are missing here", slotOf(t), mostLines)
			}
			if err := r.write(t, news); err != nil {
				return err
			}
		}
	}
}

// trouble says what goes wrong with a task, once until it is over, and whether something does.
func (r *reading) trouble(task string, err error) bool {
	if err != nil && !r.told[task] {
		r.c.say("%v; trying again", err)
	}
	r.told[task] = err != nil
	return err != nil
}

// beyond gives the lines that are new. Lines have no numbers; but both are windows over one text that only grows, so the end
// of the earlier one is the beginning of the later one. There is a gap if they have nothing in common.
func beyond(seen, came []string) (news []string, gap bool) {
	for k := range seen {
		if rest := seen[k:]; len(rest) <= len(came) && slices.Equal(rest, came[:len(rest)]) {
			return came[len(rest):], false
		}
	}
	return came, len(seen) > 0 && len(came) > 0
}
