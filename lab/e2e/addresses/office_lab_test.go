//go:build lab

package addresses

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/swarm"
	"github.com/moby/moby/client"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/lab"
	"github.com/rolling-swarm/rolling/lab/proof"
)

// office is a lab in which addresses are given while things break: three managers and a worker.
type office struct {
	*testing.T
	lab   *lab.Lab
	world *proof.World
	tasks int // of the service app, which is always there
	wave  int // of app while it is rolled out
}

const (
	appSubnet   = "10.212.0.0/24"
	stackSubnet = "10.212.1.0/24" // of two stacks
	fullSubnet  = "10.212.2.0/30"
	worker      = "n4"
)

func newOffice(t *testing.T, tasks, wave int) *office {
	t.Helper()
	l := lab.Up(t, lab.Options{Managers: 3, Workers: 1, Install: true})
	root, err := lab.Checkout()
	if err != nil {
		t.Fatal(err)
	}
	o := &office{T: t, lab: l, world: &proof.World{Lab: l, Root: root}, tasks: tasks, wave: wave}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	if err := errors.Join(l.LoadShell(ctx), l.StartPart(ctx, "bird")); err != nil {
		t.Fatal(err)
	}
	o.network("app", appSubnet)
	o.serve("app", "app", tasks)
	o.runs("app", tasks, 2*time.Minute)
	o.agree("to begin with", tasks, time.Minute)
	return o
}

// in is the same office for a part of the test.
func (o *office) in(t *testing.T) *office {
	part := *o
	part.T = t
	return &part
}

// eventually says what took long, so that a slow test tells where its time goes.
func (o *office) eventually(within time.Duration, what string, f func() error) {
	o.Helper()
	begun := time.Now()
	if err := o.lab.Eventually(o.Context(), within, what, f); err != nil {
		o.Fatal(err)
	}
	if took := time.Since(begun); took > time.Second {
		o.Logf("%.1f s: %s", took.Seconds(), what)
	}
}

func (o *office) leader() (name string) {
	o.Helper()
	o.eventually(time.Minute, "a leader", func() (err error) {
		name, err = o.leads(o.Context())
		return err
	})
	return name
}

func (o *office) leads(ctx context.Context) (string, error) {
	if o.world.Alone != "" {
		return o.world.Alone, nil
	}
	return o.lab.Leader(ctx)
}

// ask speaks to the engine of the manager that leads.
func (o *office) ask(f func(ctx context.Context, c *client.Client) error) error {
	ctx, cancel := context.WithTimeout(o.Context(), 10*time.Second)
	defer cancel()
	leader, err := o.leads(ctx)
	if err != nil {
		return err
	}
	c, err := o.lab.Client(leader)
	if err != nil {
		return err
	}
	defer c.Close() //nolint:errcheck // nothing is lost with it
	return f(ctx, c)
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

func (o *office) network(name, subnet string, more ...string) {
	o.Helper()
	args := []string{"network", "create", "--scope", "swarm", "--attachable", "-d", contract.PluginNet, "--ipam-driver", contract.PluginIPAM, "--subnet", subnet}
	o.docker(append(append(args, more...), name)...)
}

// serve starts a service whose tasks end at once when they are told to: what is waited for is Swarm, not sleep.
func (o *office) serve(name, network string, tasks int, more ...string) {
	o.Helper()
	args := []string{"service", "create", "--detach", "--no-resolve-image", "--name", name, "--network", network, "--endpoint-mode", "dnsrr", "--stop-signal", "SIGKILL",
		"--restart-delay", "1s", "--update-parallelism", "4", "--update-order", "start-first", "--replicas", fmt.Sprint(tasks)}
	o.docker(append(append(args, more...), lab.ShellImage, "sleep", "1000000")...)
}

func (o *office) scale(name string, tasks int) {
	o.Helper()
	o.docker("service", "scale", "--detach", fmt.Sprintf("%s=%d", name, tasks))
}

// wanted are the tasks of a service that Swarm wants to run. What is left on a dead node is not among them.
func (o *office) wanted(name string) (tasks []swarm.Task, err error) {
	err = o.ask(func(ctx context.Context, c *client.Client) error {
		got, err := c.TaskList(ctx, client.TaskListOptions{Filters: make(client.Filters).Add("service", name).Add("desired-state", "running")})
		tasks = got.Items
		return err
	})
	return tasks, err
}

func running(tasks []swarm.Task) (n int) {
	for _, t := range tasks {
		if t.Status.State == swarm.TaskStateRunning {
			n++
		}
	}
	return n
}

// runs waits until exactly so many slots of a service are meant to run, and do. A slot may have two tasks: Swarm keeps both
// of a start-first update that a change of leaders and then a new number of replicas cut short.
func (o *office) runs(name string, tasks int, within time.Duration) {
	o.Helper()
	o.eventually(within, fmt.Sprintf("%s runs %d tasks", name, tasks), func() error { return o.count(name, tasks) })
}

func (o *office) count(name string, tasks int) error {
	all, err := o.wanted(name)
	slots := map[int]bool{}
	for _, t := range all {
		slots[t.Slot] = true
	}
	if n := running(all); err == nil && (n != len(all) || len(slots) != tasks) {
		err = fmt.Errorf("%d of %d run, in %d slots", n, len(all), len(slots))
	}
	return err
}

// ready waits until so many nodes are Ready.
func (o *office) ready(nodes int) {
	o.Helper()
	o.eventually(2*time.Minute, fmt.Sprintf("%d nodes are Ready", nodes), func() error {
		return o.ask(func(ctx context.Context, c *client.Client) error {
			got, err := c.NodeList(ctx, client.NodeListOptions{})
			ready := 0
			for _, n := range got.Items {
				if n.Status.State == swarm.NodeStateReady {
					ready++
				}
			}
			if err == nil && ready != nodes {
				err = fmt.Errorf("%d are", ready)
			}
			return err
		})
	})
}

// agree waits until so many containers at least are there, and engines, kernels, Swarm, the leader's ledger and the router say
// the same of every address. Without the number, a Swarm whose containers all died would agree.
func (o *office) agree(when string, least int, within time.Duration) proof.View {
	o.Helper()
	begun, last := time.Now(), ""
	var v proof.View
	err := o.lab.Eventually(o.Context(), within, "all say the same of addresses", func() (err error) {
		if v, err = o.world.Observe(o.Context(), true); err != nil {
			return err
		}
		said := strings.Join(proof.Disagreements(v), "; ")
		if n := len(v.Containers); n < least {
			said = fmt.Sprintf("%d containers, want %d; %s", n, least, said)
		}
		if said == "" {
			return nil
		}
		if said != last && time.Since(begun) > 2*time.Second {
			o.Logf("%.1f s: %.400s", time.Since(begun).Seconds(), said)
		}
		last = said
		return errors.New(said)
	})
	if err != nil {
		o.Fatalf("%s: %v", when, err)
	}
	o.Logf("%.1f s: %d containers agree %s", time.Since(begun).Seconds(), len(v.Containers), when)
	return v
}

// unique checks at once that no two live containers have one address. What a dead node holds need not be agreed on yet.
func (o *office) unique(when string) {
	o.Helper()
	var v proof.View
	o.eventually(30*time.Second, "a look at all containers "+when, func() (err error) { // one may end while it is looked at
		v, err = o.world.Containers(o.Context())
		return err
	})
	for _, said := range proof.Disagreements(v) {
		if strings.Contains(said, "two owners") {
			o.Fatalf("%s: %s", when, said)
		}
	}
}

// plugin sends a signal to the node's IPAM plugin.
func (o *office) plugin(node, signal string) {
	o.Helper()
	if out, err := o.lab.Exec(o.Context(), node, "sh", "-c", "kill -"+signal+" $(pidof /ipam-driver)"); err != nil {
		o.Fatalf("kill -%s the plugin of %s: %v %s", signal, node, err, out)
	}
}

// stackFile is a stack of three tasks that take their time to end, on the subnet of all such stacks.
const stackFile = `services:
  web:
    image: ` + lab.ShellImage + `
    command: [sleep, "1000000"]
    stop_grace_period: 2s
    networks: [app]
    deploy: {replicas: 3, endpoint_mode: dnsrr, restart_policy: {delay: 1s}}
networks:
  app:
    driver: "` + contract.PluginNet + `"
    driver_opts: {rolling.project: %s}
    ipam: {driver: "` + contract.PluginIPAM + `", config: [{subnet: ` + stackSubnet + `}]}
`

// deploy is docker stack deploy: a network on its way out is waited for, as a person would.
func (o *office) deploy(stack string) {
	o.Helper()
	o.eventually(time.Minute, "stack "+stack+" is deployed", func() error {
		cmd := o.lab.Command(o.Context(), o.leader(), "docker", "stack", "deploy", "--resolve-image", "never", "-c", "-", stack)
		cmd.Stdin = strings.NewReader(fmt.Sprintf(stackFile, stack))
		out, err := cmd.CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%w: %s", err, bytes.TrimSpace(out))
		}
		return err
	})
}
