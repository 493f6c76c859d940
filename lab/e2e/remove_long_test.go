//go:build lab && long

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/lab"
)

// TestANodeIsAsItWasWhenAllIsRemoved compares the listings of a node in a Swarm before Rolling came to it and after it went.
func TestANodeIsAsItWasWhenAllIsRemoved(t *testing.T) {
	l := lab.Up(t, lab.Options{Managers: 1, Install: true})
	ctx := within(t, 5*time.Minute)
	const apart = "node.hostname!=n2"
	mustDocker(t, l, "n1", "service", "update", "--detach", "--constraint-add", apart, "rolling_agent")
	if err := l.Up(ctx, lab.Options{Managers: 1, Workers: 1}); err != nil {
		t.Fatal(err)
	}
	before := everything(t, ctx, l, "n2")
	if out := mustDocker(t, l, "n2", "plugin", "ls", "-q"); out != "" {
		t.Fatalf("n2 has plugins before its agent came: %s", out)
	}
	mustDocker(t, l, "n1", "service", "update", "--detach", "--constraint-rm", apart, "rolling_agent")
	for _, plugin := range contract.Plugins() {
		if err := l.Eventually(ctx, time.Minute, plugin+" enabled on the new node", func() error {
			out, err := l.Docker(ctx, "n2", "plugin", "ls", "--filter", "enabled=true", "--format", "{{.Name}}")
			if err != nil {
				return err
			}
			return contains(out, []string{plugin})
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.LoadShell(ctx); err != nil {
		t.Fatal(err)
	}
	use(t, ctx, l)
	if _, err := world(t, l).Observe(ctx, false); err != nil {
		t.Error(err)
	}
	if used := everything(t, ctx, l, "n2"); used == before {
		t.Error("the listing does not show what Rolling does on a node")
	}

	mustDocker(t, l, "n1", "service", "update", "--detach", "--constraint-add", apart, "rolling_agent")
	if err := l.Eventually(ctx, time.Minute, "n2 has no agent", func() error {
		out, err := l.Docker(ctx, "n2", "ps", "-q", "--filter", "label=com.docker.swarm.service.name=rolling_agent")
		if err == nil && out != "" {
			err = errors.New("it runs")
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if out, err := l.Exec(ctx, "n2", "/lab/install/agent", "remove", "--bundles", "/lab/install/plugins"); err != nil {
		t.Fatalf("agent remove: %v %s", err, out)
	}
	for _, s := range []string{"late", "served"} { // what they hold stays until they end
		mustDocker(t, l, "n1", "service", "rm", s)
	}
	begun := time.Now()
	after := ""
	if err := l.Eventually(ctx, time.Minute, "n2 is as it was", func() error {
		if after = everything(t, ctx, l, "n2"); after != before {
			return errors.New("it is not")
		}
		return nil
	}); err != nil {
		t.Errorf("%v:%s", err, difference(before, after))
	}
	t.Logf("as it was %.1f s after the last containers were told to end", time.Since(begun).Seconds())
}

// use has n2 do all that rolling/net can do on a node: IPv6, projects kept apart, a virtual address, a port of the host.
func use(t *testing.T, ctx context.Context, l *lab.Lab) {
	t.Helper()
	mustDocker(t, l, "n1", "network", "create", "--scope", "swarm", "--driver", contract.PluginNet, "--ipam-driver", contract.PluginIPAM, "--subnet", "10.211.9.0/24",
		"-o", "rolling.project=orders", "-o", "rolling.environment=test", "-o", "rolling.ipv6=fd00:10:211::/96", "late")
	service := []string{"service", "create", "--detach", "--no-resolve-image", "--network", "late", "--constraint", "node.hostname==n2"}
	mustDocker(t, l, "n1", append(service, "--name", "late", "--endpoint-mode", "dnsrr", "--publish", "mode=host,published=8099,target=80", lab.ShellImage, "sleep", "1000000")...)
	mustDocker(t, l, "n1", append(service, "--name", "served", "--replicas", "2", lab.ShellImage, "sleep", "1000000")...)
	for service, n := range map[string]int{"late": 1, "served": 2} {
		if err := l.Eventually(ctx, time.Minute, "tasks run there", func() error {
			out, err := l.Docker(ctx, "n1", "service", "ps", service, "--format", "{{.Node}} {{.CurrentState}}")
			if got := strings.Count(out, "n2 Running"); err == nil && got != n {
				err = fmt.Errorf("%d of %s run: %s", got, service, out)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(2 * time.Second) // for what follows a container's start by and by
}

// everything is all that a node's network is made of, with the tools of the machine: counters and what only time changes are
// left out.
func everything(t *testing.T, ctx context.Context, l *lab.Lab, node string) string {
	t.Helper()
	const script = `export PATH=$PATH:/sbin:/usr/sbin
ip -o link | sed 's/^[0-9]*: //; s/ qlen [0-9]*//' | sort
ip -o addr | sed 's/^[0-9]*: //; s/ valid_lft.*//; s/ tentative//' | sort
ip rule; ip -6 rule
ip route show table all | sort; ip -6 route show table all | sed 's/ expires [^ ]*//' | sort
for p in iptables-nft-save iptables-legacy-save ip6tables-nft-save ip6tables-legacy-save; do $p | sed '/^#/d; s/\[[0-9:]*\]//'; done
for d in /sys/class/net/*; do d=${d##*/}; tc qdisc show dev $d; tc filter show dev $d ingress; tc filter show dev $d egress; done 2>/dev/null
sysctl -a 2>/dev/null | grep -E '^net\.(ipv4\.(conf|ip_|neigh|fib)|ipv6\.conf|bridge|netfilter\.nf_conntrack_(tcp|udp|max))' | grep -v 'nf_conntrack_count\|stable_secret' | sort
`
	out, err := l.Exec(ctx, node, "sh", "-c", script)
	if err != nil {
		t.Fatal(err)
	}
	var rules []byte
	if err := l.InNetwork(node, func() (err error) { // the node has no nft of its own
		rules, err = exec.CommandContext(ctx, "nft", "-s", "list", "ruleset").Output()
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return out + string(rules)
}

// difference is what lines two listings have more than each other.
func difference(before, after string) string {
	var b strings.Builder
	for _, c := range []struct{ sign, of, without string }{{"-", before, after}, {"+", after, before}} {
		has := map[string]int{}
		for l := range strings.SplitSeq(c.without, "\n") {
			has[l]++
		}
		for l := range strings.SplitSeq(c.of, "\n") {
			if has[l]--; has[l] < 0 {
				b.WriteString("\n" + c.sign + l)
			}
		}
	}
	return b.String()
}
