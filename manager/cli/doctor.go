package cli

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rolling-swarm/rolling/manager/api"
)

var examinationView = view[api.Examination]{
	id: func(x api.Examination) string {
		var lines []string
		for _, f := range x.Findings {
			lines = append(lines, f.Check+" "+f.Node)
		}
		return strings.TrimRight(strings.Join(lines, "\n"), " ")
	},
	text: examinationText,
}

func examinationText(x api.Examination) string {
	var b strings.Builder
	for _, f := range x.Findings {
		where := f.Node
		if where == "" {
			where = "the Swarm"
		}
		fmt.Fprintf(&b, "%-6s  %s: %s: %s\n        → %s\n", f.Severity, where, f.Check, f.Text, f.Remedy)
	}
	notices := len(x.Findings) - x.Wrong
	fmt.Fprintf(&b, "%d wrong, %d to note; looked at %d nodes for: %s\n", x.Wrong, notices, x.Nodes, strings.Join(x.Checks, " "))
	return b.String()
}

// doctor exits with 1 if anything is wrong, whatever the form of its answer.
func (c *commands) doctor() *cobra.Command {
	var o output
	var node, from, to string
	cmd := c.verb("doctor", "Say what is wrong with the network, on which node, and what to do; or why one container does not reach another", func(ctx context.Context, cmd *cobra.Command, _ []string) error {
		switch {
		case (from == "") != (to == ""):
			return usage(cmd, "want both --from and --to, or neither")
		case from != "":
			return c.reach(ctx, o, from, to)
		}
		return c.examine(ctx, o, node)
	})
	cmd.Flags().StringVar(&node, "node", "", "only what concerns this one")
	cmd.Flags().StringVar(&from, "from", "", "who connects: an address, or a container, task or service")
	cmd.Flags().StringVar(&to, "to", "", "to whom, with the port: NAME:PORT or ADDRESS:PORT, with /udp at its end for UDP")
	o.flags(cmd)
	return cmd
}

func (c *commands) examine(ctx context.Context, o output, node string) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	query := url.Values{}
	if node != "" {
		query.Set("node", node)
	}
	raw, _, err := cl.do(ctx, http.MethodGet, "/api/v1/doctor", query, nil, nil)
	if err != nil {
		return err
	}
	it, err := decode[api.Examination](raw)
	if err != nil {
		return err
	}
	if err := showOne(c, o, examinationView, it); err != nil {
		return err
	}
	if it.is.Wrong > 0 {
		return &ended{exitFailed, ""}
	}
	return nil
}
