//go:build lab

package addresses

import (
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/rolling-swarm/rolling/internal/contract"
)

// pluginRefuses a network when Swarm has already said yes to it: whoever asked hears the plugin's own words, long before the
// 15 s after which it would be given up, and nothing is left.
func (o *office) pluginRefuses() {
	socket, err := o.lab.Path(o.lab.Managers()[0], contract.StateRoot+"/manager/rolling.sock")
	if err != nil {
		o.Fatal(err)
	}
	rolling := func(args ...string) *exec.Cmd {
		return exec.CommandContext(o.Context(), filepath.Join(o.world.Root, "build/bin/rolling"), append([]string{"--server", "unix://" + socket}, args...)...)
	}
	o.eventually(time.Minute, "the manager has its line to the leader's agent", func() error {
		out, err := rolling("network", "list").CombinedOutput()
		if err == nil && strings.Contains(string(out), "how full they are: ") {
			err = errors.New(string(out))
		}
		return err
	})
	begun := time.Now()
	out, err := rolling("network", "create", "nodes", "--subnet", "10.99.0.0/24").CombinedOutput()
	took := time.Since(begun)
	if err == nil || !strings.Contains(string(out), "the network plugin refuses it: ") || !strings.Contains(string(out), "nothing is left of it") {
		o.Fatalf("%v after %s: %s", err, took, out)
	}
	o.Logf("refused after %.1f s: %s", took.Seconds(), out)
	if took > 10*time.Second {
		o.Errorf("the refusal was told after %s", took)
	}
	if left := o.docker("network", "ls", "--quiet", "--filter", "name=nodes"); left != "" {
		o.Errorf("network %s is left", left)
	}
}
