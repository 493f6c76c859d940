package cli_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/manager/api/apitest"
	"github.com/rolling-swarm/rolling/manager/cli"
	"github.com/rolling-swarm/rolling/manager/engine"
)

// TestFollowedLinesComeOnce follows a task that writes a line between any two questions.
func TestFollowedLinesComeOnce(t *testing.T) {
	folder, err := os.MkdirTemp("", "rolling-cli-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(folder) //nolint:errcheck // the test is over
	s := &server{fake: new(apitest.Engine), socket: filepath.Join(folder, "s")}
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	}()
	file := "x-rolling: {project: orders, environments: {test: {stage: test}}}\nservices: {web: {image: registry.example/orders/web}}\n"
	if _, err := s.fake.ApplyProject(t.Context(), engine.Apply{FileName: "rolling.yml", File: []byte(file)}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.fake.Deploy(t.Context(), engine.Deploy{Project: "orders", Environment: "test", Release: "r-1"}); err != nil {
		t.Fatal(err)
	}
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	var out, errs bytes.Buffer
	o := options("unix://" + s.socket)
	o.Out, o.Err = &out, &errs
	pauses := 0
	o.Pause = func(ctx context.Context, _ time.Duration) error {
		if pauses++; pauses > 3 {
			interrupt()
		}
		return ctx.Err()
	}
	if code := cli.Run(ctx, strings.Fields("logs orders test web --follow --tail 2"), o); code != 130 {
		t.Errorf("exit code %d, %s", code, errs.String())
	}
	want := "web.1  | line 4\nweb.1  | line 5\nweb.1  | line 6\nweb.1  | line 7\nweb.1  | line 8\n"
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
	if n := strings.Count(errs.String(), "has no line"); n != 1 {
		t.Errorf("the node that is away is told of %d times:\n%s", n, errs.String())
	}
}
