package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/rolling-swarm/rolling/lab"
	"github.com/spf13/cobra"
)

// cli is what the commands share: which lab is meant.
type cli struct{ name string }

func root() *cobra.Command {
	c := &cli{}
	cmd := &cobra.Command{
		Use:           "lab",
		Short:         "A Docker Swarm of several machines on this one",
		Long:          "A Docker Swarm of several machines on this one, made of namespaces. Nodes are n1, n2, …, managers first;\n\"router\" is the network around them. Labs of different names run side by side.",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return usage{fmt.Errorf("no command %q: lab help lists them%s", args[0], like(cmd.SuggestionsFor(args[0])))}
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.SuggestionsMinimumDistance = 2
	cmd.CompletionOptions.DisableDefaultCmd = true
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage{err} })
	config, err := lab.ReadConfig()
	cmd.PersistentPreRunE = func(*cobra.Command, []string) error { return err }
	cmd.PersistentFlags().StringVar(&c.name, "name", config.Name, "which lab (also LAB_NAME)")
	cmd.AddCommand(c.up(), c.down(), c.install(), c.status(), c.logs(), c.exec(), c.docker(), c.part(), c.relay(), c.serveRelay(), c.need(), doctor())
	cmd.AddCommand(
		c.onNode("kill NODE", "power loss: silence on the cable, every process gone, the disk stays", (*lab.Lab).Kill),
		c.onNode("start NODE", "boot a node that is off", (*lab.Lab).Start),
		c.onNode("cut NODE", "pull the node's cable", (*lab.Lab).Cut),
		c.onNode("join NODE", "put the node's cable back", (*lab.Lab).Join),
		c.onNode("crash NODE", "kill the node's engine; it comes back after a second", (*lab.Lab).KillEngine),
		c.partition(), c.heal(), c.slow())
	return cmd
}

// need is for make: tests that use a program of Debian's by themselves name its package there.
func (c *cli) need() *cobra.Command {
	return &cobra.Command{Use: "need PACKAGE...", Short: "install Debian packages that are missing, without starting their services", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return c.open().Need(cmd.Context(), args...) }}
}

func like(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return "; did you mean " + strings.Join(names, " or ") + "?"
}

// open names the lab and makes its progress visible.
func (c *cli) open() *lab.Lab {
	l := lab.Open(c.name)
	started := time.Now()
	l.Log = func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, "%6.1fs  %s\n", time.Since(started).Seconds(), fmt.Sprintf(format, args...))
	}
	return l
}

func (c *cli) up() *cobra.Command {
	var o lab.Options
	cmd := &cobra.Command{Use: "up", Short: "make the lab, or bring it back to what it should be", Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l := c.open()
			if err := l.Up(cmd.Context(), o); err != nil {
				return err
			}
			return printStatus(cmd.Context(), l, "table")
		}}
	cmd.Flags().IntVar(&o.Managers, "managers", 0, "managers (3, or as many as there are)")
	cmd.Flags().IntVar(&o.Workers, "workers", 0, "workers (0, or as many as there are)")
	cmd.Flags().StringVar(&o.Engine, "engine", "", "whose engine: forky, trixie, bookworm, or mixed: node by node another (LAB_SUITE, forky, or as it is)")
	cmd.Flags().BoolVar(&o.Install, "install", false, "build this checkout and put it on the Swarm")
	return cmd
}

func (c *cli) down() *cobra.Command {
	all := false
	cmd := &cobra.Command{Use: "down", Short: "remove the lab without a trace", Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			names := []string{c.name}
			if all {
				var err error
				if names, err = lab.Names(); err != nil {
					return err
				}
			}
			var errs []error
			for _, name := range names {
				one := cli{name: name}
				errs = append(errs, one.open().Down(cmd.Context()))
			}
			return errors.Join(errs...)
		}}
	cmd.Flags().BoolVar(&all, "all", false, "every lab of this machine, also of tests that run now")
	return cmd
}

func (c *cli) install() *cobra.Command {
	return &cobra.Command{Use: "install", Short: "build this checkout and put it on the lab's Swarm, also as an upgrade", Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.open().Install(cmd.Context()) }}
}

func (c *cli) onNode(use, short string, f func(*lab.Lab, context.Context, string) error) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Args: count(1),
		RunE: func(cmd *cobra.Command, args []string) error { return f(c.open(), cmd.Context(), args[0]) }}
}

func (c *cli) partition() *cobra.Command {
	return &cobra.Command{Use: "partition A,B|C", Short: "split the LAN into groups that hear nothing of each other", Args: count(1),
		Example: "  lab partition 'n1,n2|n3'\n  lab partition 'n1|n2,n3,router'",
		RunE: func(cmd *cobra.Command, args []string) error {
			var groups [][]string
			for g := range strings.SplitSeq(args[0], "|") {
				groups = append(groups, strings.FieldsFunc(g, func(r rune) bool { return r == ',' || r == ' ' }))
			}
			return c.open().Partition(cmd.Context(), groups...)
		}}
}

func (c *cli) heal() *cobra.Command {
	return &cobra.Command{Use: "heal", Short: "end the partition", Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.open().Heal(cmd.Context()) }}
}

func (c *cli) slow() *cobra.Command {
	return &cobra.Command{Use: "slow NODE DELAY", Short: "delay the node's packets each way, as in 20ms; 0 ends it (needs a kernel with netem)", Args: count(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			delay, err := time.ParseDuration(args[1])
			if err != nil {
				return usage{fmt.Errorf("slow: %w", err)}
			}
			return c.open().Slow(cmd.Context(), args[0], delay)
		}}
}

// none and count are cobra's checks with our exit status.
func none(cmd *cobra.Command, args []string) error { return count(0)(cmd, args) }

func count(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := cobra.ExactArgs(n)(cmd, args); err != nil {
			return usage{fmt.Errorf("%s: %w: usage: %s", cmd.Name(), err, cmd.UseLine())}
		}
		return nil
	}
}
