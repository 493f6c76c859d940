package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/rolling-swarm/rolling/lab"
	"github.com/rolling-swarm/rolling/lab/parts"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

func (c *cli) exec() *cobra.Command {
	cmd := &cobra.Command{Use: "exec NODE -- CMD [ARG...]", Short: "run a command on a node, or in the router's network", Args: atLeastTwo,
		Example: "  lab exec n1 -- docker node ls\n  lab exec router -- ping -c 1 10.99.0.22",
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.inside(cmd, args[0], args[1:])
		}}
	cmd.Flags().SetInterspersed(false) // what follows the node is the command's
	return cmd
}

func (c *cli) docker() *cobra.Command {
	cmd := &cobra.Command{Use: "docker NODE ARG...", Short: "docker on a node", Args: atLeastTwo,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.inside(cmd, args[0], append([]string{"docker"}, args[1:]...))
		}}
	cmd.Flags().SetInterspersed(false)
	return cmd
}

func atLeastTwo(cmd *cobra.Command, args []string) error {
	if len(args) < 2 {
		return usage{fmt.Errorf("%s: want a node and what to run: usage: %s", cmd.Name(), cmd.UseLine())}
	}
	return nil
}

// inside runs the command with this process's input and output.
func (c *cli) inside(cmd *cobra.Command, node string, args []string) error {
	if args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		return usage{errors.New("exec: want a command after the node")}
	}
	ctx, terminal := cmd.Context(), isTerminal(os.Stdin)
	if terminal {
		ctx = context.WithoutCancel(ctx) // the command hears Ctrl-C itself
	}
	run := c.open().Command(ctx, node, args...)
	if terminal {
		run.SysProcAttr = nil // another process group could not read from the terminal
	}
	run.Stdin, run.Stdout, run.Stderr = os.Stdin, os.Stdout, os.Stderr
	err := run.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return ended(max(1, exit.ExitCode()))
	}
	return err
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

func (c *cli) part() *cobra.Command {
	cmd := &cobra.Command{Use: "part", Short: "what stands around the Swarm"}
	cmd.Long = "The parts, on the router's address inside the LAN:\n"
	for _, p := range parts.All() {
		cmd.Long += fmt.Sprintf("  %-10s %s\n", p.Name, p.Does)
	}
	cmd.AddCommand(
		c.onNode("start NAME", "start a part and wait until it answers", (*lab.Lab).StartPart),
		c.onNode("stop NAME", "end a part; its data stays", (*lab.Lab).StopPart),
		c.onNode("kill NAME", "end a part with SIGKILL; its data stays", (*lab.Lab).KillPart))
	return cmd
}

func (c *cli) relay() *cobra.Command {
	stop := false
	cmd := &cobra.Command{Use: "relay PORT [TARGET]", Short: "carry a port of 127.0.0.1 to an address in the LAN, until down", Args: cobra.ArbitraryArgs,
		Example: "  lab relay 5000 router:5000\n  lab relay 2400 loopback:2400    # of whichever node listens there\n  lab relay --stop 5000",
		RunE: func(cmd *cobra.Command, args []string) error {
			want := 2
			if stop {
				want = 1
			}
			if len(args) != want {
				return usage{errors.New("relay: want lab relay PORT TARGET, or lab relay --stop PORT")}
			}
			port, err := strconv.ParseUint(args[0], 10, 16)
			if err != nil {
				return usage{fmt.Errorf("relay: port: %w", err)}
			}
			if stop {
				return c.open().StopRelay(cmd.Context(), int(port))
			}
			return c.startRelay(cmd.Context(), int(port), args[1])
		}}
	cmd.Flags().BoolVar(&stop, "stop", false, "end the relay on that port")
	return cmd
}

// startRelay leaves a process behind, which says in one line whether it listens.
func (c *cli) startRelay(ctx context.Context, port int, target string) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("relay: %w", err)
	}
	l := c.open()
	if len(l.Nodes()) == 0 {
		_, err := l.Status(ctx)
		return err
	}
	child := l.RelayProcess(port, target, self, "serve-relay", "--name", c.name, strconv.Itoa(port), target)
	said, err := child.StdoutPipe()
	if err == nil {
		err = child.Start()
	}
	if err != nil {
		return fmt.Errorf("relay: %w", err)
	}
	line, err := bufio.NewReader(said).ReadString('\n')
	if err != nil {
		return fmt.Errorf("relay: its process ended: %w", child.Wait())
	}
	if address, ok := strings.CutPrefix(line, "listens on "); ok {
		fmt.Printf("%s > %s\n", strings.TrimSpace(address), target)
		return child.Process.Release()
	}
	return errors.Join(errors.New(strings.TrimSpace(line)), child.Process.Release())
}

// serveRelay is the process that startRelay leaves behind.
func (c *cli) serveRelay() *cobra.Command {
	return &cobra.Command{Use: "serve-relay PORT TARGET", Hidden: true, Args: count(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			port, err := strconv.Atoi(args[0])
			if err != nil {
				return usage{err}
			}
			address, err := lab.Open(c.name).Relay(cmd.Context(), port, args[1])
			if err != nil {
				fmt.Println(err)
				return nil
			}
			fmt.Println("listens on", address)
			_ = os.Stdout.Close() // the caller reads to the end
			<-cmd.Context().Done()
			return nil
		}}
}
