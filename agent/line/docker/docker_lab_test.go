//go:build lab

package docker_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/agent/line/docker"
	"github.com/rolling-swarm/rolling/internal/wire"
	"github.com/rolling-swarm/rolling/lab"
)

func TestARealEngineAnswers(t *testing.T) {
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	l := lab.Up(t, lab.Options{Managers: 1, Workers: 1})
	must(l.LoadShell(ctx))
	socket, err := l.Path("n2", "/run/docker.sock")
	must(err)
	e, err := docker.New("unix://" + socket)
	must(err)
	defer e.Close()

	hello, err := e.Hello(ctx)
	must(err)
	if hello.Hostname != "n2" || len(hello.NodeID) != 25 {
		t.Errorf("hello: %+v", hello)
	}
	if got, err := e.Managers(ctx); err != nil || len(got) != 1 || got[0] != l.Address("n1").String() {
		t.Errorf("a worker knows the managers %v, %v", got, err)
	}

	// The engine reads the two streams side by side: lines that come at once may be kept in either order.
	_, err = l.Docker(ctx, "n2", "run", "-d", "--name", "plain", lab.ShellImage, "sh", "-c", "echo one; sleep 1; echo two >&2; sleep 1; echo three; exit 3")
	must(err)
	id, err := l.Docker(ctx, "n2", "inspect", "-f", "{{.Id}}", "plain")
	must(err)
	id = strings.TrimSpace(id)
	must(l.Eventually(ctx, 20*time.Second, "the last line", func() error {
		got, err := e.Lines(ctx, id, 2)
		if err == nil && (strings.Join(got.Lines, "|") != "two|three" || got.Container != id) {
			err = fmt.Errorf("got %+v", got)
		}
		return err
	}))
	_, err = l.Docker(ctx, "n2", "run", "-d", "-t", "--name", "terminal", lab.ShellImage, "sh", "-c", "echo one; echo two")
	must(err)
	must(l.Eventually(ctx, 20*time.Second, "a terminal's lines", func() error {
		got, err := e.Lines(ctx, "terminal", 9)
		if err == nil && strings.Join(got.Lines, "|") != "one|two" {
			err = fmt.Errorf("got %q", got.Lines)
		}
		return err
	}))
	if _, err := e.Lines(ctx, strings.Repeat("0", 64), 9); !errors.Is(err, wire.ErrUnknown) {
		t.Errorf("of nobody: %v", err)
	}

	_, err = l.Docker(ctx, "n2", "run", "-d", "--name", "sick", "--health-interval", "300ms", "--health-retries", "2", "--health-cmd", "echo connection refused; exit 7",
		lab.ShellImage, "sh", "-c", "trap exit TERM; while :; do sleep 1 & wait $!; done")
	must(err)
	must(l.Eventually(ctx, 20*time.Second, "a health check that failed twice", func() error {
		got, err := e.Checks(ctx, "sick")
		if err == nil && (!got.Unhealthy || got.Failed < 2 || got.Checks[0].ExitCode != 7 || strings.TrimSpace(got.Checks[0].Output) != "connection refused") {
			err = fmt.Errorf("got %+v", got)
		}
		return err
	}))
	_, err = l.Docker(ctx, "n2", "stop", "sick")
	must(err)
	if got, err := e.Checks(ctx, "sick"); err != nil || !got.Unhealthy || len(got.Checks) == 0 || len(got.Checks) > wire.MaxChecks {
		t.Errorf("once it has ended: %+v, %v", got, err)
	}
	if got, err := e.Checks(ctx, "plain"); err != nil || got.Unhealthy || got.Failed != 0 || got.Checks != nil {
		t.Errorf("of one without a health check: %+v, %v", got, err)
	}
	if _, err := e.Checks(ctx, strings.Repeat("0", 64)); !errors.Is(err, wire.ErrUnknown) {
		t.Errorf("checks of nobody: %v", err)
	}

	_, err = l.Docker(ctx, "n1", "service", "create", "--detach", "--name", "bad", "--no-resolve-image", "--constraint", "node.hostname==n2",
		"--restart-condition", "none", lab.ShellImage, "sh", "-c", "echo cannot start; exit 1")
	must(err)
	must(l.Eventually(ctx, time.Minute, "lines of a task that failed", func() error {
		task, err := l.Docker(ctx, "n1", "service", "ps", "-q", "--no-trunc", "bad")
		if err != nil {
			return err
		}
		container, err := e.Container(ctx, strings.TrimSpace(task))
		if err != nil {
			return err
		}
		got, err := e.Lines(ctx, container, 9)
		if err == nil && strings.Join(got.Lines, "|") != "cannot start" {
			err = fmt.Errorf("got %q", got.Lines)
		}
		return err
	}))
	if _, err := e.Container(ctx, "nosuchtask00000000000000x"); !errors.Is(err, wire.ErrUnknown) {
		t.Errorf("of no task: %v", err)
	}
}
