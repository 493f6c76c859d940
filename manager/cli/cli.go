// Package cli is the manager's door for people and scripts: the commands of the binary rolling. It knows words, flags,
// tables and exit codes. All it does it asks of the manager's API; it knows no Swarm, no store and no file of the manager,
// and decides nothing about projects and releases. Data goes to stdout, progress and errors go to stderr.
package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rolling-swarm/rolling/internal/contract"
)

// Options are what the commands are given from outside.
type Options struct {
	In       io.Reader
	Out, Err io.Writer
	Terminal bool   // In is a terminal: somebody is there to be asked
	Color    bool   // Out is a terminal that wants colours
	Server   string // where the API is, unless --server says otherwise
	Version  string

	ReadFile func(name string) ([]byte, error)
	Serve    func(ctx context.Context) error // what rolling server does
	LineInit func(ctx context.Context, again bool) (LineSecrets, error)
	Now      func() time.Time
	Pause    func(ctx context.Context, d time.Duration) error // between two attempts to reach the manager
}

// The exit codes that scripts may rely on.
const (
	exitDone        = 0
	exitFailed      = 1
	exitChanges     = 2 // of plan alone
	exitRolledBack  = 3
	exitTimedOut    = 4
	exitApproval    = 5
	exitDenied      = 6
	exitUsage       = 64
	exitInterrupted = 130
)

// Run carries out one command line and gives its exit code.
func Run(ctx context.Context, args []string, o Options) int {
	c := &commands{Options: o}
	root := c.root() //nolint:contextcheck // a command gets the context when it runs
	root.SetArgs(args)
	root.SetIn(o.In)
	root.SetOut(o.Out)
	root.SetErr(o.Err)
	_, err := root.ExecuteContextC(ctx)
	return c.end(ctx, err)
}

// commands is one run of the program.
type commands struct {
	Options
	timeout time.Duration
}

func (c *commands) root() *cobra.Command {
	root := c.noun("rolling", "Keeps a Docker Swarm equal to what the projects' environments should run",
		c.server(), c.projects(), c.releases(), c.plan(), c.deploy(), c.rollouts(), c.scale(), c.logs(),
		c.nodes(), c.networks(), c.pools(), c.addresses(), c.routes(), c.doctor(), c.line(), c.health(), c.version())
	root.SilenceErrors, root.SilenceUsage = true, true
	root.PersistentFlags().StringVar(&c.Server, "server", c.Server, "where the manager's API is: unix:///PATH or http://127.0.0.1:PORT (ROLLING_URL)")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usage(cmd, "%v", err) })
	root.SetHelpCommand(&cobra.Command{Use: "help [COMMAND]", Short: "Help about any command", Args: cobra.ArbitraryArgs, RunE: func(cmd *cobra.Command, args []string) error {
		found, rest, err := root.Find(args)
		if err != nil || len(rest) > 0 {
			return usage(root, "help: there is no command %q", strings.Join(args, " "))
		}
		return found.Help()
	}})
	return root
}

// noun is a command that only holds others. Said alone, or with a verb that is none, it is a mistake.
func (c *commands) noun(name, short string, verbs ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: name, Short: short, Args: cobra.ArbitraryArgs, RunE: func(cmd *cobra.Command, args []string) error {
		var known []string
		for _, v := range cmd.Commands() {
			known = append(known, v.Name())
		}
		if len(args) == 0 {
			return usage(cmd, "want one of %s", strings.Join(known, ", "))
		}
		text := fmt.Sprintf("%q is none of %s", args[0], strings.Join(known, ", "))
		if near := contract.Nearest(args[0], known); near != "" {
			text += fmt.Sprintf("; did you mean %q?", near)
		}
		return usage(cmd, "%s", text)
	}}
	cmd.AddCommand(verbs...)
	return cmd
}

// verb is a command that does something. Its use line says which arguments it takes: WORD, or [WORD] if it may be left out.
func (c *commands) verb(use, short string, run func(ctx context.Context, cmd *cobra.Command, args []string) error) *cobra.Command {
	words := strings.Fields(use)[1:]
	least := 0
	for _, w := range words {
		if !strings.HasPrefix(w, "[") {
			least++
		}
	}
	return &cobra.Command{
		Use: use, Short: short, DisableFlagsInUseLine: true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < least {
				missing, verb := words[len(args):least], "is"
				if len(missing) > 1 {
					verb = "are"
				}
				return usage(cmd, "%s %s missing", strings.Join(missing, " and "), verb)
			}
			if len(args) > len(words) {
				return usage(cmd, "%q is too much", args[len(words)])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			if c.timeout < 0 {
				return usage(cmd, "--timeout: %v: want 0 or more", c.timeout)
			}
			return run(ctx, cmd, args)
		},
	}
}

func argument(args []string, i int) string {
	if i < len(args) {
		return args[i]
	}
	return ""
}
