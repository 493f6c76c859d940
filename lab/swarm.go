package lab

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/api/types/swarm"
	"github.com/moby/moby/client"
)

// swarmWithin bounds the making of the Swarm, and a rebooted lab's way back to a quorum.
const swarmWithin = 90 * time.Second

// formSwarm brings every node into one Swarm, in its role, and waits until all are Ready.
func (l *Lab) formSwarm(ctx context.Context, r record) error {
	ctx, cancel := context.WithTimeout(ctx, swarmWithin)
	defer cancel()
	states, err := l.settled(ctx, r)
	if err != nil {
		return err
	}
	seed := ""
	for _, node := range r.nodes()[:r.Managers] {
		if states[node] == swarm.LocalNodeStateActive {
			seed = node
			break
		}
	}
	if seed == "" {
		seed = "n1"
		if err := l.initSwarm(ctx, seed); err != nil {
			return err
		}
		states[seed] = swarm.LocalNodeStateActive
	}
	tokens, err := l.tokens(ctx, seed)
	if err != nil {
		return err
	}
	err = each(ctx, r.nodes(), func(ctx context.Context, node string) error {
		if states[node] == swarm.LocalNodeStateActive {
			return nil
		}
		token := tokens.Worker
		if slices.Contains(r.nodes()[:r.Managers], node) {
			token = tokens.Manager
		}
		return l.joinSwarm(ctx, node, seed, token)
	})
	if err != nil {
		return err
	}
	return l.waitReady(ctx, r)
}

// settled waits until no node is on its way into or out of a Swarm, and takes those out that failed to join.
func (l *Lab) settled(ctx context.Context, r record) (map[string]swarm.LocalNodeState, error) {
	var mu sync.Mutex // guards states
	states := map[string]swarm.LocalNodeState{}
	err := each(ctx, r.nodes(), func(ctx context.Context, node string) error {
		return l.with(node, func(c *client.Client) error {
			for {
				got, err := c.Info(ctx, client.InfoOptions{})
				if err != nil {
					return fmt.Errorf("ask %s for its Swarm: %w", node, err)
				}
				switch got.Info.Swarm.LocalNodeState {
				case swarm.LocalNodeStateActive, swarm.LocalNodeStateInactive:
					mu.Lock()
					defer mu.Unlock()
					states[node] = got.Info.Swarm.LocalNodeState
					return nil
				case swarm.LocalNodeStateError, swarm.LocalNodeStateLocked:
					if _, err := c.SwarmLeave(ctx, client.SwarmLeaveOptions{Force: true}); err != nil {
						return fmt.Errorf("take %s out of its failed Swarm (%s): %w", node, got.Info.Swarm.Error, err)
					}
				}
				if err := pause(ctx, 100*time.Millisecond); err != nil {
					return fmt.Errorf("%s is %q in its Swarm: %w", node, got.Info.Swarm.LocalNodeState, err)
				}
			}
		})
	})
	return states, err
}

func (l *Lab) initSwarm(ctx context.Context, node string) error {
	return l.with(node, func(c *client.Client) error {
		_, err := c.SwarmInit(ctx, client.SwarmInitOptions{ListenAddr: "0.0.0.0:2377", AdvertiseAddr: l.Address(node).String()})
		if err != nil {
			return fmt.Errorf("init the Swarm on %s: %w", node, err)
		}
		return nil
	})
}

func (l *Lab) tokens(ctx context.Context, manager string) (swarm.JoinTokens, error) {
	var tokens swarm.JoinTokens
	err := l.with(manager, func(c *client.Client) error {
		return l.Eventually(ctx, 60*time.Second, "a leader that gives join tokens", func() error {
			got, err := c.SwarmInspect(ctx, client.SwarmInspectOptions{})
			tokens = got.Swarm.JoinTokens
			return err
		})
	})
	return tokens, err
}

// joinSwarm tries again: Raft takes one new manager at a time, and tells the others to come back.
func (l *Lab) joinSwarm(ctx context.Context, node, seed, token string) error {
	return l.with(node, func(c *client.Client) error {
		for {
			_, err := c.SwarmJoin(ctx, client.SwarmJoinOptions{
				ListenAddr: "0.0.0.0:2377", AdvertiseAddr: l.Address(node).String(),
				RemoteAddrs: []string{l.Address(seed).String() + ":2377"}, JoinToken: token,
			})
			if err == nil {
				return nil
			}
			l.logf("%s did not join yet: %v", node, err)
			_, _ = c.SwarmLeave(ctx, client.SwarmLeaveOptions{Force: true})
			if pause(ctx, 200*time.Millisecond) != nil {
				return fmt.Errorf("join %s to the Swarm of %s: %w", node, seed, err)
			}
		}
	})
}

// waitReady waits until every node of the record is Ready, and each manager reachable.
func (l *Lab) waitReady(ctx context.Context, r record) error {
	return l.Eventually(ctx, swarmWithin, "every node Ready in the Swarm", func() error {
		nodes, _, err := l.swarmNodes(ctx, r.nodes()[:r.Managers])
		if err != nil {
			return err
		}
		var late []string
		for i, name := range r.nodes() {
			if !slices.ContainsFunc(nodes, func(n swarm.Node) bool { return n.Description.Hostname == name && ready(n, i < r.Managers) }) {
				late = append(late, name)
			}
		}
		if len(late) > 0 {
			return fmt.Errorf("not Ready: %s", strings.Join(late, ", "))
		}
		// A leader holds a node that has just lost its power for Ready: the node itself has to say so too.
		return each(ctx, r.nodes(), func(ctx context.Context, node string) error {
			return l.isMember(ctx, node, slices.Contains(r.nodes()[:r.Managers], node))
		})
	})
}

// isMember: the node's own engine says that it is at work in a Swarm, as a manager if it should be one.
func (l *Lab) isMember(ctx context.Context, node string, manager bool) error {
	return l.with(node, func(c *client.Client) error {
		got, err := c.Info(ctx, client.InfoOptions{})
		if err != nil {
			return fmt.Errorf("ask %s for its Swarm: %w", node, err)
		}
		s := got.Info.Swarm
		if s.LocalNodeState != swarm.LocalNodeStateActive || manager && !s.ControlAvailable {
			return fmt.Errorf("%s is %s in its Swarm: %s", node, s.LocalNodeState, s.Error)
		}
		return nil
	})
}

func ready(n swarm.Node, manager bool) bool {
	if n.Status.State != swarm.NodeStateReady {
		return false
	}
	return !manager || n.ManagerStatus != nil && n.ManagerStatus.Reachability == swarm.ReachabilityReachable
}

// swarmNodes asks all living managers at once what the Swarm's nodes are. It gives the answer on whose leader
// the most managers agree, and how many do: a cut leader believes in itself for a while.
func (l *Lab) swarmNodes(ctx context.Context, managers []string) ([]swarm.Node, int, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	answers := make([][]swarm.Node, len(managers))
	errs := make([]error, len(managers))
	var wg sync.WaitGroup
	for i, m := range managers {
		wg.Go(func() {
			errs[i] = l.with(m, func(c *client.Client) error {
				got, err := c.NodeList(ctx, client.NodeListOptions{})
				answers[i] = got.Items
				return err
			})
		})
	}
	wg.Wait()
	votes := map[string]int{}
	var best []swarm.Node
	for _, a := range answers {
		if leader := leaderIn(a); leader != "" {
			votes[leader]++
			if votes[leader] > votes[leaderIn(best)] || best == nil {
				best = a
			}
		}
	}
	if best == nil {
		return nil, 0, fmt.Errorf("no manager of lab %s knows a leader: %w", l.name, errors.Join(errs...))
	}
	return best, votes[leaderIn(best)], nil
}

func leaderIn(nodes []swarm.Node) string {
	for _, n := range nodes {
		if n.ManagerStatus != nil && n.ManagerStatus.Leader {
			return n.Description.Hostname
		}
	}
	return ""
}

// Leader names the node that leads the Swarm: most managers agree on it, and it is on.
func (l *Lab) Leader(ctx context.Context) (string, error) {
	managers := l.Managers()
	nodes, votes, err := l.swarmNodes(ctx, managers)
	if err != nil {
		return "", err
	}
	leader := leaderIn(nodes)
	if votes <= len(managers)/2 {
		return "", fmt.Errorf("only %d of %d managers hold %s for the leader", votes, len(managers), leader)
	}
	if !l.On(leader) {
		return "", fmt.Errorf("the leader was %s, which is off, and no other is elected yet", leader)
	}
	return leader, nil
}

// Eventually calls f until it succeeds, every 100 ms at first and every 400 ms in the end: most of what is asked starts a
// program on a node, and what takes long would take longer for it. Its error says what was waited for, and f's last error.
func (l *Lab) Eventually(ctx context.Context, within time.Duration, what string, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for every := 100 * time.Millisecond; ; every = min(every*5/4, 400*time.Millisecond) {
		err := f()
		if err == nil {
			return nil
		}
		if pause(ctx, every) != nil {
			return fmt.Errorf("waited %s for %s: %w", within, what, err)
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// version is the engine's, as the first node that answers tells it: testing's moves, so it belongs in every log.
func (l *Lab) version(ctx context.Context, r record) string {
	for _, node := range r.nodes() {
		v := ""
		err := l.with(node, func(c *client.Client) error {
			got, err := c.ServerVersion(ctx, client.ServerVersionOptions{})
			v = got.Version
			return err
		})
		if err == nil {
			return v
		}
	}
	return "unknown"
}
