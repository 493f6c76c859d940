package network

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/lab/bench/figure"
)

const (
	agentService = "rolling_agent"
	setNet       = "ROLLING_SET_NET"
	// switchWithin covers the agents' update, a node at a time, and each plugin's restart.
	switchWithin = 3 * time.Minute
)

// otherPaths measures what the driver does where its best path does not load: the setting is given to the agents, as an
// administrator would, and containers go on running meanwhile.
func (b *bench) otherPaths(ctx context.Context) (figures []figure.Figure, err error) {
	was, err := b.netSettings(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.switchPath(ctx, was, b.auto)) }()
	for _, p := range []struct{ setting, path string }{{"nft", "nft"}, {"off", "plain"}} {
		if err := b.switchPath(ctx, was+" ROLLING_FASTPATH="+p.setting, p.path); err != nil {
			return figures, err
		}
		modes, err := b.routedModes(ctx)
		if err != nil {
			return figures, err
		}
		got, err := b.onBoth(ctx, modes, "fast path "+p.path, []comparison{{ours, host, "." + p.path}, {ours + local, host, "." + p.path + local}})
		figures = append(figures, got...)
		if err != nil {
			return figures, err
		}
	}
	return figures, nil
}

// netSettings are what the agents are told to set on rolling/net.
func (b *bench) netSettings(ctx context.Context) (string, error) {
	leader, err := b.Lab.Leader(ctx)
	if err != nil {
		return "", err
	}
	out, err := b.Lab.Docker(ctx, leader, "service", "inspect", "--format", "{{range .Spec.TaskTemplate.ContainerSpec.Env}}{{println .}}{{end}}", agentService)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(out) {
		if value, found := strings.CutPrefix(strings.TrimSpace(line), setNet+"="); found {
			return value, nil
		}
	}
	return "", nil
}

// switchPath changes the settings and waits until both ends carry packets that way.
func (b *bench) switchPath(ctx context.Context, settings, path string) error {
	leader, err := b.Lab.Leader(ctx)
	if err != nil {
		return err
	}
	if _, err := b.Lab.Docker(ctx, leader, "service", "update", "--detach", "--no-resolve-image", "--update-delay", "0s", "--env-add", setNet+"="+settings, agentService); err != nil {
		return fmt.Errorf("tell the agents of %q: %w", settings, err)
	}
	return b.Lab.Eventually(ctx, switchWithin, "fast path "+path+" on both nodes", func() error {
		for _, node := range []string{b.client, b.server} {
			s, err := b.netState(ctx, node)
			if err != nil {
				return err
			}
			if s.FastPath.Path != path || len(s.Links) == 0 {
				return fmt.Errorf("%s has %+v", node, s)
			}
		}
		return nil
	})
}

// fastPath is the path that both nodes have.
func (b *bench) fastPath(ctx context.Context) (string, error) {
	from, err := b.netState(ctx, b.client)
	if err != nil {
		return "", err
	}
	to, err := b.netState(ctx, b.server)
	if err == nil && (from.FastPath.Path != to.FastPath.Path || from.FastPath.Path == "") {
		err = fmt.Errorf("%s carries by %q, %s by %q", b.client, from.FastPath.Path, b.server, to.FastPath.Path)
	}
	return from.FastPath.Path, err
}

// netState is what the benchmark wants to know of a node's rolling/net.
type netState struct {
	Links      []string
	Settled    bool
	Neighbours []neighbour
	FastPath   struct{ Path string }
}

type neighbour struct {
	State    string
	EndOfRIB bool
}

// settled says what the plugin still waits for.
func (s netState) settled() error {
	if !s.Settled || slices.ContainsFunc(s.Neighbours, func(n neighbour) bool { return n.State != "established" || !n.EndOfRIB }) {
		return fmt.Errorf("rolling/net: settled %v, neighbours %+v", s.Settled, s.Neighbours)
	}
	return nil
}

func (b *bench) netState(ctx context.Context, node string) (s netState, err error) {
	socket, err := b.Lab.Path(node, contract.StateRoot+"/net/net.sock")
	if err != nil {
		return s, err
	}
	c := http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://net/debug/state", nil)
	if err != nil {
		return s, err
	}
	got, err := c.Do(r)
	if err != nil {
		return s, fmt.Errorf("state of rolling/net on %s: %w", node, err)
	}
	defer got.Body.Close() //nolint:errcheck // only read
	text, err := io.ReadAll(got.Body)
	if err == nil && got.StatusCode != http.StatusOK {
		err = fmt.Errorf("state of rolling/net on %s: %s: %.200s", node, got.Status, text)
	}
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(text, &s)
}
