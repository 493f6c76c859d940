package proof

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/api/types/swarm"
	"github.com/moby/moby/client"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/rolling-swarm/rolling/internal/contract"
)

// on runs f with a client of the node's engine.
func (w *World) on(node string, f func(c *client.Client) error) error {
	c, err := w.Lab.Client(node)
	if err != nil {
		return err
	}
	defer c.Close()
	return f(c)
}

// live are the nodes that have power.
func (w *World) live() []string {
	return slices.DeleteFunc(w.Lab.Nodes(), func(n string) bool { return !w.Lab.On(n) })
}

// Observe asks every witness of one moment. Ledger and routes are left nil where the caller does not want them.
func (w *World) Observe(ctx context.Context, withRoutes bool) (View, error) {
	v := View{Nodes: map[string]netip.Addr{}}
	for _, n := range w.Lab.Nodes() {
		v.Nodes[n] = w.Lab.Address(n)
	}
	leader, err := w.leader(ctx)
	if err != nil {
		return v, err
	}
	if v.Tasks, err = w.tasks(ctx, leader); err != nil {
		return v, err
	}
	if v.Known, err = w.known(ctx, leader); err != nil {
		return v, err
	}
	running, err := w.Containers(ctx)
	if v.Containers = running.Containers; err != nil {
		return v, err
	}
	if v.Ledger, err = w.ledger(ctx, leader); err != nil {
		return v, err
	}
	if withRoutes {
		v.Routes, err = w.Lab.Routes(ctx)
	}
	return v, err
}

// Containers asks engines and kernels alone, also of nodes that are cut off: no two containers may have one address, whatever
// else is not agreed on yet.
func (w *World) Containers(ctx context.Context) (v View, err error) {
	for _, n := range w.live() {
		containers, err := w.containers(ctx, n)
		if err != nil {
			return v, err
		}
		v.Containers = append(v.Containers, containers...)
	}
	return v, nil
}

// Agree waits until every witness says the same, and returns that view.
func (w *World) Agree(ctx context.Context, within time.Duration) (View, error) {
	var v View
	err := eventually(ctx, within, "addresses agree", func(ctx context.Context) (err error) {
		if v, err = w.Observe(ctx, true); err != nil {
			return err
		}
		if said := Disagreements(v); len(said) > 0 {
			return errors.New(strings.Join(said, "; "))
		}
		return nil
	})
	return v, err
}

// tasks are those that Swarm wants running and says are, on nodes with power.
func (w *World) tasks(ctx context.Context, node string) ([]Task, error) {
	var found []Task
	err := w.on(node, func(c *client.Client) error {
		names, err := nodeNames(ctx, c)
		if err != nil {
			return err
		}
		services, err := c.ServiceList(ctx, client.ServiceListOptions{})
		if err != nil {
			return fmt.Errorf("services from %s: %w", node, err)
		}
		called := map[string]string{}
		for _, s := range services.Items {
			called[s.ID] = s.Spec.Name
		}
		all, err := c.TaskList(ctx, client.TaskListOptions{})
		if err != nil {
			return fmt.Errorf("tasks from %s: %w", node, err)
		}
		for _, t := range all.Items {
			addresses := taskAddresses(t)
			if t.Status.State != swarm.TaskStateRunning || t.DesiredState != swarm.TaskStateRunning || len(addresses) == 0 || !w.Lab.On(names[t.NodeID]) {
				continue
			}
			found = append(found, Task{ID: t.ID, Node: names[t.NodeID], Service: called[t.ServiceID], Addresses: addresses, Since: t.Status.Timestamp})
		}
		return nil
	})
	return found, err
}

// known are the addresses of all tasks that Swarm remembers with one, whatever became of them.
func (w *World) known(ctx context.Context, node string) ([]netip.Addr, error) {
	var found []netip.Addr
	err := w.on(node, func(c *client.Client) error {
		all, err := c.TaskList(ctx, client.TaskListOptions{})
		for _, t := range all.Items {
			found = append(found, taskAddresses(t)...)
		}
		return err
	})
	return found, err
}

func taskAddresses(t swarm.Task) []netip.Addr {
	var found []netip.Addr
	for _, a := range t.NetworksAttachments {
		if a.Network.DriverState.Name != contract.PluginNet {
			continue
		}
		for _, p := range a.Addresses {
			found = append(found, p.Addr())
		}
	}
	return found
}

func nodeNames(ctx context.Context, c *client.Client) (map[string]string, error) {
	nodes, err := c.NodeList(ctx, client.NodeListOptions{})
	if err != nil {
		return nil, fmt.Errorf("nodes: %w", err)
	}
	names := map[string]string{}
	for _, n := range nodes.Items {
		names[n.ID] = n.Description.Hostname
	}
	return names, nil
}

// containers are the running ones of the node that have an address on a rolling network.
func (w *World) containers(ctx context.Context, node string) ([]Container, error) {
	var found []Container
	err := w.on(node, func(c *client.Client) error {
		ours := make(client.Filters).Add("driver", contract.PluginNet)
		networks, err := c.NetworkList(ctx, client.NetworkListOptions{Filters: ours})
		if err != nil {
			return fmt.Errorf("networks of %s: %w", node, err)
		}
		rolling := map[string]bool{}
		for _, n := range networks.Items {
			rolling[n.ID] = true
		}
		all, err := c.ContainerList(ctx, client.ContainerListOptions{})
		if err != nil {
			return fmt.Errorf("containers of %s: %w", node, err)
		}
		for _, s := range all.Items {
			one := Container{Node: node, ID: s.ID[:12], Task: s.Labels["com.docker.swarm.task.id"]}
			if s.NetworkSettings == nil {
				continue
			}
			for _, e := range s.NetworkSettings.Networks {
				if rolling[e.NetworkID] && e.IPAddress.IsValid() {
					one.Engine = append(one.Engine, e.IPAddress)
				}
			}
			if len(one.Engine) == 0 {
				continue
			}
			if one.Kernel, err = w.kernelAddresses(node, s.ID); err != nil {
				return err
			}
			found = append(found, one)
		}
		return nil
	})
	return found, err
}

// kernelAddresses are the global IPv4 addresses inside the container's namespace, but for those of Docker's own bridges.
func (w *World) kernelAddresses(node, container string) ([]netip.Addr, error) {
	path, err := w.Lab.ContainerNetwork(node, container)
	if err != nil {
		return nil, err
	}
	space, err := netns.GetFromPath(path)
	if err != nil {
		return nil, fmt.Errorf("network of container %s on %s: %w", container[:12], node, err)
	}
	defer space.Close()
	h, err := netlink.NewHandleAt(space)
	if err != nil {
		return nil, fmt.Errorf("network of container %s on %s: %w", container[:12], node, err)
	}
	defer h.Close()
	list, err := h.AddrList(nil, netlink.FAMILY_V4)
	if err != nil {
		return nil, fmt.Errorf("addresses of container %s on %s: %w", container[:12], node, err)
	}
	var found []netip.Addr
	for _, a := range list {
		ip, ok := netip.AddrFromSlice(a.IP.To4())
		if ones, _ := a.Mask.Size(); ok && ones == 32 && ip.IsGlobalUnicast() {
			found = append(found, ip)
		}
	}
	return found, nil
}

// ledger are the addresses that the IPAM plugin of the node holds as in use, from its /debug/state.
func (w *World) ledger(ctx context.Context, node string) ([]netip.Addr, error) {
	var state struct {
		Leases []struct {
			Address netip.Addr `json:"address"`
			State   string     `json:"state"`
		} `json:"leases"`
	}
	if err := w.debugState(ctx, node, "ipam", &state); err != nil {
		return nil, err
	}
	held := []netip.Addr{}
	for _, l := range state.Leases {
		if l.State != "resting" {
			held = append(held, l.Address)
		}
	}
	return held, nil
}

// debugState reads /debug/state of a plugin on a node from its socket below /var/lib/rolling.
func (w *World) debugState(ctx context.Context, node, plugin string, into any) error {
	socket, err := w.Lab.Path(node, contract.StateRoot+"/"+plugin+"/"+plugin+".sock")
	if err != nil {
		return err
	}
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://plugin/debug/state", nil)
	if err != nil {
		return err
	}
	resp, err := c.Do(req)
	if err != nil {
		return fmt.Errorf("state of %s on %s: %w", plugin, node, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("state of %s on %s: %s", plugin, node, resp.Status)
	}
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return fmt.Errorf("state of %s on %s: %w", plugin, node, err)
	}
	return nil
}
