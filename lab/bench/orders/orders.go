// Package orders is examples/orders on the lab, brought there by Rolling's own command line: two releases that differ in
// one variable, five tasks in production behind the lab's nginx. It knows the example, the command line and the
// manager's socket; it refuses to know what is measured.
package orders

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/rolling-swarm/rolling/images"
	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/lab"
	"github.com/rolling-swarm/rolling/lab/bench/site"
)

// What the example is called on the lab.
const (
	Name        = "orders"
	Environment = "production"
	Service     = "orders-production_web"
	Upstream    = "orders" // at nginx
	Tasks       = 5
)

// runWithin bounds the start of all tasks, on a machine with other work.
const runWithin = 3 * time.Minute

// A Project is the example on one lab.
type Project struct {
	*site.Site
	root   string
	images []string // by digest, one a release
}

// New names the example of the checkout and touches nothing.
func New(s *site.Site, root string) *Project { return &Project{Site: s, root: root} }

// Releases are what production can be brought to, and each one's image by its digest.
func (p *Project) Releases() (releases, images []string) { return []string{"r-1", "r-2"}, p.images }

// Ensure brings the example up, unless it is there: both releases through test, as the gate wants it, then the first
// in production with five tasks, every image on every node.
func (p *Project) Ensure(ctx context.Context) error {
	if len(p.images) > 0 {
		return nil
	}
	p.Say("orders: its parts, images and releases")
	for _, part := range []string{"registry", "nginx", "zookeeper"} {
		if err := p.Lab.StartPart(ctx, part); err != nil {
			return err
		}
	}
	pushed, err := p.push(ctx)
	if err != nil {
		return err
	}
	if err := p.Rolling(ctx, "project", "apply", "-f", filepath.Join(p.root, "examples/orders/rolling.yml")); err != nil {
		return err
	}
	releases, _ := p.Releases()
	for i, r := range releases {
		if err := p.all(ctx,
			[]string{"release", "create", Name, "--id", r, "--commit", strings.Repeat(strconv.Itoa(i+1), 40), "--image", "web=" + pushed[i]},
			[]string{"deploy", Name, "test", r},
		); err != nil {
			return err
		}
	}
	if err := p.all(ctx, []string{"deploy", Name, Environment, releases[0]}, []string{"scale", Name, Environment, fmt.Sprintf("web=%d", Tasks)}); err != nil {
		return err
	}
	if _, _, err := p.Running(ctx, Service, Tasks, runWithin); err != nil {
		return err
	}
	p.images = pushed
	return nil
}

// push pushes one image a release to the lab's registry and lays it on every node: a pull is no part of a rollout's time.
func (p *Project) push(ctx context.Context) ([]string, error) {
	repository := p.Lab.Address(lab.Router).String() + ":5000/orders/web"
	releases, _ := p.Releases()
	var pushed []string
	for i := range releases {
		tag := strconv.Itoa(i + 1)
		image, err := images.Push(ctx, filepath.Join(p.root, "build/images/orders.tar"), repository+":"+tag, images.Dialer(p.Lab.DialContext(lab.Router)), images.Env("RELEASE="+tag))
		if err != nil {
			return nil, err
		}
		for _, node := range p.Lab.Nodes() {
			if _, err := p.Lab.Docker(ctx, node, "pull", "-q", image); err != nil {
				return nil, fmt.Errorf("lay %s on %s: %w", image, node, err)
			}
		}
		pushed = append(pushed, image)
	}
	return pushed, nil
}

// all runs commands one after the other until one fails.
func (p *Project) all(ctx context.Context, commands ...[]string) error {
	for _, c := range commands {
		if err := p.Rolling(ctx, c...); err != nil {
			return err
		}
	}
	return nil
}

// Rolling runs the command line of this checkout against the lab's manager, and wants it to succeed.
func (p *Project) Rolling(ctx context.Context, args ...string) error {
	socket, err := p.socket()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(p.root, "build/bin/rolling"), append([]string{"--server", "unix://" + socket}, args...)...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("rolling %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(said.String()))
	}
	return nil
}

// socket is the manager's, on the node that it is bound to.
func (p *Project) socket() (string, error) {
	return p.Lab.Path(p.Lab.Managers()[0], contract.StateRoot+"/manager/rolling.sock")
}

// API is a client of the manager's; the host in an address does not matter.
func (p *Project) API() (*http.Client, error) {
	socket, err := p.socket()
	if err != nil {
		return nil, err
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}
	return &http.Client{Timeout: time.Minute, Transport: &http.Transport{DialContext: dial}}, nil
}

// Clear takes the example off the lab again, if it is there.
func (p *Project) Clear(ctx context.Context) error {
	if len(p.images) == 0 {
		return nil
	}
	p.images = nil
	return p.Rolling(ctx, "project", "delete", Name, "--services", "--yes")
}
