package cli_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/manager/api"
	"github.com/rolling-swarm/rolling/manager/api/apitest"
	"github.com/rolling-swarm/rolling/manager/cli"
	"github.com/rolling-swarm/rolling/manager/engine"
	"github.com/rolling-swarm/rolling/manager/release"
)

// TestAnInterruptedCommandSaysHowToGoOn checks the exit codes that a script cannot: the shell's words know no number.
func TestAnInterruptedCommandSaysHowToGoOn(t *testing.T) {
	folder, err := os.MkdirTemp("", "rolling-cli-")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{fake: new(apitest.Engine), socket: filepath.Join(folder, "s")}
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.stop(); err != nil {
			t.Error(err)
		}
		_ = os.RemoveAll(folder)
	}()
	file := "x-rolling: {project: orders, environments: {test: {stage: test}, production: {stage: production}}}\nservices: {web: {image: registry.example/orders/web}}\n"
	if _, err := s.fake.ApplyProject(t.Context(), engine.Apply{FileName: "rolling.yml", File: []byte(file)}); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct{ name, line, says string }{
		{"while a rollout runs", "deploy orders test r-long", "interrupted while ro1 runs: it goes on; follow it with: rolling rollout watch ro1"},
		{"while it is watched", "rollout watch ro1", "interrupted while ro1 runs"},
		{"while its manager is away", "rollout watch ro1 --server unix://" + folder + "/nobody", "interrupted while ro1 runs"},
	} {
		ctx, interrupt := context.WithCancel(t.Context())
		var out, errs bytes.Buffer
		o := options("unix://" + s.socket)
		o.Out, o.Err = &out, &errs
		o.Pause = func(ctx context.Context, _ time.Duration) error { interrupt(); <-ctx.Done(); return ctx.Err() } // it waits: now
		go func() {
			for ctx.Err() == nil && s.fake.Watchers() == 0 {
				time.Sleep(time.Millisecond)
			}
			interrupt()
		}()
		if code := cli.Run(ctx, strings.Fields(row.line), o); code != 130 || !strings.Contains(errs.String(), row.says) {
			t.Errorf("%s: exit code %d, want 130; stderr %s", row.name, code, errs.String())
		}
		interrupt()
		for deadline := time.Now().Add(10 * time.Second); s.fake.Watchers() > 0 && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
	}
	ctx, interrupt := context.WithCancel(t.Context())
	interrupt()
	var out, errs bytes.Buffer
	o := options("unix://" + s.socket)
	o.Out, o.Err = &out, &errs
	if code := cli.Run(ctx, []string{"node", "list"}, o); code != 130 || errs.String() != "rolling: interrupted\n" {
		t.Errorf("before an answer came: exit code %d, %s", code, errs.String())
	}
}

type talkative struct{ *apitest.Engine }

func (talkative) Rollout(context.Context, engine.RolloutID) (engine.Rollout, error) {
	return engine.Rollout{ID: "ro1", State: release.Failed, Cause: "it\x1b[2Jfailed", Lines: []string{"\x1b]0;evil\a\u009b31mhello\r \u4e16\u754c"}}, nil
}

func TestWhatAContainerWroteMovesNoCursor(t *testing.T) {
	parts := new(apitest.Engine).Parts()
	parts.Rollouts = talkative{}
	door, err := api.New(parts)
	if err != nil {
		t.Fatal(err)
	}
	listeners, err := api.Listen([]api.Address{{Network: "tcp", Path: "127.0.0.1:0"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- door.Serve(ctx, listeners) }()
	defer func() { stop(); <-ended }()
	var out, errs bytes.Buffer
	o := options("http://" + listeners[0].Addr().String())
	o.Out, o.Err = &out, &errs
	if code := cli.Run(t.Context(), []string{"rollout", "show", "ro1"}, o); code != 0 {
		t.Fatalf("exit code %d: %s", code, errs.String())
	}
	if strings.ContainsAny(out.String(), "\x1b\a\r\u009b") || !strings.Contains(out.String(), "hello· \u4e16\u754c") {
		t.Errorf("%q", out.String())
	}
}
