package engine

import (
	"context"
	"fmt"
	"strings"

	"github.com/moby/moby/api/types/swarm"

	"github.com/rolling-swarm/rolling/manager/cluster"
	"github.com/rolling-swarm/rolling/manager/rollout"
)

// checkLimit is how much of what a health check wrote goes into a cause.
const checkLimit = 300

// examine asks the node of a failing task what its health check said, and puts that into the cause: Swarm shows an unhealthy
// task as one whose program ended by itself, or says no more than that it is starting.
func (w *work) examine(ctx context.Context, m *rollout.Memory, v *rollout.Verdict) {
	f := v.Failing
	if f == nil || f.ContainerID == "" || f.Check != "" || w.e.options.Agents == nil || w.examined[f.TaskID] {
		return
	}
	limit, cancel := context.WithTimeout(ctx, nodeWithin)
	defer cancel()
	checks, err := w.e.options.Agents.Checks(limit, cluster.Place{Node: f.NodeID, Task: f.TaskID, Container: f.ContainerID})
	w.examined[f.TaskID] = err == nil || limit.Err() != nil // who answers nothing for so long is not asked at every look
	if err != nil {
		w.log.Debug("no health checks", "task", f.TaskID, "err", err)
		return
	}
	said := saidBy(checks, f.State == swarm.TaskStateStarting)
	if said == "" {
		return
	}
	told := *f
	told.Check = said
	before, after := f.String(), told.String()
	v.Failing, v.Reason = &told, strings.ReplaceAll(v.Reason, before, after)
	m.Cause = strings.ReplaceAll(m.Cause, before, after)
	w.r.Cause = strings.ReplaceAll(w.r.Cause, w.readable(ctx, before), w.readable(ctx, after))
	for _, has := range []**rollout.Failing{&m.Failing, &w.r.Failing} {
		if *has != nil && (*has).TaskID == told.TaskID {
			*has = &told
		}
	}
}

// saidBy says in a line how the last check failed; "" if that is not why the task does not run. One that starts may fail for
// a while.
func saidBy(c Checks, starting bool) string {
	if len(c.Checks) == 0 {
		return ""
	}
	last := c.Checks[len(c.Checks)-1]
	if last.ExitCode == 0 || !starting && !c.Unhealthy {
		return ""
	}
	said := "its health check fails"
	if c.Unhealthy {
		said = fmt.Sprintf("its health check failed %d times in a row", c.Failed)
	}
	if last.ExitCode > 0 {
		said += fmt.Sprintf(", last with exit code %d", last.ExitCode)
	}
	if output := strings.Join(strings.Fields(last.Output), " "); output != "" {
		if len(output) > checkLimit {
			output = strings.ToValidUTF8(output[:checkLimit], "") + "…"
		}
		said += ": " + output
	}
	return said
}
