package lab

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/moby/moby/client"
	"github.com/rolling-swarm/rolling/lab/namespace"
)

// Exec runs a command on the node, or in the router's network, and gives what it wrote to stdout. The error's
// text holds what it wrote to stderr.
func (l *Lab) Exec(ctx context.Context, node string, cmd ...string) (string, error) {
	c := l.Command(ctx, node, cmd...)
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); err != nil {
		return out.String(), fmt.Errorf("%s: %s: %w: %s", node, strings.Join(cmd, " "), err, strings.TrimSpace(errs.String()))
	}
	return out.String(), nil
}

// Command prepares a command inside all namespaces of the node, or, on the router, inside its network alone.
// When ctx ends, the command and its children in the same process group end. A node that is off makes the
// command fail at its start.
func (l *Lab) Command(ctx context.Context, node string, cmd ...string) *exec.Cmd {
	enter, err := l.enter(node)
	c := exec.CommandContext(ctx, "nsenter", append(append(enter, "--"), cmd...)...)
	c.Err = err
	c.Env = l.environment(node, "TERM="+l.config.Terminal)
	if node == Router {
		c.Env = l.routerEnvironment()
	}
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
	c.WaitDelay = 5 * time.Second
	return c
}

// routerEnvironment: the router shares the machine's files, so its commands also keep what the caller has set.
func (l *Lab) routerEnvironment() []string {
	own := slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, markLab) || strings.HasPrefix(v, markNode) || strings.HasPrefix(v, "PATH=")
	})
	return append(own, "PATH="+l.config.Path+":"+usualPath, l.mark(), markNode+Router)
}

func (l *Lab) enter(node string) ([]string, error) {
	if node == Router {
		if !namespace.Exists(l.space(Router)) {
			return nil, fmt.Errorf("lab %s: %w", l.name, errNotUp)
		}
		return []string{"--net=" + namespace.Path(l.space(Router))}, nil
	}
	p, on := l.init(node)
	if !on {
		return nil, l.off(node)
	}
	return []string{"-t", strconv.Itoa(p.PID), "-m", "-u", "-i", "-p", "-n"}, nil
}

// off says why the node cannot be entered.
func (l *Lab) off(node string) error {
	if err := l.known(node); err != nil {
		return err
	}
	return fmt.Errorf("node %s is off: lab start %s boots it", node, node)
}

// Docker runs docker on the node.
func (l *Lab) Docker(ctx context.Context, node string, args ...string) (string, error) {
	return l.Exec(ctx, node, append([]string{"docker"}, args...)...)
}

// Client speaks to the node's engine from outside, at the version that the engine has.
func (l *Lab) Client(node string) (*client.Client, error) {
	if !l.On(node) {
		return nil, l.off(node)
	}
	c, err := client.New(client.WithHost("unix://" + l.socket(node)))
	if err != nil {
		return nil, fmt.Errorf("client for %s: %w", node, err)
	}
	return c, nil
}

// with runs f with a client of the node, and closes it.
func (l *Lab) with(node string, f func(*client.Client) error) error {
	c, err := l.Client(node)
	if err != nil {
		return err
	}
	defer c.Close() //nolint:errcheck // nothing is lost with it
	return f(c)
}

func (l *Lab) ping(ctx context.Context, node string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return l.with(node, func(c *client.Client) error {
		_, err := c.Ping(ctx, client.PingOptions{})
		return err
	})
}

// Path is where a file of the node shows on this machine, while the node is on. It fits sockets too. An absolute
// link in it (/var/run) leads into this machine's root: say /run.
func (l *Lab) Path(node, file string) (string, error) {
	p, on := l.init(node)
	if !on {
		return "", l.off(node)
	}
	return filepath.Join(fmt.Sprintf("/proc/%d/root", p.PID), file), nil
}

// InNetwork runs f on a thread inside the network namespace of the node or router. What f starts on other
// goroutines is outside; sockets that f makes stay inside for good.
func (l *Lab) InNetwork(node string, f func() error) error {
	path, err := l.NetworkPath(node)
	if err != nil {
		return err
	}
	return namespace.Do(path, f)
}

// NetworkPath is the file that holds the network namespace of the node or router, for those outside.
func (l *Lab) NetworkPath(node string) (string, error) {
	if node == Router {
		return namespace.Path(l.space(Router)), nil
	}
	p, on := l.init(node)
	if !on {
		return "", l.off(node)
	}
	return fmt.Sprintf("/proc/%d/ns/net", p.PID), nil
}

// DialContext dials from inside the node's or router's network; it fits http.Transport. The host is a literal
// address, a node's name or "router": no name server is asked.
func (l *Lab) DialContext(node string) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		host, port, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, fmt.Errorf("dial from %s: %w", node, err)
		}
		if a := l.Address(host); a.IsValid() {
			host = a.String()
		}
		if _, err := netip.ParseAddr(host); err != nil {
			return nil, fmt.Errorf("dial %s from %s: want a literal address or a node's name", addr, node)
		}
		var conn net.Conn
		err = l.InNetwork(node, func() (err error) {
			conn, err = new(net.Dialer).DialContext(ctx, network, net.JoinHostPort(host, port))
			return err
		})
		return conn, err
	}
}

// ContainerNetwork gives a path, usable from outside the node, that holds the container's network namespace.
func (l *Lab) ContainerNetwork(node, containerID string) (netnsPath string, err error) {
	err = l.with(node, func(c *client.Client) error {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		got, err := c.ContainerInspect(ctx, containerID, client.ContainerInspectOptions{})
		if err != nil {
			return fmt.Errorf("network of container %s on %s: %w", containerID, node, err)
		}
		if got.Container.NetworkSettings == nil || got.Container.NetworkSettings.SandboxKey == "" {
			return fmt.Errorf("network of container %s on %s: it has none: is it running?", containerID, node)
		}
		netnsPath, err = l.Path(node, "/run/docker/netns/"+filepath.Base(got.Container.NetworkSettings.SandboxKey))
		return err
	})
	return netnsPath, err
}
