package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/rolling-swarm/rolling/lab"
	"github.com/spf13/cobra"
)

func (c *cli) status() *cobra.Command {
	output := ""
	cmd := &cobra.Command{Use: "status", Short: "nodes, parts and relays", Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "table" && output != "json" {
				return usage{fmt.Errorf("status: -o %q: want table or json", output)}
			}
			return printStatus(cmd.Context(), c.open(), output)
		}}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	return cmd
}

func printStatus(ctx context.Context, l *lab.Lab, output string) error {
	s, err := l.Status(ctx)
	if err != nil {
		return err
	}
	if output == "json" {
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		return e.Encode(s)
	}
	return table(os.Stdout, s)
}

func table(to io.Writer, s lab.Status) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(w, "NODE\tROLE\tADDRESS\tPOWER\tCABLE\tSWARM\tENGINE\n")
	for _, n := range s.Nodes {
		role := n.Role
		if n.Leader {
			role += ", leads"
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", n.Name, role, n.Address, n.Power, n.Cable, or(n.Swarm, "?"), or(n.Version, "?"))
	}
	var on []string
	for _, p := range s.Parts {
		if p.On {
			on = append(on, p.Name)
		}
	}
	_, _ = fmt.Fprintf(w, "router\t%s\t%s\n", or(strings.Join(on, ", "), "no parts"), s.Router)
	for _, r := range s.Relays {
		_, _ = fmt.Fprintf(w, "relay\t%s\n", r)
	}
	return w.Flush()
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

func (c *cli) logs() *cobra.Command {
	follow := false
	cmd := &cobra.Command{Use: "logs NODE", Short: "the log of the node's engine", Args: count(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			file, err := c.open().LogFile(args[0])
			if err != nil {
				return err
			}
			return show(cmd.Context(), os.Stdout, file, follow)
		}}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what is written from now on")
	return cmd
}

func show(ctx context.Context, to io.Writer, file string, follow bool) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // read only
	for {
		if _, err := io.Copy(to, f); err != nil {
			return err
		}
		if !follow {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func doctor() *cobra.Command {
	return &cobra.Command{Use: "doctor", Short: "what this machine's kernel offers to a lab", Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			found, err := lab.Doctor(cmd.Context())
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
			_, _ = fmt.Fprintf(w, "PROBE\tRESULT\tFOR\n")
			fails := 0
			for _, p := range found {
				_, _ = fmt.Fprintf(w, "%s\t%s\t%s\n", p.Name, p.Result, p.For)
				if p.Needed && !p.OK {
					fails++
				}
			}
			if err := w.Flush(); err != nil {
				return err
			}
			if fails > 0 {
				return fmt.Errorf("a lab cannot run here: %d things that it needs are missing", fails)
			}
			fmt.Println("a lab can run here")
			return nil
		}}
}
