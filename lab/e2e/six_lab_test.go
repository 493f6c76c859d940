//go:build lab

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/lab"
)

// leg is what the engine shows of a container's place in a network.
type leg struct {
	node, id  string
	IPAddress string
	Six       string `json:"GlobalIPv6Address"`
	Bits      int    `json:"GlobalIPv6PrefixLen"`
	Gateway   string `json:"IPv6Gateway"`
}

func TestContainersReachEachOtherByIPv6(t *testing.T) {
	l := lab.Shared(t)
	ctx := within(t, 3*time.Minute)
	if err := errors.Join(l.LoadShell(ctx), l.StartPart(ctx, "bird")); err != nil {
		t.Fatal(err)
	}
	before := map[string]string{}
	for _, n := range l.Nodes() {
		before[n] = sixTraces(t, ctx, l, n)
	}
	mustDocker(t, l, "n1", create("six", "10.211.10.0/24", "-o", "rolling.ipv6=fd00:10:211::/96")...)
	mustDocker(t, l, "n1", "service", "create", "--detach", "--no-resolve-image", "--name", "six", "--mode", "global", "--network", "six",
		"--endpoint-mode", "dnsrr", "--stop-grace-period", "1s", lab.ShellImage, "sleep", "1000000")
	var legs []leg
	if err := l.Eventually(ctx, time.Minute, "each node has a container with both addresses", func() (err error) {
		legs, err = sixLegs(ctx, l)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	all := func(when string, within time.Duration) {
		t.Helper()
		if err := l.Eventually(ctx, within, "all reach all by IPv6 "+when, func() error { return reachAll(ctx, l, legs) }); err != nil {
			t.Error(err)
		}
	}
	all("at first", 30*time.Second)
	if out, err := l.Docker(ctx, legs[0].node, "exec", "--privileged", legs[0].id, "ping", "-6", "-c", "1", "-W", "1", "-I", legs[1].Six, legs[2].Six); err == nil {
		t.Errorf("another's address was let through: %s", out)
	}
	old := pidOf(ctx, l, legs[1].node)
	if _, err := l.Exec(ctx, legs[1].node, "kill", "-9", old); err != nil {
		t.Fatal(err)
	}
	if err := reachAll(ctx, l, legs); err != nil {
		t.Errorf("while the plugin of %s is dead: %v", legs[1].node, err)
	}
	if err := l.Eventually(ctx, 30*time.Second, "the plugin is back", func() error {
		if now := pidOf(ctx, l, legs[1].node); now == "" || now == old {
			return errors.New("it is not")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	all("after the plugin's return", 30*time.Second)

	mustDocker(t, l, "n1", "service", "rm", "six")
	if err := l.Eventually(ctx, time.Minute, "the network can go", func() error {
		_, err := l.Docker(ctx, "n1", "network", "rm", "six")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for _, n := range l.Nodes() {
		if err := l.Eventually(ctx, 30*time.Second, "nothing of IPv6 is left on "+n, func() error {
			if after := sixTraces(t, ctx, l, n); after != before[n] {
				return fmt.Errorf("now\n%s\nbefore\n%s", after, before[n])
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
	}
}

func pidOf(ctx context.Context, l *lab.Lab, node string) string {
	out, err := l.Exec(ctx, node, "pidof", "/network-driver")
	if err != nil || len(strings.Fields(out)) == 0 {
		return ""
	}
	return strings.Fields(out)[0]
}

// sixLegs reads one container of each node.
func sixLegs(ctx context.Context, l *lab.Lab) ([]leg, error) {
	var all []leg
	for _, n := range l.Nodes() {
		id, err := l.Docker(ctx, n, "ps", "-q", "--filter", "label=com.docker.swarm.service.name=six")
		if err != nil || strings.TrimSpace(id) == "" {
			return nil, fmt.Errorf("no container on %s yet: %w", n, err)
		}
		g := leg{node: n, id: strings.TrimSpace(id)}
		text, err := l.Docker(ctx, n, "inspect", "-f", "{{json .NetworkSettings.Networks.six}}", g.id)
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal([]byte(text), &g); err != nil {
			return nil, fmt.Errorf("%s: %w", text, err)
		}
		four, err := netip.ParseAddr(g.IPAddress)
		if err != nil {
			return nil, err
		}
		b := four.As4()
		want := netip.MustParseAddr(fmt.Sprintf("fd00:10:211::%s%02x:%02x%02x", strconv.FormatInt(int64(b[0]), 16), b[1], b[2], b[3])).String()
		if g.Six != want || g.Bits != 128 || !strings.HasPrefix(g.Gateway, "fe80::") {
			return nil, fmt.Errorf("the engine of %s shows %+v, want %s", n, g, want)
		}
		all = append(all, g)
	}
	return all, nil
}

// reachAll asks from each container and from the company's router.
func reachAll(ctx context.Context, l *lab.Lab, legs []leg) error {
	for _, from := range legs {
		for _, to := range legs {
			if out, err := l.Docker(ctx, from.node, "exec", from.id, "ping", "-6", "-c", "1", "-W", "1", to.Six); err != nil {
				return fmt.Errorf("%s to %s: %w: %s", from.node, to.Six, err, out)
			}
		}
		if out, err := l.Exec(ctx, lab.Router, "ping", "-6", "-c", "1", "-W", "1", from.Six); err != nil {
			return fmt.Errorf("router to %s: %w: %s", from.Six, err, out)
		}
	}
	return nil
}

// sixTraces is all of IPv6 that somebody could leave behind on a node.
func sixTraces(t *testing.T, ctx context.Context, l *lab.Lab, node string) string {
	t.Helper()
	out, err := l.Exec(ctx, node, "sh", "-c", "ip6tables -S; ip -6 route show proto 82; nft list tables 2>/dev/null; cat /proc/sys/net/ipv6/conf/all/forwarding /proc/sys/net/ipv6/conf/eth0/accept_ra")
	if err != nil {
		t.Fatal(err)
	}
	return out
}
