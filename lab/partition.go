package lab

import (
	"context"
	"fmt"
	"os/exec"
	"strings"

	"github.com/rolling-swarm/rolling/lab/namespace"
)

// Partition splits the LAN: nodes of different groups, and the router if it is named, hear nothing of each
// other; a node in no group hears everybody. It replaces an earlier partition at once.
func (l *Lab) Partition(ctx context.Context, groups ...[]string) error {
	for _, g := range groups {
		for _, node := range g {
			if node == Router {
				continue
			}
			if err := l.known(node); err != nil {
				return err
			}
		}
	}
	rules, err := partitionRules(groups)
	if err != nil {
		return err
	}
	return l.nft(ctx, rules)
}

// Heal ends a partition; without one it changes nothing.
func (l *Lab) Heal(ctx context.Context) error {
	if _, err := exec.LookPath("nft"); err != nil {
		return l.wrong // nobody can have laid a partition without it
	}
	return l.nft(ctx, noPartition)
}

// noPartition removes the table whether it is there or not.
const noPartition = "table bridge partition\ndelete table bridge partition\n"

// partitionRules are an nft script for the switch: ports are named as the nodes.
func partitionRules(groups [][]string) (string, error) {
	seen := map[string]bool{}
	for _, g := range groups {
		for _, node := range g {
			if seen[node] {
				return "", fmt.Errorf("partition: %s is named twice", node)
			}
			seen[node] = true
		}
	}
	if len(groups) < 2 {
		return "", fmt.Errorf("partition: want at least two groups, as in n1,n2|n3")
	}
	var forward, input, output strings.Builder
	for i, from := range groups {
		for j, to := range groups {
			if i == j {
				continue
			}
			a, b := ports(from), ports(to)
			if a != "" && b != "" {
				fmt.Fprintf(&forward, "\t\tiifname %s oifname %s drop\n", a, b)
			}
			if a != "" && hasRouter(to) {
				fmt.Fprintf(&input, "\t\tiifname %s drop\n", a)
				fmt.Fprintf(&output, "\t\toifname %s drop\n", a)
			}
		}
	}
	var b strings.Builder
	b.WriteString(noPartition + "table bridge partition {\n")
	for _, chain := range []struct{ hook, rules string }{{"forward", forward.String()}, {"input", input.String()}, {"output", output.String()}} {
		if chain.rules != "" {
			fmt.Fprintf(&b, "\tchain %s {\n\t\ttype filter hook %s priority 0\n%s\t}\n", chain.hook, chain.hook, chain.rules)
		}
	}
	return b.String() + "}\n", nil
}

func hasRouter(group []string) bool {
	for _, node := range group {
		if node == Router {
			return true
		}
	}
	return false
}

// ports is the group as an nft set, without the router, which is no port of the switch.
func ports(group []string) string {
	var quoted []string
	for _, node := range group {
		if node != Router {
			quoted = append(quoted, `"`+node+`"`)
		}
	}
	if len(quoted) == 0 {
		return ""
	}
	return "{ " + strings.Join(quoted, ", ") + " }"
}

func (l *Lab) nft(ctx context.Context, script string) error {
	if l.wrong != nil {
		return l.wrong
	}
	if err := l.machine().Install(ctx, "nftables"); err != nil {
		return err
	}
	return namespace.Do(namespace.Path(l.space(Router)), func() error {
		cmd := exec.CommandContext(ctx, "nft", "-f", "-")
		cmd.Stdin = strings.NewReader(script)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("lay rules on the LAN's switch: nft: %w: %s (a kernel with nftables' bridge family is needed, see lab doctor)",
				err, strings.TrimSpace(string(out)))
		}
		return nil
	})
}
