package proof

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/rolling-swarm/rolling/internal/contract"
)

// An outcome is how one run of the command line ended.
type outcome struct {
	code           int
	stdout, stderr string
}

// rolling runs the command line of this checkout against the manager of the lab.
func (w *World) rolling(ctx context.Context, args ...string) (outcome, error) {
	socket, err := w.Lab.Path(w.Lab.Managers()[0], contract.StateRoot+"/manager/rolling.sock")
	if err != nil {
		return outcome{}, err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(w.Root, "build/bin/rolling"), append([]string{"--server", "unix://" + socket}, args...)...)
	var out, say bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &say
	err = cmd.Run()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		return outcome{}, fmt.Errorf("rolling %s: %w", strings.Join(args, " "), err)
	}
	return outcome{cmd.ProcessState.ExitCode(), out.String(), say.String()}, ctx.Err()
}

// Rolling runs the command line, and tells its exit code and all that it printed.
func (w *World) Rolling(ctx context.Context, args ...string) (code int, said string, err error) {
	o, err := w.rolling(ctx, args...)
	return o.code, o.stdout + o.stderr, err
}

// ends runs the command line and wants that exit code.
func (w *World) ends(ctx context.Context, code int, args ...string) (outcome, error) {
	o, err := w.rolling(ctx, args...)
	if err == nil && o.code != code {
		err = fmt.Errorf("rolling %s: exit code %d, want %d: %s%s", strings.Join(args, " "), o.code, code, o.stdout, o.stderr)
	}
	return o, err
}

// all runs commands that have to succeed, one after the other.
func (w *World) all(ctx context.Context, commands ...[]string) error {
	for _, c := range commands {
		if _, err := w.ends(ctx, 0, c...); err != nil {
			return err
		}
	}
	return nil
}
