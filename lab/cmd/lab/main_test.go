package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/rolling-swarm/rolling/lab"
)

func TestStatusOfTheProcess(t *testing.T) {
	for _, row := range []struct {
		name string
		err  error
		want int
	}{
		{"done is 0", nil, 0},
		{"failed is 1", errors.New("no"), 1},
		{"a wrong call is 64", fmt.Errorf("up: %w", usage{errors.New("no such flag")}), 64},
		{"a command on a node gives its own", fmt.Errorf("exec: %w", ended(7)), 7},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := status(row.err); got != row.want {
				t.Errorf("got %d, want %d", got, row.want)
			}
		})
	}
}

func TestWrongCallsAreUsageErrors(t *testing.T) {
	for _, args := range [][]string{{"nosuch"}, {"up", "--bogus"}, {"kill"}, {"cut", "n1", "n2"}, {"slow", "n1", "quickly"}, {"exec", "n1"}, {"exec", "n1", "--"},
		{"status", "-o", "xml"}, {"relay"}, {"relay", "5000"}, {"relay", "1", "router:1", "x"}, {"relay", "port", "router:1"}, {"relay", "--stop", "5000", "router:1"}} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			t.Setenv("LAB_NAME", "no-such-lab")
			cmd := root()
			cmd.SetArgs(args)
			if err := cmd.ExecuteContext(t.Context()); status(err) != 64 {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestTable(t *testing.T) {
	var b strings.Builder
	err := table(&b, lab.Status{Router: "10.99.0.1",
		Nodes: []lab.NodeStatus{
			{Name: "n1", Role: "manager", Address: "10.99.0.21", Power: "on", Cable: "joined", Swarm: "ready", Version: "28.5.2", Leader: true},
			{Name: "n2", Role: "worker", Address: "10.99.0.22", Power: "off", Cable: "cut"},
		},
		Parts:  []lab.PartStatus{{Name: "registry", On: true}, {Name: "bird"}},
		Relays: []string{"127.0.0.1:5000 > router:5000"},
	})
	if err != nil {
		t.Fatal(err)
	}
	const want = `NODE    ROLE            ADDRESS     POWER  CABLE   SWARM  ENGINE
n1      manager, leads  10.99.0.21  on     joined  ready  28.5.2
n2      worker          10.99.0.22  off    cut     ?      ?
router  registry        10.99.0.1
relay   127.0.0.1:5000 > router:5000
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}
