package proof

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// drainedUpstream is how the gateway calls orders in this proof.
const drainedUpstream = "orders-drain"

// leaderDrainsQuietly drains the leader, whose agent keeps the gateway true until then, while clients at the router ask.
func leaderDrainsQuietly(ctx context.Context, w *World) (string, error) {
	if err := w.gateway(ctx); err != nil {
		return "", err
	}
	node, err := w.leader(ctx)
	if err != nil {
		return "", err
	}
	if node == w.Lab.Managers()[0] { // the manager is bound to it
		if _, err := w.ends(ctx, 1, "node", "drain", node); err != nil {
			return "", err
		}
		node = w.Lab.Managers()[1]
	}
	v, err := w.Agree(ctx, 30*time.Second)
	if err != nil {
		return "", err
	}
	before := 0
	for _, c := range v.Containers {
		if c.Node == node {
			before++
		}
	}
	through := w.nginxLoad(ctx, drainedUpstream)
	time.Sleep(time.Second)
	// Begun, left alone, and said again: as after a command line that was killed.
	begun := time.Now()
	if _, err := w.ends(ctx, 0, "node", "drain", node, "--detach"); err != nil {
		return "", err
	}
	o, err := w.ends(ctx, 0, "node", "drain", node, "-o", "json")
	if err != nil {
		return "", err
	}
	took := time.Since(begun)
	var shown struct {
		Availability string `json:"availability"`
		Remaining    []any  `json:"remaining"`
	}
	if err := json.Unmarshal([]byte(o.stdout), &shown); err != nil || shown.Availability != "drain" || len(shown.Remaining) > 0 {
		return "", fmt.Errorf("after the drain: %w: %s", err, o.stdout)
	}
	if _, err := w.running(ctx, len(v.Tasks), time.Minute); err != nil {
		return "", err
	}
	answers, err := through.end("the gateway, while " + node + " was drained")
	if err != nil {
		return "", err
	}
	if err := w.emptied(ctx, node); err != nil {
		return "", err
	}
	begun = time.Now()
	if _, err := w.ends(ctx, 0, "node", "activate", node, "--timeout", "90s"); err != nil {
		return "", err
	}
	back := time.Since(begun)
	if err := w.healthy(ctx, time.Minute); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s left %d containers in %.1f s, %d requests through the gateway and none failed; back after %.1f s, and the doctor finds nothing wrong",
		node, before, took.Seconds(), answers, back.Seconds()), nil
}

// gateway starts nginx at the router and has it know orders. The label is the service's: no task restarts for it.
func (w *World) gateway(ctx context.Context) error {
	if err := w.Lab.StartPart(ctx, "nginx"); err != nil {
		return err
	}
	leader, err := w.leader(ctx)
	if err != nil {
		return err
	}
	if _, err := w.Lab.Docker(ctx, leader, "service", "update", "--detach", "--label-add", "rolling.discovery.nginx="+drainedUpstream+":8080", ordersService); err != nil {
		return err
	}
	return eventually(ctx, 30*time.Second, "the gateway answers", func(ctx context.Context) error {
		probe, stop := context.WithTimeout(ctx, 3*time.Second)
		defer stop()
		l := w.nginxLoad(probe, drainedUpstream)
		time.Sleep(200 * time.Millisecond)
		_, err := l.end("the gateway")
		return err
	})
}

// emptied: no container of orders is on the node, no route leads there, and all witnesses agree.
func (w *World) emptied(ctx context.Context, node string) error {
	v, err := w.Agree(ctx, 30*time.Second)
	if err != nil {
		return err
	}
	for _, c := range v.Containers {
		if c.Node == node {
			return fmt.Errorf("%s still has a container with %v", node, c.Engine)
		}
	}
	for p, hops := range v.Routes {
		for _, hop := range hops {
			if hop == w.Lab.Address(node) {
				return fmt.Errorf("the router still has %s by way of %s", p, node)
			}
		}
	}
	out, err := w.Lab.Docker(ctx, w.Lab.Managers()[0], "node", "ls", "--format", "{{.Hostname}} {{.Availability}}")
	if err == nil && !strings.Contains(out, node+" Drain") {
		err = errors.New("Swarm does not call it drained: " + out)
	}
	return err
}
