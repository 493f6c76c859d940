package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rolling-swarm/rolling/manager/api"
)

func (c *commands) server() *cobra.Command {
	cmd := c.verb("server", "Run the manager until it is stopped", func(ctx context.Context, _ *cobra.Command, _ []string) error {
		if err := c.Serve(ctx); err != nil {
			return fmt.Errorf("server: %w", err)
		}
		return nil
	})
	cmd.Long = cmd.Short + ". Its settings are ROLLING_* variables."
	return cmd
}

// health is also what a container's health check runs, in an image that holds nothing else.
func (c *commands) health() *cobra.Command {
	var o output
	v := view[api.Readiness]{
		id: func(api.Readiness) string { return "ready" },
		text: func(r api.Readiness) string {
			text := "ready"
			for _, check := range r.Checks {
				text += "\n  " + check.Name + ": ok"
			}
			return text
		},
	}
	cmd := c.verb("health", "Say whether the manager can do its work; exit code 1 if not", func(ctx context.Context, _ *cobra.Command, _ []string) error {
		return showing(ctx, c, o, v, "/readyz?verbose")
	})
	o.flags(cmd)
	return cmd
}

// LineSecrets is what is in the Swarm for the agents' line.
type LineSecrets struct {
	Generation int       `json:"generation"`
	Manager    string    `json:"manager"` // names of the Swarm's secrets
	Agent      string    `json:"agent"`
	Made       bool      `json:"made"` // false: they were there before
	Ends       time.Time `json:"ends,omitzero"`
}

func (c *commands) line() *cobra.Command {
	var o output
	var again bool
	v := view[LineSecrets]{
		id: func(l LineSecrets) string { return l.Manager + "\n" + l.Agent },
		text: func(l LineSecrets) string {
			word := "are there"
			if l.Made {
				word = "made"
			}
			return strings.TrimSuffix(fmt.Sprintf("secrets %s and %s %s; they end %s", l.Manager, l.Agent, word, stamp(l.Ends)), "; they end ")
		},
	}
	cmd := c.verb("init", "Lay the keys of the agents' line into the Swarm's secrets, unless they are there", func(ctx context.Context, _ *cobra.Command, _ []string) error {
		laid, err := c.LineInit(ctx, again)
		if err != nil {
			return err
		}
		raw, err := json.Marshal(laid)
		if err != nil {
			return err
		}
		return showOne(c, o, v, item[LineSecrets]{raw, laid})
	})
	cmd.Long = cmd.Short + ". It is done once, on a manager of the Swarm, before the stack is deployed; it asks the engine (ROLLING_ENGINE) and no manager of Rolling."
	cmd.Flags().BoolVar(&again, "again", false, "make a new generation beside the one that is there")
	o.flags(cmd)
	return c.noun("line", "The line between the agents and the manager", cmd)
}

// versions is what rolling version prints.
type versions struct {
	Client api.Version  `json:"client"`
	Server *api.Version `json:"server"` // nil: it does not answer
}

func (c *commands) version() *cobra.Command {
	var o output
	v := view[versions]{
		id: func(v versions) string { return v.Client.Version },
		text: func(v versions) string {
			text := "client " + v.Client.Version + " " + v.Client.Go
			if v.Server != nil {
				text += "\nserver " + v.Server.Version + " " + v.Server.Go
			}
			return text
		},
	}
	cmd := c.verb("version", "Print the versions of this command and of the manager", func(ctx context.Context, _ *cobra.Command, _ []string) error {
		found := versions{Client: api.Build(c.Version)}
		cl, err := c.client()
		if err == nil {
			var it item[api.Version]
			if it, err = fetch[api.Version](ctx, cl, http.MethodGet, "/version", nil); err == nil {
				found.Server = &it.is
			}
		}
		if err != nil { // the client's own version is worth printing alone
			c.say("rolling: %v", err)
		}
		raw, err := json.Marshal(found)
		if err != nil {
			return err
		}
		return showOne(c, o, v, item[versions]{raw, found})
	})
	o.flags(cmd)
	return cmd
}
