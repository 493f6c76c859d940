package cli

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/rolling-swarm/rolling/manager/api"
)

var reachView = view[api.Reach]{
	id: func(r api.Reach) string {
		if r.Allowed {
			return "allowed"
		}
		return "denied"
	},
	text: reachText,
}

func reachText(r api.Reach) string {
	var b strings.Builder
	may := "may not connect to"
	if r.Allowed {
		may = "may connect to"
	}
	fmt.Fprintf(&b, "%s %s %s, port %s\n", end(r.From.Address.String(), r.From.Owner, r.From.Node), may, end(r.To.Address.String(), r.To.Owner, r.To.Node), r.Door)
	if !r.Certain {
		fmt.Fprintf(&b, "%-10s  not all nodes that judge have answered\n", "uncertain")
	}
	fmt.Fprintf(&b, "%-10s  %s\n%-10s  %s\n", "decided by", r.Decider, "why", r.Why)
	for _, v := range r.Views {
		switch {
		case v.Silence != "":
			fmt.Fprintf(&b, "%-10s  tells nothing: %s\n", v.Node, v.Silence)
		case v.Says.Allowed:
			fmt.Fprintf(&b, "%-10s  lets it pass: %s; by %s\n", v.Node, v.Says.Why, v.Says.By)
		default:
			fmt.Fprintf(&b, "%-10s  keeps it back: %s; by %s\n", v.Node, v.Says.Why, v.Says.By)
		}
	}
	if r.Remedy != "" {
		fmt.Fprintf(&b, "→ %s\n", r.Remedy)
	}
	return b.String()
}

// end is an end of a connection in words.
func end(address, owner, node string) string {
	switch {
	case node == "":
		return address + " (outside)"
	case owner == "":
		return fmt.Sprintf("%s (on %s)", address, node)
	}
	return fmt.Sprintf("%s (%s on %s)", address, owner, node)
}

// reach exits with 1 if the one may not connect to the other.
func (c *commands) reach(ctx context.Context, o output, from, to string) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	raw, _, err := cl.do(ctx, http.MethodGet, "/api/v1/doctor/reach", url.Values{"from": {from}, "to": {to}}, nil, nil)
	if err != nil {
		return err
	}
	it, err := decode[api.Reach](raw)
	if err != nil {
		return err
	}
	if err := showOne(c, o, reachView, it); err != nil {
		return err
	}
	if !it.is.Allowed {
		return &ended{exitFailed, ""}
	}
	return nil
}
