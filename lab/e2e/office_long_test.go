//go:build lab && long

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/lab"
	"github.com/rolling-swarm/rolling/lab/proof"
)

// office is a lab in which addresses are given while things break.
type office struct {
	*testing.T
	lab   *lab.Lab
	world *proof.World
	tasks int // of the service that is always there
}

// appSubnet is the one of the service that is always there; other is shared by two stacks.
const (
	appSubnet   = "10.212.0.0/24"
	otherSubnet = "10.212.1.0/24"
	fullSubnet  = "10.212.2.0/30"
)

func newOffice(t *testing.T, tasks int) *office {
	t.Helper()
	l := lab.Up(t, lab.Options{Managers: 3, Install: true})
	o := &office{T: t, lab: l, world: world(t, l), tasks: tasks}
	ctx := within(t, 3*time.Minute)
	if err := errors.Join(l.LoadShell(ctx), l.StartPart(ctx, "bird")); err != nil {
		t.Fatal(err)
	}
	o.network("app", appSubnet)
	o.serve("app", "app", tasks)
	o.runs("app", tasks, 2*time.Minute)
	o.agree("to begin with", time.Minute)
	return o
}

func (o *office) leader() (name string) {
	o.Helper()
	o.eventually(time.Minute, "a leader", func() (err error) {
		name, err = o.lab.Leader(o.Context())
		if err == nil && !o.lab.On(name) {
			err = errors.New(name + " has no power")
		}
		return err
	})
	return name
}

// docker asks a manager that leads, again and again while an election is on.
func (o *office) docker(args ...string) (out string) {
	o.Helper()
	o.eventually(time.Minute, "docker "+strings.Join(args, " "), func() (err error) {
		out, err = o.lab.Docker(o.Context(), o.leader(), args...)
		if err != nil && strings.Contains(err.Error(), "already exists") {
			return nil // an earlier try was heard
		}
		return err
	})
	return out
}

func (o *office) eventually(within time.Duration, what string, f func() error) {
	o.Helper()
	if err := o.lab.Eventually(o.Context(), within, what, f); err != nil {
		o.Fatal(err)
	}
}

func (o *office) network(name, subnet string, more ...string) {
	o.Helper()
	o.eventually(time.Minute, "network "+name+" is made", func() error { // a node may hold on to an older one of that name for seconds
		_, err := o.lab.Docker(o.Context(), o.leader(), create(name, subnet, more...)...)
		return err
	})
}

func (o *office) serve(name, network string, tasks int) {
	o.Helper()
	o.docker("service", "create", "--detach", "--no-resolve-image", "--name", name, "--network", network, "--endpoint-mode", "dnsrr", "--stop-grace-period", "1s",
		"--restart-delay", "1s", "--update-parallelism", "4", "--update-order", "start-first", "--replicas", fmt.Sprint(tasks), lab.ShellImage, "sleep", "1000000")
}

func (o *office) scale(name string, tasks int) {
	o.Helper()
	o.docker("service", "scale", "--detach", fmt.Sprintf("%s=%d", name, tasks))
}

// runs waits until exactly so many tasks of a service are meant to run, and do. What is left on a dead node does not count.
func (o *office) runs(name string, tasks int, within time.Duration) {
	o.Helper()
	o.eventually(within, fmt.Sprintf("%s runs %d tasks", name, tasks), func() error { return o.counts(name, tasks) })
}

func (o *office) counts(name string, tasks int) error {
	leader, err := o.lab.Leader(o.Context())
	if err != nil {
		return err
	}
	out, err := o.lab.Docker(o.Context(), leader, "service", "ps", name, "--filter", "desired-state=running", "--format", "{{.CurrentState}}")
	if err != nil {
		return err
	}
	running, all := strings.Count(out, "Running "), len(strings.Fields(strings.ReplaceAll(strings.TrimSpace(out), " ", "_")))
	if running != tasks || all != tasks {
		return fmt.Errorf("%d of %d run", running, all)
	}
	return nil
}

// agree waits until engines, kernels, Swarm, the leader's ledger and the router say the same of every address.
func (o *office) agree(when string, within time.Duration) proof.View {
	o.Helper()
	v, err := o.world.Agree(o.Context(), within)
	if err != nil {
		o.Fatalf("%s: %v", when, err)
	}
	return v
}

// lease is one of the leader's plugin's.
type lease struct {
	Address string     `json:"address"`
	State   string     `json:"state"`
	Why     string     `json:"why"`
	Until   *time.Time `json:"until"`
	Freed   *time.Time `json:"freed"`
}

func (o *office) leases() []lease {
	o.Helper()
	var state struct {
		Leases []lease `json:"leases"`
	}
	o.eventually(time.Minute, "the leader's plugin tells its leases", func() error {
		socket, err := o.lab.Path(o.leader(), contract.StateRoot+"/ipam/ipam.sock")
		if err != nil {
			return err
		}
		c := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}}}
		resp, err := c.Get("http://plugin/debug/state")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		return json.NewDecoder(resp.Body).Decode(&state)
	})
	return state.Leases
}

// killPlugin is kill -9; the engine starts it again.
func (o *office) killPlugin(node string) {
	o.Helper()
	if out, err := o.lab.Exec(o.Context(), node, "sh", "-c", "kill -9 $(pidof /ipam-driver)"); err != nil {
		o.Fatalf("kill the plugin of %s: %v %s", node, err, out)
	}
}
