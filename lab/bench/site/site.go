// Package site is the ground on which benchmarks stand: a lab of three managers with this checkout installed, and the
// networks, services and tasks that a benchmark puts on it. It knows the lab and Docker's API; it refuses to know what
// is measured.
package site

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/moby/moby/client"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/lab"
)

// downWithin is how long a lab may take to go, once the run itself was broken off.
const downWithin = 2 * time.Minute

// A Site is a lab made for benchmarks.
type Site struct {
	Lab *lab.Lab
	Say func(format string, args ...any) // progress, for people
}

// Up makes the lab anew: figures of a lab with a past would tell of that past. The router runs BIRD.
func Up(ctx context.Context, name string, say func(format string, args ...any)) (*Site, error) {
	s := &Site{Lab: lab.Open(name), Say: say}
	if err := s.Lab.Down(ctx); err != nil {
		return nil, err
	}
	err := s.Lab.Up(ctx, lab.Options{Managers: 3, Install: true, Log: say})
	if err == nil {
		err = s.Lab.LoadShell(ctx)
	}
	if err == nil {
		err = s.Lab.StartPart(ctx, "bird")
	}
	if err != nil {
		return nil, errors.Join(err, s.Down(ctx))
	}
	return s, nil
}

// Down removes the lab, also when ctx has ended.
func (s *Site) Down(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), downWithin)
	defer cancel()
	return s.Lab.Down(ctx)
}

// Followers are the managers that do not lead: they have no work but their own.
func (s *Site) Followers(ctx context.Context) (leader string, followers []string, err error) {
	if leader, err = s.Lab.Leader(ctx); err != nil {
		return "", nil, err
	}
	followers = slices.DeleteFunc(s.Lab.Managers(), func(n string) bool { return n == leader })
	if len(followers) < 2 {
		return "", nil, fmt.Errorf("lab %s: %d managers beside the leader %s: want 2", s.Lab.Name(), len(followers), leader)
	}
	return leader, followers, nil
}

// Engine is the version that all figures were taken with.
func (s *Site) Engine(ctx context.Context, node string) (version string, err error) {
	err = s.With(node, func(c *client.Client) error {
		v, err := c.ServerVersion(ctx, client.ServerVersionOptions{})
		version = v.Version
		return err
	})
	return version, err
}

// With runs f with a client of the node's engine.
func (s *Site) With(node string, f func(*client.Client) error) error {
	c, err := s.Lab.Client(node)
	if err != nil {
		return err
	}
	defer c.Close() //nolint:errcheck // nothing is lost with it
	return f(c)
}

// A Network is a cluster network and its driver.
type Network struct {
	Name, Driver, IPAM, Subnet string // IPAM empty: Docker's own
}

// Rolling is a network as Rolling makes it; Overlay as Docker does.
func Rolling(name, subnet string) Network {
	return Network{Name: name, Driver: contract.PluginNet, IPAM: contract.PluginIPAM, Subnet: subnet}
}

// Overlay is Docker's own.
func Overlay(name, subnet string) Network {
	return Network{Name: name, Driver: "overlay", Subnet: subnet}
}

// Make creates the network in the Swarm.
func (s *Site) Make(ctx context.Context, n Network) error {
	leader, err := s.Lab.Leader(ctx)
	if err != nil {
		return err
	}
	args := []string{"network", "create", "--scope", "swarm", "--attachable", "-d", n.Driver, "--subnet", n.Subnet}
	if n.IPAM != "" {
		args = append(args, "--ipam-driver", n.IPAM)
	}
	if _, err := s.Lab.Docker(ctx, leader, append(args, n.Name)...); err != nil {
		return fmt.Errorf("make network %s: %w", n.Name, err)
	}
	return nil
}
