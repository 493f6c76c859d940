package fabric

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/rolling-swarm/rolling/internal/wire"
)

// Driver reads how the network plugin does. An older one has no page for its firewall: that is not known then.
func (r *Reader) Driver(ctx context.Context) (wire.Driver, error) {
	p, err := r.page(ctx)
	if err != nil {
		return wire.Driver{}, err
	}
	d := wire.Driver{
		Ready: p.Ready, Refused: p.Refused, Problems: p.Problems, Self: p.Membership.Self, Manager: p.Membership.Manager,
		MTU: p.Uplink.MTU, Uplinks: p.Uplink.Names, Pools: p.Pools, Neighbours: p.Neighbours, Held: p.Fabric.Held, Announced: p.Fabric.Own,
		Drained: p.Fabric.Drained, Settled: p.Settled, FastPath: p.FastPath.Path, Idle: p.FastPath.Idle, Access: p.Isolation,
	}
	for _, e := range p.Endpoints {
		if e.Phase == joined && e.Address.IsValid() {
			x := wire.Endpoint{Address: e.Address, MTU: e.MTU, Since: e.Since, Awaited: slices.Contains(p.Awaited, e.ID)}
			for _, n := range p.Networks {
				if n.ID == e.Network {
					x.Project, x.Open = n.Options.Project, n.Options.Open
				}
			}
			d.Endpoints = append(d.Endpoints, x)
		}
	}
	d.Firewall = &wire.Firewall{}
	if err := r.read(ctx, "/debug/firewall", d.Firewall); err != nil {
		d.Firewall = &wire.Firewall{Problem: err.Error()}
	}
	return d, nil
}

// Drain has the plugin mark all that it announces for a shutdown, or no longer. It may be said twice.
func (r *Reader) Drain(ctx context.Context, on bool) error {
	method := http.MethodDelete
	if on {
		method = http.MethodPost
	}
	return r.order(ctx, method, "/drain", "tell the network plugin of a drain")
}

// Clear has the plugin take away all that it put on the host but what containers hold.
func (r *Reader) Clear(ctx context.Context) error {
	return r.order(ctx, http.MethodPost, "/clear", "have the network plugin clear the host")
}

func (r *Reader) order(ctx context.Context, method, path, what string) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://net"+path, nil)
	if err != nil {
		return err
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	if resp.StatusCode != http.StatusNoContent {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10)) // half a reason is one too
		return fmt.Errorf("%s: it answers %s: %s", what, resp.Status, strings.TrimSpace(string(text)))
	}
	return nil
}
