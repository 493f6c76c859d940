package cli

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rolling-swarm/rolling/manager/api"
	"github.com/rolling-swarm/rolling/manager/engine"
)

var networkView = view[api.Network]{
	id: func(n api.Network) string { return n.Name },
	columns: []column[api.Network]{
		{"NETWORK", false, func(n api.Network) string { return n.Name }},
		{"SUBNET", false, func(n api.Network) string { return prefix(n.Subnet) }},
		{"POOL", false, func(n api.Network) string { return n.Pool }},
		{"PROJECT", false, func(n api.Network) string { return n.Project }},
		{"ENVIRONMENT", false, func(n api.Network) string { return n.Environment }},
		{"TASKS", false, func(n api.Network) string { return strconv.Itoa(n.Tasks) }},
		{"USED", false, func(n api.Network) string { return figure(n.Usage, func(u engine.Usage) int { return u.Used }) }},
		{"FREE", false, func(n api.Network) string { return figure(n.Usage, func(u engine.Usage) int { return u.Free }) }},
		{"FULL", false, func(n api.Network) string { return full(n.Usage) }},
		{"RESTING", true, func(n api.Network) string { return figure(n.Usage, func(u engine.Usage) int { return u.Resting }) }},
		{"RESERVED", true, func(n api.Network) string { return figure(n.Usage, func(u engine.Usage) int { return u.Reserved }) }},
		{"MODE", true, func(n api.Network) string { return n.Mode }},
		{"GATEWAY", true, func(n api.Network) string { return address(n.Gateway) }},
		{"ID", true, func(n api.Network) string { return n.ID }},
	},
	text: networkText,
}

var poolView = view[api.Pool]{
	id: func(p api.Pool) string { return p.Name },
	columns: []column[api.Pool]{
		{"POOL", false, func(p api.Pool) string { return p.Name }},
		{"PREFIX", false, func(p api.Pool) string { return p.Prefix.String() }},
		{"BLOCK", false, func(p api.Pool) string { return slash(p.Block) }},
		{"QUOTA", false, func(p api.Pool) string { return count0(p.Quota) }},
		{"NETWORKS", false, func(p api.Pool) string { return strconv.Itoa(len(p.Networks)) }},
		{"USED", false, func(p api.Pool) string { return figure(p.Usage, func(u engine.Usage) int { return u.Used }) }},
		{"FREE", false, func(p api.Pool) string { return figure(p.Usage, func(u engine.Usage) int { return u.Free }) }},
		{"FULL", false, func(p api.Pool) string { return full(p.Usage) }},
		{"WHY", true, func(p api.Pool) string { return p.Why }},
	},
}

func prefix(p netip.Prefix) string {
	if !p.IsValid() {
		return ""
	}
	return p.String()
}

func address(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func slash(bits int) string {
	if bits == 0 {
		return ""
	}
	return "/" + strconv.Itoa(bits)
}

func count0(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

func figure(u *engine.Usage, of func(engine.Usage) int) string {
	if u == nil {
		return "?"
	}
	return strconv.Itoa(of(*u))
}

// full marks what deserves attention: over 80 %.
func full(u *engine.Usage) string {
	switch {
	case u == nil:
		return "?"
	case u.Full > 80:
		return fmt.Sprintf("%d %% !", u.Full)
	}
	return fmt.Sprintf("%d %%", u.Full)
}

func networkText(n api.Network) string {
	var b strings.Builder
	pair := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%-12s %s\n", name, value)
		}
	}
	pair("network", n.Name)
	pair("mode", n.Mode)
	pair("project", strings.Trim(n.Project+"/"+n.Environment, "/"))
	pair("pool", n.Pool)
	pair("subnet", prefix(n.Subnet))
	pair("range", n.Range)
	var blocks []string
	for _, p := range n.Blocks {
		blocks = append(blocks, p.String())
	}
	if n.Block != 0 {
		pair("blocks", strings.TrimSuffix("of "+slash(n.Block)+": "+strings.Join(blocks, " "), ": "))
	}
	pair("quota", count0(n.Quota))
	pair("quarantine", n.Quarantine)
	pair("gateway", address(n.Gateway))
	pair("ipv6", n.IPv6)
	if u := n.Usage; u != nil {
		pair("addresses", fmt.Sprintf("%d of %d used, %d rest, %d reserved, %d free: %d %% full", u.Used, u.Size, u.Resting, u.Reserved, u.Free, u.Full))
	}
	pair("tasks", strconv.Itoa(n.Tasks))
	pair("services", strings.Join(n.Services, " "))
	pair("shared with", strings.Join(n.SharedWith, " "))
	for _, w := range n.Warnings {
		pair("warning", w)
	}
	return b.String()
}

func (c *commands) networks() *cobra.Command {
	return c.noun("network", "Networks whose addresses Rolling gives", c.networkCreate(), c.networkList(), c.networkShow(), c.networkRemove())
}

func (c *commands) pools() *cobra.Command {
	return c.noun("pool", "Named pools, which networks draw addresses from", c.poolCreate(), c.poolList(), c.poolRemove())
}

func (c *commands) networkCreate() *cobra.Command {
	var o output
	var w api.NetworkWish
	var dryRun bool
	cmd := c.verb("create NAME", "Make a network, and wait until Swarm's leader has made it", func(ctx context.Context, cmd *cobra.Command, args []string) error {
		w.Name = args[0]
		if w.Pool != "" && w.Subnet != "" || w.Pool == "" && w.Subnet == "" {
			return usage(cmd, "want --pool or --subnet")
		}
		it, err := post[api.Network](ctx, c, "/api/v1/networks", w, dryRun)
		if err != nil {
			return err
		}
		if dryRun {
			c.say("nothing is wrong, nothing changed")
		}
		return showOne(c, o, networkView, it)
	})
	f := cmd.Flags()
	f.StringVar(&w.Pool, "pool", "", "the named pool that it draws from; see rolling pool list")
	f.StringVar(&w.Subnet, "subnet", "", "or its subnet, such as 10.210.3.0/24")
	f.StringVar(&w.Project, "project", "", "whose it is: routes and isolation go by it")
	f.StringVar(&w.Environment, "environment", "", "which of the project's environments")
	f.IntVar(&w.Block, "block", 0, "length of the blocks that it takes of the subnet, such as 28 (default: the pool's)")
	f.IntVar(&w.Quota, "quota", 0, "most addresses at once (default: the pool's)")
	f.StringVar(&w.Range, "range", "", "an exact range, FIRST-LAST or a prefix: addresses stay with their slots")
	f.StringVar(&w.Quarantine, "quarantine", "", "how long a freed address rests (default: the plugin's setting, 60s)")
	f.StringVar(&w.Mode, "mode", "", "routed (default) or l2")
	f.StringVar(&w.Parent, "parent", "", "of l2: the nodes' interface")
	f.StringVar(&w.Attach, "attach", "", "of l2: bridge (default) or macvlan")
	f.StringVar(&w.Gateway, "gateway", "", "of l2: the router inside the subnet")
	f.IntVar(&w.MTU, "mtu", 0, "of its interfaces (default: that of the node's own)")
	f.StringVar(&w.Isolation, "isolation", "", "project (default) or open")
	f.StringVar(&w.Announce, "announce", "", "host (default) or aggregate")
	f.StringVar(&w.AnnounceWhen, "announce-when", "", "ready (default), or healthy: an address is announced once its container's check has passed")
	f.StringVar(&w.IPv6, "ipv6", "", "the /96 in which IPv6 addresses are derived")
	f.BoolVar(&w.Attachable, "attachable", false, "docker run may join")
	f.BoolVar(&w.Internal, "internal", false, "no way out of it")
	f.BoolVar(&dryRun, "dry-run", false, "only say what is wrong, and what would be made")
	o.flags(cmd)
	return cmd
}

// post sends a wish, or asks what would come of it.
func post[T any](ctx context.Context, c *commands, path string, wish any, dryRun bool) (item[T], error) {
	cl, err := c.client()
	if err != nil {
		return item[T]{}, err
	}
	query := url.Values{}
	if dryRun {
		query.Set("dryRun", "true")
	}
	raw, _, err := cl.do(ctx, http.MethodPost, path, query, nil, wish)
	if err != nil {
		return item[T]{}, err
	}
	return decode[T](raw)
}

func (c *commands) networkList() *cobra.Command {
	var o output
	cmd := c.verb("list [PROJECT] [ENVIRONMENT]", "List networks, and how full they are", func(ctx context.Context, _ *cobra.Command, args []string) error {
		query := url.Values{}
		for i, name := range []string{"project", "environment"} {
			if word := argument(args, i); word != "" {
				query.Set(name, word)
			}
		}
		return listing(ctx, c, o, networkView, "/api/v1/networks", query, 0)
	})
	o.flags(cmd)
	return cmd
}

func (c *commands) networkShow() *cobra.Command {
	var o output
	cmd := c.verb("show NETWORK", "Show a network, who uses it, and how full it is", func(ctx context.Context, _ *cobra.Command, args []string) error {
		return showing(ctx, c, o, networkView, where("/api/v1/networks/%s", args[0]))
	})
	o.flags(cmd)
	return cmd
}

func (c *commands) networkRemove() *cobra.Command {
	return c.verb("remove NETWORK", "Remove a network that no service and no container uses", func(ctx context.Context, _ *cobra.Command, args []string) error {
		return c.deleting(ctx, where("/api/v1/networks/%s", args[0]))
	})
}

func (c *commands) poolCreate() *cobra.Command {
	var o output
	var w api.PoolWish
	cmd := c.verb("create NAME PREFIX", "Give a prefix a name", func(ctx context.Context, _ *cobra.Command, args []string) error {
		w.Name, w.Prefix = args[0], args[1]
		it, err := post[api.Pool](ctx, c, "/api/v1/pools", w, false)
		if err != nil {
			return err
		}
		for _, warning := range it.is.Warnings {
			c.say("rolling: %s", warning)
		}
		v := poolView
		v.text = func(p api.Pool) string { return fmt.Sprintf("pool %s is %s", p.Name, p.Prefix) }
		return showOne(c, o, v, it)
	})
	cmd.Flags().IntVar(&w.Block, "block", 0, "length of the blocks that its networks take, unless they say otherwise")
	cmd.Flags().IntVar(&w.Quota, "quota", 0, "most addresses of a network at once, unless it says otherwise")
	cmd.Flags().StringVar(&w.Why, "why", "", "for those who find it")
	o.flags(cmd)
	return cmd
}

func (c *commands) poolList() *cobra.Command {
	var o output
	cmd := c.verb("list", "List named pools, and how full they are", func(ctx context.Context, _ *cobra.Command, _ []string) error {
		return listing(ctx, c, o, poolView, "/api/v1/pools", nil, 0)
	})
	o.flags(cmd)
	return cmd
}

func (c *commands) poolRemove() *cobra.Command {
	return c.verb("remove POOL", "Take a name away from a prefix that no network draws from", func(ctx context.Context, _ *cobra.Command, args []string) error {
		return c.deleting(ctx, where("/api/v1/pools/%s", args[0]))
	})
}

func (c *commands) deleting(ctx context.Context, path string) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	_, _, err = cl.do(ctx, http.MethodDelete, path, nil, nil, nil)
	return err
}
