//go:build lab

package e2e

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/lab"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := lab.CloseShared(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// mustDocker runs docker on a node and fails the test if it fails.
func mustDocker(t *testing.T, l *lab.Lab, node string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // a cleanup may call it, after t.Context has ended
	defer cancel()
	out, err := l.Docker(ctx, node, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// engineLog is what the node's engine has said since it first started, with its plugins' lines.
func engineLog(l *lab.Lab, node string) (string, error) {
	file, err := l.LogFile(node)
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(file)
	return string(text), err
}
