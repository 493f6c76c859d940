//go:build lab

package addresses

import (
	"errors"
	"strings"
	"time"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/lab"
)

const joiner = "n5"

// nodeJoins a Swarm that is at work: it gets the plugins by its agent, and then tasks with addresses.
func (o *office) nodeJoins() {
	if err := o.lab.Up(o.Context(), lab.Options{Managers: 3, Workers: 2}); err != nil {
		o.Fatal(err)
	}
	o.eventually(time.Minute, "all plugins are enabled on the new node", func() error {
		out, err := o.lab.Docker(o.Context(), joiner, "plugin", "ls", "--filter", "enabled=true", "--format", "{{.Name}}")
		for _, plugin := range contract.Plugins() {
			if err == nil && !strings.Contains(out, plugin) {
				err = errors.New(plugin + " is not")
			}
		}
		return err
	})
	if err := o.lab.LoadShell(o.Context()); err != nil {
		o.Fatal(err)
	}
	o.serve("late", "app", 1, "--constraint", "node.hostname=="+joiner)
	o.runs("late", 1, time.Minute)
	o.agree("after a node has joined", o.tasks+1, time.Minute)
	o.docker("service", "rm", "late")
	o.agree("before it leaves", o.tasks, time.Minute)
	if _, err := o.lab.Docker(o.Context(), joiner, "swarm", "leave"); err != nil {
		o.Fatal(err)
	}
	o.eventually(time.Minute, "the node is no member any more", func() error {
		_, err := o.lab.Docker(o.Context(), o.leader(), "node", "rm", joiner)
		return err
	})
}
