//go:build lab

package e2e

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/internal/permits"
	"github.com/rolling-swarm/rolling/lab"
)

// revision is that of the policy that lies on a node.
func revision(t *testing.T, l *lab.Lab, node string) string {
	t.Helper()
	file, err := l.Path(node, contract.StateRoot+"/net/"+permits.File)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	d, err := permits.Parse(text) // what is laid is always whole
	if err != nil {
		t.Fatal(err)
	}
	return d.Revision
}

// agentDiesBetweenCopies kills the leader's agent when its node has the policy of a change and the others have the one of
// before. The next agent there brings all nodes to the new one, and meanwhile none goes back to what it had.
func agentDiesBetweenCopies(t *testing.T, l *lab.Lab, leader string, change func()) {
	t.Helper()
	signal := func(node, what string) {
		t.Helper()
		if out, err := l.Exec(t.Context(), node, "sh", "-c", "kill -"+what+" $(pidof /agent)"); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	others := slices.DeleteFunc(l.Nodes(), func(n string) bool { return n == leader })
	before := revision(t, l, leader)
	for _, n := range others {
		signal(n, "STOP")
	}
	change()
	err := l.Eventually(t.Context(), 20*time.Second, "the leader's agent has laid the new policy", func() error {
		if revision(t, l, leader) == before {
			return fmt.Errorf("%s has the policy of before", leader)
		}
		return nil
	})
	after := revision(t, l, leader)
	signal(leader, "KILL")
	begun := time.Now()
	for _, n := range others {
		if got := revision(t, l, n); got != before {
			t.Errorf("%s has policy %s: nothing is between the copies of %s and %s", n, got, before, after)
		}
		signal(n, "CONT")
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Eventually(t.Context(), time.Minute, "all nodes have the new policy", func() error {
		if got := revision(t, l, leader); got != after {
			t.Errorf("%s went from policy %s to %s", leader, after, got)
		}
		for _, n := range others {
			if got := revision(t, l, n); got != after {
				return fmt.Errorf("%s has policy %s, want %s", n, got, after)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	t.Logf("all nodes have one policy %s after the leader's agent was killed between two copies", time.Since(begun).Round(10*time.Millisecond))
}
