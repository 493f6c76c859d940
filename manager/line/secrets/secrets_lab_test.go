//go:build lab

package secrets_test

import (
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"github.com/rolling-swarm/rolling/internal/wire"
	"github.com/rolling-swarm/rolling/lab"
	"github.com/rolling-swarm/rolling/manager/line/secrets"
)

func TestTheSecretsAreMadeOnce(t *testing.T) {
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	l := lab.Up(t, lab.Options{Managers: 1, Workers: 1})
	must(l.LoadShell(ctx))
	api, err := l.Client("n1")
	must(err)
	defer api.Close()
	s := secrets.Of(api)
	now := time.Now()

	first, err := s.Init(ctx, now, rand.Reader, false)
	must(err)
	if !first.Made || first.Manager != wire.SecretManager+"-1" || first.Agent != wire.SecretAgent+"-1" {
		t.Errorf("first: %+v", first)
	}
	again, err := s.Init(ctx, now.Add(time.Hour), rand.Reader, false)
	must(err)
	if again.Made || again.Generation != 1 || !again.Ends.Equal(first.Ends) {
		t.Errorf("again: %+v, first %+v", again, first)
	}
	next, err := s.Init(ctx, now, rand.Reader, true)
	must(err)
	if !next.Made || next.Generation != 2 {
		t.Errorf("another generation: %+v", next)
	}
	if _, err := api.SecretRemove(ctx, next.Agent, client.SecretRemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	healed, err := s.Init(ctx, now, rand.Reader, false)
	must(err)
	if !healed.Made || healed.Generation != 2 {
		t.Errorf("after half of it was lost: %+v", healed)
	}

	t.Run("and a task finds a whole one in its file", func(t *testing.T) {
		// What is mounted is tested by what the ends make of it: a task prints it, and ParseIdentity reads it.
		_, err := l.Docker(ctx, "n1", "service", "create", "--detach", "--name", "show", "--no-resolve-image", "--restart-condition", "none",
			"--constraint", "node.hostname==n1", "--secret", "source="+first.Agent+",target=rolling-line,mode=0400", lab.ShellImage, "cat", wire.SecretPath)
		must(err)
		must(l.Eventually(ctx, time.Minute, "an agent's identity", func() error {
			text, err := l.Docker(ctx, "n1", "service", "logs", "--raw", "show")
			if err != nil {
				return err
			}
			i, err := wire.ParseIdentity([]byte(text))
			if err == nil && i.Role() != wire.RoleAgent {
				t.Fatalf("role %q", i.Role())
			}
			return err
		}))
	})
	t.Run("a worker says where it has to be run", func(t *testing.T) {
		worker, err := l.Client("n2")
		must(err)
		defer worker.Close()
		if _, err := secrets.Of(worker).Init(ctx, now, rand.Reader, false); err == nil || !strings.Contains(err.Error(), "on a manager") {
			t.Errorf("got %v", err)
		}
	})
}
