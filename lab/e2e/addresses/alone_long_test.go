//go:build lab && long

package addresses

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/lab"
)

// nodeStandsAlone: the node that was removed has power again, and leaves its Swarm. There the plugin serves Docker's own drivers, and its
// record is the only one.
func (o *office) nodeStandsAlone() {
	if err := o.lab.Start(o.Context(), worker); err != nil {
		o.Fatal(err)
	}
	o.leaves(worker)
	o.alone("network", "create", "-d", "bridge", "--ipam-driver", contract.PluginIPAM, "--subnet", "10.220.0.0/24", "own")
	seen := map[string]bool{}
	first := o.alive("own", "first", seen)
	o.alive("own", "second", seen, "--ip", "10.220.0.9")
	if out, err := o.lab.Docker(o.Context(), worker, "run", "-d", "--network", "own", "--ip", "10.220.0.9", lab.ShellImage, "sleep", "1000000"); err == nil || !strings.Contains(err.Error(), "in use") {
		o.Errorf("an address in use, named: %v %s", err, out)
	}
	o.plugin(worker, "KILL")
	o.alone("rm", "--force", "first")
	o.alive("own", "third", seen) // neither one in use nor the one that rests, though the plugin is another process
	o.alone("network", "create", "-d", "macvlan", "-o", "parent=eth0", "--ipam-driver", contract.PluginIPAM, "--subnet", "10.221.0.0/24", "wire")
	o.alive("wire", "wired", seen)
	if out, err := o.lab.Docker(o.Context(), worker, "network", "create", "-d", contract.PluginNet, "--ipam-driver", contract.PluginIPAM, "--subnet", "10.222.0.0/24", "none"); err == nil || !strings.Contains(strings.ToLower(err.Error()), "swarm") {
		o.Errorf("a network that needs a Swarm: %v %s", err, out)
	}
	o.Logf("%s was first, then %d others", first, len(seen)-1)
	o.alone("rm", "--force", "second", "third", "wired")
	o.alone("network", "rm", "own", "wire")
}

func (o *office) alone(args ...string) string {
	o.Helper()
	out, err := o.lab.Docker(o.Context(), worker, args...)
	if err != nil {
		o.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// alive runs a container whose address nobody had before.
func (o *office) alive(network, name string, seen map[string]bool, more ...string) string {
	o.Helper()
	o.alone(append(append([]string{"run", "-d", "--network", network, "--name", name}, more...), lab.ShellImage, "sleep", "1000000")...)
	got := o.alone("inspect", "--format", `{{(index .NetworkSettings.Networks "`+network+`").IPAddress}}`, name)
	if got == "" || seen[got] || len(more) == 2 && got != more[1] {
		o.Fatalf("%s has %q, seen before: %v", name, got, seen)
	}
	seen[got] = true
	return got
}

// leaves ends what a removed node still runs.
func (o *office) leaves(node string) {
	o.Helper()
	o.eventually(time.Minute, node+" leaves its Swarm", func() error {
		out, err := o.lab.Docker(o.Context(), node, "info", "--format", "{{.Swarm.LocalNodeState}}")
		if state := strings.TrimSpace(out); err == nil && state != "inactive" {
			_, left := o.lab.Docker(o.Context(), node, "swarm", "leave", "--force")
			err = errors.Join(fmt.Errorf("it is %s", state), left)
		}
		return err
	})
}
