package cli

import (
	"context"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rolling-swarm/rolling/manager/api"
)

var nodeView = view[api.Node]{
	id: func(n api.Node) string { return n.Name },
	columns: []column[api.Node]{
		{"NODE", false, func(n api.Node) string { return n.Name }},
		{"ROLE", false, func(n api.Node) string {
			if n.Leader {
				return "leader"
			}
			return n.Role
		}},
		{"STATE", false, func(n api.Node) string { return n.State }},
		{"AVAILABILITY", false, func(n api.Node) string { return n.Availability }},
		{"ADDRESS", false, func(n api.Node) string { return n.Address }},
		{"TASKS", false, func(n api.Node) string { return strconv.Itoa(n.Tasks) }},
		{"ENGINE", false, func(n api.Node) string { return n.Engine }},
		{"ID", true, func(n api.Node) string { return n.ID }},
	},
}

var leaseView = view[api.Lease]{
	id: func(a api.Lease) string { return a.Address.String() },
	columns: []column[api.Lease]{
		{"ADDRESS", false, func(a api.Lease) string { return a.Address.String() }},
		{"NETWORK", false, func(a api.Lease) string { return a.Network }},
		{"PROJECT", false, func(a api.Lease) string { return a.Project }},
		{"ENVIRONMENT", false, func(a api.Lease) string { return a.Environment }},
		{"SERVICE", false, func(a api.Lease) string { return a.Service }},
		{"SLOT", false, func(a api.Lease) string { return a.Slot }},
		{"NODE", false, func(a api.Lease) string { return a.Node }},
		{"STATE", false, func(a api.Lease) string { return a.State }},
		{"SINCE", true, func(a api.Lease) string { return stamp(a.Since) }},
		{"TASK", true, func(a api.Lease) string { return a.Task }},
	},
}

var routeView = view[api.Route]{
	id: func(r api.Route) string { return r.Prefix.String() },
	columns: []column[api.Route]{
		{"PREFIX", false, func(r api.Route) string { return r.Prefix.String() }},
		{"CONTAINER", false, func(r api.Route) string { return r.Container }},
		{"NODE", false, func(r api.Route) string { return r.Node }},
		{"NEXT HOP", false, func(r api.Route) string {
			if !r.NextHop.IsValid() {
				return ""
			}
			return r.NextHop.String()
		}},
		{"PROJECT", false, func(r api.Route) string { return r.Project }},
		{"ENVIRONMENT", false, func(r api.Route) string { return r.Environment }},
		{"SINCE", false, func(r api.Route) string {
			if r.Since.IsZero() {
				return ""
			}
			return stamp(r.Since)
		}},
		{"MISSING ON", false, func(r api.Route) string { return strings.Join(r.MissingOn, " ") }},
	},
}

func (c *commands) nodes() *cobra.Command {
	var o output
	cmd := c.verb("list", "List the Swarm's nodes", func(ctx context.Context, _ *cobra.Command, _ []string) error {
		return listing(ctx, c, o, nodeView, "/api/v1/nodes", nil, 0)
	})
	o.flags(cmd)
	return c.noun("node", "The Swarm's nodes", append([]*cobra.Command{cmd}, c.nodeVerbs()...)...)
}

func (c *commands) addresses() *cobra.Command {
	var o output
	cmd := c.verb("list [PROJECT] [ENVIRONMENT]", "List who has which address", func(ctx context.Context, _ *cobra.Command, args []string) error {
		query := url.Values{}
		for i, name := range []string{"project", "environment"} {
			if word := argument(args, i); word != "" {
				query.Set(name, word)
			}
		}
		return listing(ctx, c, o, leaseView, "/api/v1/addresses", query, 0)
	})
	o.flags(cmd)
	return c.noun("address", "Addresses on Rolling's networks", append([]*cobra.Command{cmd}, c.addressVerbs()...)...)
}

func (c *commands) routes() *cobra.Command {
	var o output
	var node string
	cmd := c.verb("list", "List where the fabric is told that addresses are", func(ctx context.Context, _ *cobra.Command, _ []string) error {
		query := url.Values{}
		if node != "" {
			query.Set("node", node)
		}
		return listing(ctx, c, o, routeView, "/api/v1/routes", query, 0)
	})
	cmd.Flags().StringVar(&node, "node", "", "only what this one announces")
	o.flags(cmd)
	return c.noun("route", "Routes to the containers", cmd)
}
