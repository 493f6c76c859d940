package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rolling-swarm/rolling/manager/api"
)

var reservationView = view[api.Reservation]{
	id: func(r api.Reservation) string { return r.Address.String() },
	columns: []column[api.Reservation]{
		{"ADDRESS", false, func(r api.Reservation) string { return r.Address.String() }},
		{"FOR", false, func(r api.Reservation) string { return r.For }},
		{"WHY", false, func(r api.Reservation) string { return r.Why }},
		{"HELD BY", false, func(r api.Reservation) string {
			if r.Trespass {
				return r.HeldBy + " !"
			}
			return r.HeldBy
		}},
		{"BY", true, func(r api.Reservation) string { return r.By }},
		{"SINCE", true, func(r api.Reservation) string { return stamp(r.At) }},
	},
}

var addressView = view[api.Detailed]{id: func(a api.Detailed) string { return a.Address.String() }, text: addressText}

func addressText(a api.Detailed) string {
	var b strings.Builder
	pair := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%-12s %s\n", name, value)
		}
	}
	pair("address", a.Address.String())
	pair("state", a.State)
	for _, h := range a.Holders {
		who := strings.Trim(h.Project+"/"+h.Environment, "/")
		for _, p := range [][2]string{{" service ", h.Service}, {" slot ", h.Slot}, {" task ", h.Task}, {" on node ", h.Node}, {" on network ", h.Network}} {
			if p[1] != "" {
				who += p[0] + p[1]
			}
		}
		pair("held by", strings.TrimSpace(who)+", "+h.State+" since "+stamp(h.Since))
	}
	if l := a.Lease; l != nil {
		pair("lease", strings.TrimSuffix(l.State+" to "+l.Owner, " to ")+" since "+stamp(l.Since))
		if l.Until != nil {
			pair("free from", stamp(*l.Until))
		}
		pair("why not now", l.Why)
	}
	if r := a.Reservation; r != nil {
		pair("reserved", "for "+r.For+": "+r.Why+by(r.By))
	}
	for _, who := range a.Access {
		pair("lets in", who)
	}
	pair("networks", strings.Join(a.Networks, " "))
	pair("pools", strings.Join(a.Pools, " "))
	for _, r := range a.Routes {
		missing := ""
		if len(r.MissingOn) > 0 {
			missing = ", missing on " + strings.Join(r.MissingOn, " ")
		}
		pair("route", strings.TrimSpace(r.Prefix.String()+" to "+r.Node+" "+address(r.NextHop))+missing)
	}
	if r := a.Refused; r != nil {
		pair("last refused", stamp(r.At)+": "+r.Why)
	}
	for _, w := range a.Warnings {
		pair("warning", w)
	}
	return b.String()
}

// addressVerbs are what one can do about addresses beside listing them.
func (c *commands) addressVerbs() []*cobra.Command {
	return []*cobra.Command{c.addressShow(), c.addressReserve(), c.addressReserved(), c.addressUnreserve(), c.addressFree()}
}

func (c *commands) addressShow() *cobra.Command {
	var o output
	cmd := c.verb("show ADDRESS", "Show who has an address, since when, and why it is not free", func(ctx context.Context, _ *cobra.Command, args []string) error {
		return showing(ctx, c, o, addressView, where("/api/v1/addresses/%s", args[0]))
	})
	o.flags(cmd)
	return cmd
}

func (c *commands) addressReserve() *cobra.Command {
	var o output
	var w api.ReservationWish
	var whom string
	var dryRun bool
	cmd := c.verb("reserve ADDRESS|COUNT", "Keep an address for somebody, or as many as you like from the end of a pool", func(ctx context.Context, cmd *cobra.Command, args []string) error {
		if n, err := strconv.Atoi(args[0]); err == nil {
			w.Count = n
		} else {
			w.Address = args[0]
		}
		var err error
		if w.For, err = readWhom(whom); err != nil {
			return usage(cmd, "--for: %v", err)
		}
		if whom == "" && w.Network == "" {
			return usage(cmd, "for whom? want --for or --network")
		}
		it, err := post[api.List[api.Reservation]](ctx, c, "/api/v1/reservations", w, dryRun)
		if err != nil {
			return err
		}
		for _, warning := range it.is.Warnings {
			c.say("rolling: %s", warning)
		}
		if dryRun {
			c.say("nothing is wrong, nothing changed")
		}
		var made []item[api.Reservation]
		raw, err := decode[api.List[json.RawMessage]](it.raw)
		if err != nil {
			return err
		}
		for i, r := range it.is.Items {
			made = append(made, item[api.Reservation]{raw: raw.is.Items[i], is: r})
		}
		return showAll(c, o, reservationView, made)
	})
	f := cmd.Flags()
	f.StringVar(&w.Pool, "pool", "", "the named pool to choose from, or that the address must lie in")
	f.StringVar(&w.Network, "network", "", "the same of a network; also for whom, without --for")
	f.StringVar(&whom, "for", "", "network:NAME, project:NAME, project:NAME/ENVIRONMENT, or in words somebody outside Rolling")
	f.StringVar(&w.Why, "why", "", "for those who find it (required)")
	f.BoolVar(&dryRun, "dry-run", false, "only say what is wrong, and what would be kept")
	o.flags(cmd)
	return cmd
}

// readWhom reads --for: words without one of the two prefixes name somebody outside Rolling.
func readWhom(text string) (api.Whom, error) {
	if name, ok := strings.CutPrefix(text, "network:"); ok {
		return api.Whom{Network: name}, nil
	}
	if name, ok := strings.CutPrefix(text, "project:"); ok {
		name, environment, both := strings.Cut(name, "/")
		if name == "" || both && environment == "" {
			return api.Whom{}, fmt.Errorf("%q: want project:NAME or project:NAME/ENVIRONMENT", text)
		}
		return api.Whom{Project: name, Environment: environment}, nil
	}
	return api.Whom{Owner: text}, nil
}

func (c *commands) addressReserved() *cobra.Command {
	var o output
	cmd := c.verb("reserved", "List what is reserved", func(ctx context.Context, _ *cobra.Command, _ []string) error {
		return listing(ctx, c, o, reservationView, "/api/v1/reservations", nil, 0)
	})
	o.flags(cmd)
	return cmd
}

func (c *commands) addressUnreserve() *cobra.Command {
	return c.verb("unreserve ADDRESS", "Take a reservation back", func(ctx context.Context, _ *cobra.Command, args []string) error {
		return c.deleting(ctx, where("/api/v1/reservations/%s", args[0]))
	})
}

func (c *commands) addressFree() *cobra.Command {
	var force bool
	cmd := c.verb("free ADDRESS", "End the rest of an address at once", func(ctx context.Context, _ *cobra.Command, args []string) error {
		cl, err := c.client()
		if err != nil {
			return err
		}
		_, _, err = cl.do(ctx, http.MethodPost, where("/api/v1/addresses/%s/release", args[0]), nil, nil, api.Freeing{Force: force})
		return err
	})
	cmd.Flags().BoolVar(&force, "force", false, "also if its node was not ready when Swarm let it go: you answer for that node being off")
	return cmd
}
