package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/rolling-swarm/rolling/lab/bench/address"
	"github.com/rolling-swarm/rolling/lab/bench/logs"
	"github.com/rolling-swarm/rolling/lab/bench/manager"
	"github.com/rolling-swarm/rolling/lab/bench/metrics"
	"github.com/rolling-swarm/rolling/lab/bench/network"
	"github.com/rolling-swarm/rolling/lab/bench/rollout"
)

// Config is what to measure, and how much of it.
type Config struct {
	Groups  []string // of groups(); empty: all
	Lab     string   // its name; a lab of that name is removed first
	Out     string   // file for the lines of JSON
	Network network.Settings
	Address address.Settings
	Rollout rollout.Settings
	Manager manager.Settings
	Metrics metrics.Settings
	Logs    logs.Settings
}

func groups() []string { return []string{"net", "ipam", "rollout", "manager", "metrics", "log"} }

// readConfig reads flags and the names of groups.
func readConfig(args []string, to io.Writer) (Config, error) {
	var c Config
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(to)
	f.Usage = func() {
		_, _ = fmt.Fprintf(to, "bench [flags] [%s]...: no name means all\n", strings.Join(groups(), "|"))
		f.PrintDefaults()
	}
	f.StringVar(&c.Lab, "lab", "bench", "name of the lab that is made and removed")
	f.StringVar(&c.Out, "out", "build/bench.jsonl", "file for the figures, one JSON object a line")
	f.IntVar(&c.Network.Rounds, "rounds", 60, "net: rounds of each path, on one CPU and on two")
	f.IntVar(&c.Network.Chunk, "chunk", 64, "net: MiB sent a round")
	f.IntVar(&c.Network.Pings, "pings", 300, "net: round trips a round")
	f.IntVar(&c.Network.Conns, "conns", 100, "net: connections made a round")
	f.IntVar(&c.Network.Packets, "packets", 4000, "net: small UDP packets a round")
	f.StringVar(&c.Network.Congestion, "congestion", "cubic", "net: TCP's congestion control")
	f.IntVar(&c.Network.Starts, "starts", 20, "net: pairs of task starts, and of container starts")
	f.IntVar(&c.Network.Changes, "changes", 15, "net: containers killed, and as many stopped, while routes are watched")
	f.IntVar(&c.Network.Restarts, "restarts", 3, "net: kills of the plugin while a prober asks, from a container and from the router")
	f.IntVar(&c.Network.Losses, "losses", 5, "net: losses of a node's power")
	f.IntVar(&c.Network.Containers, "containers", 500, "net: containers of one service on all nodes")
	f.StringVar(&c.Network.Only, "only", "", "net: take only subjects whose name holds this word, such as restart")
	f.IntVar(&c.Address.Repeats, "repeats", 5, "ipam: runs of each Go benchmark")
	f.IntVar(&c.Address.Calls, "calls", 500, "ipam: calls to the plugin's socket")
	f.IntVar(&c.Address.Tasks, "tasks", 300, "ipam: tasks of the service whose start is timed")
	f.IntVar(&c.Address.Services, "services", 2, "ipam: pairs of such services, ours and Docker's; one takes some 5 minutes on 2 CPUs, the first of a pair changes")
	f.IntVar(&c.Address.Asked, "asked", 300, "ipam: tasks that get an address and no node")
	f.IntVar(&c.Address.Pairs, "pairs", 3, "ipam: pairs of services whose tasks get no node, ours and Docker's")
	f.IntVar(&c.Rollout.Pairs, "rollouts", 6, "rollout: pairs of rollouts, ours and Docker's")
	f.IntVar(&c.Manager.Plans, "plans", 200, "manager: plans asked for")
	f.IntVar(&c.Manager.Projects, "projects", manager.LargestList, "manager: projects of the list")
	f.IntVar(&c.Manager.Lists, "lists", 50, "manager: lists asked for")
	f.IntVar(&c.Manager.Changes, "told", 5, "manager: changes by hand of each kind that listeners are told of")
	f.IntVar(&c.Manager.Repeats, "writes", 5, "manager: runs of the store's Go benchmark")
	f.IntVar(&c.Metrics.Containers, "idle", 50, "metrics: idle containers on one node")
	f.IntVar(&c.Metrics.Rounds, "samplings", 5, "metrics: pairs of ours and Docker's statistics")
	f.DurationVar(&c.Metrics.Outage, "outage", time.Minute, "metrics: how long Graphite is away")
	f.IntVar(&c.Logs.Rounds, "floods", 5, "log: rounds of ours and each peer, for each size of line")
	f.IntVar(&c.Logs.Bytes, "megabytes", 40, "log: MB of lines a round")
	f.IntVar(&c.Logs.Stops, "stops", 5, "log: pairs of containers stopped without Kafka")
	if err := f.Parse(args); err != nil {
		return c, err
	}
	c.Groups = f.Args()
	if len(c.Groups) == 0 {
		c.Groups = groups()
	}
	return c, c.Validate()
}

// Validate reports all problems at once.
func (c Config) Validate() error {
	var problems []error
	for _, g := range c.Groups {
		if !slices.Contains(groups(), g) {
			problems = append(problems, fmt.Errorf("%q is no group of benchmarks: there are %s", g, strings.Join(groups(), ", ")))
		}
	}
	for _, n := range []struct {
		flag  string
		value int
	}{
		{"rounds", c.Network.Rounds}, {"chunk", c.Network.Chunk}, {"pings", c.Network.Pings}, {"starts", c.Network.Starts}, {"changes", c.Network.Changes},
		{"conns", c.Network.Conns}, {"packets", c.Network.Packets}, {"restarts", c.Network.Restarts}, {"losses", c.Network.Losses}, {"containers", c.Network.Containers},
		{"repeats", c.Address.Repeats}, {"calls", c.Address.Calls}, {"tasks", c.Address.Tasks}, {"asked", c.Address.Asked}, {"pairs", c.Address.Pairs}, {"services", c.Address.Services},
		{"rollouts", c.Rollout.Pairs}, {"plans", c.Manager.Plans}, {"projects", c.Manager.Projects}, {"lists", c.Manager.Lists}, {"writes", c.Manager.Repeats}, {"told", c.Manager.Changes},
		{"floods", c.Logs.Rounds}, {"megabytes", c.Logs.Bytes}, {"stops", c.Logs.Stops},
		{"idle", c.Metrics.Containers}, {"samplings", c.Metrics.Rounds}, {"outage", int(c.Metrics.Outage / time.Second)},
	} {
		if n.value < 1 {
			problems = append(problems, fmt.Errorf("-%s %d: want 1 or more", n.flag, n.value))
		}
	}
	if c.Manager.Projects > manager.LargestList {
		problems = append(problems, fmt.Errorf("-projects %d: want %d or fewer, which is one page", c.Manager.Projects, manager.LargestList))
	}
	if c.Out == "" {
		problems = append(problems, errors.New("-out is empty: want a file for the figures"))
	}
	return errors.Join(problems...)
}
