package proof

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/plugin"
	"github.com/moby/moby/api/types/swarm"
	"github.com/moby/moby/client"

	"github.com/rolling-swarm/rolling/internal/contract"
)

func nodesAndPlugins(ctx context.Context, w *World) (string, error) {
	leader, err := w.leader(ctx)
	if err != nil {
		return "", err
	}
	var version string
	err = eventually(ctx, time.Minute, "nodes Ready", func(ctx context.Context) error {
		return w.on(leader, func(c *client.Client) error {
			v, err := c.ServerVersion(ctx, client.ServerVersionOptions{})
			if err != nil {
				return err
			}
			version = v.Version
			return allReady(ctx, c, len(w.Lab.Nodes()))
		})
	})
	if err != nil {
		return "", err
	}
	for _, n := range w.Lab.Nodes() {
		if err := w.on(n, func(c *client.Client) error { return pluginsEnabled(ctx, c) }); err != nil {
			return "", fmt.Errorf("%s: %w", n, err)
		}
	}
	return fmt.Sprintf("engine %s, %d nodes, %s on each", version, len(w.Lab.Nodes()), strings.Join(contract.Plugins(), ", ")), nil
}

func allReady(ctx context.Context, c *client.Client, want int) error {
	nodes, err := c.NodeList(ctx, client.NodeListOptions{})
	if err != nil {
		return err
	}
	ready := 0
	for _, n := range nodes.Items {
		if n.Status.State == swarm.NodeStateReady {
			ready++
		}
	}
	if ready != want {
		return fmt.Errorf("%d of %d nodes are Ready", ready, want)
	}
	return nil
}

func pluginsEnabled(ctx context.Context, c *client.Client) error {
	plugins, err := c.PluginList(ctx, client.PluginListOptions{})
	if err != nil {
		return err
	}
	for _, want := range contract.Plugins() {
		i := slices.IndexFunc(plugins.Items, func(p plugin.Plugin) bool { return p.Name == want })
		if i < 0 {
			return fmt.Errorf("plugin %s is not installed", want)
		}
		if !plugins.Items[i].Enabled {
			return fmt.Errorf("plugin %s is installed and disabled", want)
		}
	}
	return nil
}

func deployOrders(ctx context.Context, w *World) (string, error) {
	if err := w.Lab.StartPart(ctx, "registry"); err != nil {
		return "", err
	}
	if err := w.Lab.StartPart(ctx, "bird"); err != nil {
		return "", err
	}
	image, err := w.pushOrders(ctx)
	if err != nil {
		return "", err
	}
	w.orders = image
	start := time.Now()
	if err := w.deploy(ctx, "orders", filepath.Join(w.Root, "examples/orders/stack.yml"), "ORDERS_IMAGE="+image); err != nil {
		return "", err
	}
	tasks, err := w.running(ctx, 3, 90*time.Second)
	if err != nil {
		return "", err
	}
	nodes := map[string]bool{}
	for _, t := range tasks {
		nodes[t.Node] = true
	}
	if len(nodes) != 3 {
		return "", fmt.Errorf("three tasks run on %d nodes: %v", len(nodes), tasks)
	}
	return fmt.Sprintf("3 of 3 running after %.1f s: %s", time.Since(start).Seconds(), describe(tasks)), nil
}

func describe(tasks []Task) string {
	var words []string
	for _, t := range tasks {
		words = append(words, fmt.Sprintf("%s on %s", t.Addresses[0], t.Node))
	}
	slices.Sort(words)
	return strings.Join(words, ", ")
}

// running waits until Swarm says that want tasks of orders run, all of them on live nodes.
func (w *World) running(ctx context.Context, want int, within time.Duration) ([]Task, error) {
	var tasks []Task
	err := eventually(ctx, within, fmt.Sprintf("%d tasks of orders running", want), func(ctx context.Context) error {
		leader, err := w.Lab.Leader(ctx)
		if err != nil {
			return err
		}
		if tasks, err = w.tasks(ctx, leader); err != nil {
			return err
		}
		if len(tasks) != want {
			ps, _ := w.Lab.Docker(ctx, leader, "service", "ps", ordersService, "--no-trunc", "--format", "{{.Name}} {{.Node}} {{.CurrentState}} {{.Error}}") // only for the error's text
			return fmt.Errorf("%d run: %s", len(tasks), strings.Join(strings.Split(strings.TrimSpace(ps), "\n"), "; "))
		}
		return nil
	})
	return tasks, err
}

func answersAtOwnAddress(ctx context.Context, w *World) (string, error) {
	tasks, err := w.running(ctx, 3, 30*time.Second)
	if err != nil {
		return "", err
	}
	router := w.Lab.Address("router").String()
	err = eventually(ctx, 30*time.Second, "every container answers the router", func(ctx context.Context) error {
		for _, t := range tasks {
			a, err := w.ask(ctx, t.Addresses[0], "/")
			if err != nil {
				return err
			}
			if a.Address != t.Addresses[0].String() || a.Remote != router {
				return fmt.Errorf("%s says it is %s and was asked by %s, want the asker's own address %s", t.Addresses[0], a.Address, a.Remote, router)
			}
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	pairs := 0
	for _, from := range tasks {
		for _, to := range tasks {
			if from.ID == to.ID {
				continue
			}
			a, err := w.askThrough(ctx, from.Addresses[0], to.Addresses[0])
			if err != nil {
				return "", fmt.Errorf("%s asks %s: %w", from.Addresses[0], to.Addresses[0], err)
			}
			if a.Remote != from.Addresses[0].String() {
				return "", fmt.Errorf("%s was asked by %s and saw %s", to.Addresses[0], from.Addresses[0], a.Remote)
			}
			pairs++
		}
	}
	return fmt.Sprintf("3 answer the router, which they see as %s; %d pairs over nodes see each other's own address", router, pairs), nil
}

func routesAreExact(ctx context.Context, w *World) (string, error) {
	v, err := w.Agree(ctx, 30*time.Second)
	if err != nil {
		return "", err
	}
	for p := range v.Routes {
		if !p.IsSingleIP() {
			return "", fmt.Errorf("the router learnt %s, want only /32s", p)
		}
	}
	var words []string
	for p, hops := range v.Routes {
		words = append(words, fmt.Sprintf("%s via %s", p, hops[0]))
	}
	slices.Sort(words)
	return strings.Join(words, ", "), nil
}

func leaderLosesPower(ctx context.Context, w *World) (string, error) {
	leader, err := w.leader(ctx)
	if err != nil {
		return "", err
	}
	before, err := w.running(ctx, 3, 30*time.Second)
	if err != nil {
		return "", err
	}
	if err := w.Lab.Kill(ctx, leader); err != nil {
		return "", err
	}
	w.lost = leader
	dark := time.Now()
	withdrawn := make(chan withdrawal, 1)
	go func() { withdrawn <- w.withdrawn(ctx, dark, before, leader) }()
	next := ""
	if err := eventually(ctx, time.Minute, "another leader", func(ctx context.Context) (err error) {
		if next, err = w.Lab.Leader(ctx); err == nil && next == leader {
			err = errors.New("the dead node is still called the leader")
		}
		return err
	}); err != nil {
		return "", err
	}
	led := time.Since(dark)
	if _, err := w.Lab.Docker(ctx, next, "service", "scale", "--detach", ordersService+"=6"); err != nil {
		return "", err
	}
	after, err := w.running(ctx, 6, 2*time.Minute)
	if err != nil {
		return "", err
	}
	if err := kept(before, after, leader); err != nil {
		return "", err
	}
	gone := <-withdrawn
	if gone.err != nil {
		return "", gone.err
	}
	if _, err := w.Agree(ctx, 30*time.Second); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s leads after %.1f s, scaled to 6, surviving addresses unchanged, all unique; routes of %s withdrawn after %.1f s", next, led.Seconds(), leader, gone.after.Seconds()), nil
}

// kept checks that every task that survived has the address it had, and that no address has two owners.
func kept(before, after []Task, dead string) error {
	now := map[string][]netip.Addr{}
	owner := map[netip.Addr]string{}
	for _, t := range after {
		now[t.ID] = t.Addresses
		for _, a := range t.Addresses {
			if owner[a] != "" {
				return fmt.Errorf("address %s was given to task %s and to task %s", a, owner[a], t.ID)
			}
			owner[a] = t.ID
		}
	}
	for _, t := range before {
		if t.Node == dead {
			if by := owner[t.Addresses[0]]; by != "" {
				return fmt.Errorf("address %s of a task on the dead node %s was given to task %s", t.Addresses[0], dead, by)
			}
			continue
		}
		if !slices.Equal(now[t.ID], t.Addresses) {
			return fmt.Errorf("task %s on %s had %v and now has %v", t.ID, t.Node, t.Addresses, now[t.ID])
		}
	}
	return nil
}

// A withdrawal is how long the router kept routes through a dead node.
type withdrawal struct {
	after time.Duration
	err   error
}

// withdrawn waits until the router has no route left through the dead node.
func (w *World) withdrawn(ctx context.Context, dark time.Time, before []Task, dead string) withdrawal {
	err := eventually(ctx, time.Minute, "routes of the dead node withdrawn", func(ctx context.Context) error {
		routes, err := w.Lab.Routes(ctx)
		if err != nil {
			return err
		}
		for _, t := range before {
			if _, there := routes[netip.PrefixFrom(t.Addresses[0], 32)]; there && t.Node == dead {
				return fmt.Errorf("the router still has %s", t.Addresses[0])
			}
		}
		return nil
	})
	return withdrawal{time.Since(dark), err}
}

func nodeComesBack(ctx context.Context, w *World) (string, error) {
	if w.lost == "" {
		return "", errors.New("no node lost its power before")
	}
	start := time.Now()
	if err := w.Lab.Start(ctx, w.lost); err != nil {
		return "", err
	}
	leader, err := w.leader(ctx)
	if err != nil {
		return "", err
	}
	if err := eventually(ctx, time.Minute, "all nodes Ready", func(ctx context.Context) error {
		return w.on(leader, func(c *client.Client) error { return allReady(ctx, c, len(w.Lab.Nodes())) })
	}); err != nil {
		return "", err
	}
	ready := time.Since(start)
	// Three at a time: what is proven is where tasks go, not that nobody misses them.
	if _, err := w.Lab.Docker(ctx, leader, "service", "update", "--detach", "--force", "--update-parallelism", "3", ordersService); err != nil {
		return "", err
	}
	if err := w.updated(ctx, leader, 3*time.Minute); err != nil {
		return "", err
	}
	if _, err := w.running(ctx, 6, time.Minute); err != nil {
		return "", err
	}
	v, err := w.Agree(ctx, time.Minute)
	if err != nil {
		return "", err
	}
	perNode := map[string]int{}
	for _, c := range v.Containers {
		perNode[c.Node]++
	}
	if perNode[w.lost] == 0 {
		return "", fmt.Errorf("no task went back to %s: %v", w.lost, perNode)
	}
	back := w.lost
	w.lost = ""
	return fmt.Sprintf("%s Ready after %.1f s; after a forced update tasks a node %v; engines, kernels, Swarm, ledger and router agree on %d addresses",
		back, ready.Seconds(), perNode, len(v.Routes)), nil
}

// updated waits for the end of a service update.
func (w *World) updated(ctx context.Context, leader string, within time.Duration) error {
	return eventually(ctx, within, "update completed", func(ctx context.Context) error {
		state, err := w.Lab.Docker(ctx, leader, "service", "inspect", "--format", "{{if .UpdateStatus}}{{.UpdateStatus.State}}: {{.UpdateStatus.Message}}{{end}}", ordersService)
		if err != nil {
			return err
		}
		if state = strings.TrimSpace(state); !strings.HasPrefix(state, "completed") {
			ps, _ := w.Lab.Docker(ctx, leader, "service", "ps", ordersService, "--no-trunc", "--format", "{{.Name}} {{.Node}} {{.CurrentState}} {{.Error}}") // only for the error's text
			return fmt.Errorf("its state is %q: %s", state, strings.Join(strings.Split(strings.TrimSpace(ps), "\n"), "; "))
		}
		return nil
	})
}

func pluginsKilled(ctx context.Context, w *World) (string, error) {
	v, err := w.Agree(ctx, 30*time.Second)
	if err != nil {
		return "", err
	}
	// a node that does not lead, so that both of its roles are seen: address echo and wiring
	leader, err := w.leader(ctx)
	if err != nil {
		return "", err
	}
	worst := map[string]time.Duration{}
	for _, victim := range v.Containers {
		if victim.Node == leader && len(worst) > 0 {
			continue
		}
		for plugin, program := range map[string]string{"net": "network-driver", "ipam": "ipam-driver"} {
			q, err := w.silence(ctx, victim.Engine[0], func() error { return w.killPlugin(ctx, victim.Node, program) })
			if err != nil {
				return "", err
			}
			if q.longest > time.Second {
				return "", fmt.Errorf("%s killed on %s: %s was silent for %s (%d answers)", program, victim.Node, victim.Engine[0], q.longest, q.answers)
			}
			worst[plugin] = max(worst[plugin], q.longest)
		}
		if len(worst) == 2 && victim.Node != leader {
			break
		}
	}
	now, err := w.Agree(ctx, time.Minute)
	if err != nil {
		return "", err
	}
	if !maps.EqualFunc(v.Routes, now.Routes, slices.Equal) {
		return "", fmt.Errorf("the routes were %v and are %v", v.Routes, now.Routes)
	}
	return fmt.Sprintf("longest silence of a 10 ms prober: %d ms as rolling/net died, %d ms as rolling/ipam died; state intact", worst["net"].Milliseconds(), worst["ipam"].Milliseconds()), nil
}

// killPlugin ends a plugin's process by SIGKILL and waits until the daemon has started another and its socket answers.
func (w *World) killPlugin(ctx context.Context, node, program string) error {
	pid := func(ctx context.Context) (int, error) {
		out, err := w.Lab.Exec(ctx, node, "pidof", "/"+program)
		if err != nil {
			return 0, fmt.Errorf("process of %s on %s: %w", program, node, err)
		}
		return strconv.Atoi(strings.Fields(out)[0])
	}
	old, err := pid(ctx)
	if err != nil {
		return err
	}
	if _, err := w.Lab.Exec(ctx, node, "kill", "-9", strconv.Itoa(old)); err != nil {
		return err
	}
	return eventually(ctx, 30*time.Second, program+" started again", func(ctx context.Context) error {
		now, err := pid(ctx)
		if err != nil {
			return err
		}
		if now == old {
			return errors.New("the killed process is still there")
		}
		var state struct{}
		return w.debugState(ctx, node, map[string]string{"network-driver": "net", "ipam-driver": "ipam"}[program], &state)
	})
}
