// Package docker is a node's engine as the line needs it: which node of the Swarm this is, where its managers are, and what
// a container and its health check said last. It knows Docker's API; who asks it does not know.
package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/client"

	"github.com/rolling-swarm/rolling/internal/wire"
)

// taskLabel is set by Swarm on the container of each task.
const taskLabel = "com.docker.swarm.task.id"

// usualRetries is the engine's own, where a health check names none.
const usualRetries = 3

// maxRead bounds what is read of a log for the sake of its last lines: the engine may keep lines of any length.
const maxRead = 64 << 20

// ErrNoSwarm is of a node that is in no Swarm.
var ErrNoSwarm = errors.New("this node is in no Swarm")

// Engine is the engine of this node.
type Engine struct {
	api *client.Client
}

// New makes an Engine of its address, such as unix:///var/run/docker.sock. It does not connect.
func New(host string) (*Engine, error) {
	api, err := client.New(client.WithHost(host))
	if err != nil {
		return nil, fmt.Errorf("engine %s: %w", host, err)
	}
	return &Engine{api: api}, nil
}

// Close ends idle connections.
func (e *Engine) Close() error { return e.api.Close() }

// Hello says which node this is.
func (e *Engine) Hello(ctx context.Context) (wire.Hello, error) {
	got, err := e.api.Info(ctx, client.InfoOptions{})
	if err != nil {
		return wire.Hello{}, fmt.Errorf("ask the engine which node this is: %w", err)
	}
	if got.Info.Swarm.NodeID == "" {
		return wire.Hello{}, ErrNoSwarm
	}
	return wire.Hello{NodeID: got.Info.Swarm.NodeID, Hostname: got.Info.Name}, nil
}

// Managers are the hosts of the Swarm's managers, as this node knows them.
func (e *Engine) Managers(ctx context.Context) ([]string, error) {
	got, err := e.api.Info(ctx, client.InfoOptions{})
	if err != nil {
		return nil, fmt.Errorf("ask the engine for the Swarm's managers: %w", err)
	}
	var hosts []string
	for _, m := range got.Info.Swarm.RemoteManagers {
		if host, _, err := net.SplitHostPort(m.Addr); err == nil {
			hosts = append(hosts, host)
		}
	}
	return hosts, nil
}

// Container finds the container of a task.
func (e *Engine) Container(ctx context.Context, task string) (string, error) {
	got, err := e.api.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: make(client.Filters).Add("label", taskLabel+"="+task)})
	if err != nil {
		return "", fmt.Errorf("find the container of task %s: %w", task, err)
	}
	if len(got.Items) == 0 {
		return "", fmt.Errorf("container of task %s: %w", task, wire.ErrUnknown)
	}
	return got.Items[0].ID, nil
}

// Lines reads the last n lines of a container.
func (e *Engine) Lines(ctx context.Context, container string, n int) (wire.Lines, error) {
	got, err := e.api.ContainerInspect(ctx, container, client.ContainerInspectOptions{})
	if errdefs.IsNotFound(err) {
		return wire.Lines{}, fmt.Errorf("container %.12s: %w", container, wire.ErrUnknown)
	}
	if err != nil {
		return wire.Lines{}, fmt.Errorf("lines of container %.12s: %w", container, err)
	}
	text, err := e.api.ContainerLogs(ctx, container, client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true, Tail: strconv.Itoa(n)})
	if err != nil {
		return wire.Lines{}, fmt.Errorf("lines of container %.12s: %w", container, err)
	}
	defer text.Close() //nolint:errcheck // only read
	last, err := read(text, got.Container.Config != nil && got.Container.Config.Tty, n)
	if err != nil {
		return wire.Lines{}, fmt.Errorf("lines of container %.12s: %w", container, err)
	}
	last.Container = got.Container.ID
	return last, nil
}

// Checks reads what the health check of a container has said last, also of one that has ended: the engine stops asking then,
// and leaves what it has.
func (e *Engine) Checks(ctx context.Context, name string) (wire.Checks, error) {
	got, err := e.api.ContainerInspect(ctx, name, client.ContainerInspectOptions{})
	if errdefs.IsNotFound(err) {
		return wire.Checks{}, fmt.Errorf("container %.12s: %w", name, wire.ErrUnknown)
	}
	if err != nil {
		return wire.Checks{}, fmt.Errorf("health checks of container %.12s: %w", name, err)
	}
	all := wire.Checks{Container: got.Container.ID}
	if got.Container.State == nil || got.Container.State.Health == nil {
		return all, nil
	}
	health := got.Container.State.Health
	retries := usualRetries
	if c := got.Container.Config; c != nil && c.Healthcheck != nil && c.Healthcheck.Retries > 0 {
		retries = c.Healthcheck.Retries
	}
	// The state's own word is of no use: the engine calls every container unhealthy that has ended.
	all.Failed, all.Unhealthy = health.FailingStreak, health.FailingStreak >= retries
	for _, c := range health.Log[max(0, len(health.Log)-wire.MaxChecks):] {
		output := c.Output[:min(len(c.Output), wire.MaxCheckBytes)]
		all.Checks = append(all.Checks, wire.Check{Ended: c.End, ExitCode: c.ExitCode, Output: strings.ToValidUTF8(output, "")})
	}
	return all, nil
}

// read keeps the last lines of a log. With a terminal it is one plain stream, else two in frames.
func read(text io.Reader, terminal bool, n int) (wire.Lines, error) {
	w := &window{most: n}
	limited := &io.LimitedReader{R: text, N: maxRead}
	out, errs := &splitter{to: w}, &splitter{to: w}
	var err error
	if terminal {
		_, err = io.Copy(out, limited)
	} else {
		_, err = stdcopy.StdCopy(out, errs, limited)
	}
	if limited.N <= 0 { // the last ones are beyond: what there is is still worth a look
		w.cut, err = true, nil
	}
	out.end()
	errs.end()
	return wire.Lines{Lines: w.lines, Cut: w.cut}, err
}
