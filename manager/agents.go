package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"github.com/rolling-swarm/rolling/manager/api"
	"github.com/rolling-swarm/rolling/manager/cli"
	"github.com/rolling-swarm/rolling/manager/cluster"
	"github.com/rolling-swarm/rolling/manager/engine"
	"github.com/rolling-swarm/rolling/manager/line"
	"github.com/rolling-swarm/rolling/manager/line/secrets"
)

// agents are the nodes' agents, by way of their lines.
type agents struct {
	board  *line.Switchboard
	listen string
}

// openLine is nil, and no error, where the manager is to have no line.
func openLine(c line.Config, log *slog.Logger) (*agents, error) {
	if c.Listen == "" {
		log.Info("no agents' line: ROLLING_LINE_LISTEN is empty")
		return nil, nil
	}
	secret, err := os.ReadFile(c.Secret)
	if errors.Is(err, fs.ErrNotExist) {
		log.Info("no agents' line: its secret is not there; make it by `rolling line init` and mount it", "secret", c.Secret)
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("secret of the agents' line: %w", err)
	}
	board, err := line.New(secret, log)
	if err != nil {
		return nil, err
	}
	return &agents{board, c.Listen}, nil
}

func (a *agents) run(ctx context.Context) error {
	listener, err := net.Listen("tcp", a.listen)
	if err != nil {
		return fmt.Errorf("listen for the agents on %s: %w: set ROLLING_LINE_LISTEN to another address, here and for the agents", a.listen, err)
	}
	return a.board.Serve(ctx, listener)
}

// Lines gives the last lines of a container that an engine may have forgotten already.
func (a *agents) Lines(ctx context.Context, at cluster.Place, n int) ([]string, error) {
	got, err := a.board.Lines(ctx, at.Node, at.Task, at.Container, n)
	return got.Lines, err
}

// Checks says what the health check of a container has said last.
func (a *agents) Checks(ctx context.Context, at cluster.Place) (engine.Checks, error) {
	got, err := a.board.Checks(ctx, at.Node, at.Task, at.Container)
	all := engine.Checks{Failed: got.Failed, Unhealthy: got.Unhealthy}
	for _, c := range got.Checks {
		all.Checks = append(all.Checks, engine.Check(c))
	}
	return all, err
}

// Samples are the recent measurements of tasks on one node.
func (a *agents) Samples(ctx context.Context, node string, tasks []string) (map[string]engine.Samples, error) {
	got, err := a.board.Samples(ctx, node, tasks)
	all := map[string]engine.Samples{}
	for id, s := range got.Tasks {
		all[id] = engine.Samples{IntervalSeconds: got.IntervalSeconds, End: got.End, CPUCores: s.CPUCores, MemoryBytes: s.MemoryBytes}
	}
	return all, err
}

// Routes says with what is missing; only if nobody answers is it an error.
func (a *agents) Routes(ctx context.Context) ([]api.Route, []string, error) {
	pictures, err := a.board.Routes(ctx)
	if len(pictures) == 0 {
		if err == nil {
			err = errors.New("routes are asked of the nodes' agents, and none has a line to this manager")
		}
		return nil, nil, err
	}
	var missing []string
	if err != nil {
		missing = strings.Split(err.Error(), "\n")
	}
	var routes []api.Route
	for _, r := range line.Announcements(pictures) {
		routes = append(routes, api.Route{Prefix: r.Prefix, NextHop: r.NextHop, Node: r.Node, Project: r.Project, Environment: r.Environment, Since: r.Since, MissingOn: r.MissingOn})
	}
	return routes, missing, nil
}

// lineInit lays the line's keys into the Swarm's secrets.
func lineInit(ctx context.Context, engine string, again bool) (cli.LineSecrets, error) {
	swarm, err := secrets.New(engine)
	if err != nil {
		return cli.LineSecrets{}, err
	}
	laid, err := swarm.Init(ctx, time.Now(), rand.Reader, again)
	return cli.LineSecrets(laid), errors.Join(err, swarm.Close())
}
