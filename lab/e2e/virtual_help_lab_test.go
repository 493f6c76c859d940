//go:build lab

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/lab"
	"github.com/rolling-swarm/rolling/lab/namespace"
)

const echoImage = "rolling/echo:dev"

// virtual is a network with a service in Swarm's default mode, and a client on each node.
type virtual struct {
	t       *testing.T
	lab     *lab.Lab
	name    string
	address string // the service's virtual one
	outside *load  // of which some may fail
}

func newVirtual(t *testing.T, l *lab.Lab, name, subnet string) *virtual {
	v := &virtual{t: t, lab: l, name: name}
	v.must(l.StartPart(within(t, time.Minute), "bird"))
	// What a data centre's routers do: by address and port, so that one client's connections take different ways.
	v.must(l.InNetwork(lab.Router, func() error { return namespace.Set("net/ipv4/fib_multipath_hash_policy", "1") }))
	v.loadEcho()
	mustDocker(t, l, v.leader(), create(name, subnet)...)
	t.Cleanup(func() {
		for _, s := range []string{name, name + "-clients"} {
			_, _ = l.Docker(context.Background(), v.leader(), "service", "rm", s) // one is gone already
		}
		removeNetwork(t, l, v.leader(), name)
	})
	return v
}

func (v *virtual) must(err error) {
	v.t.Helper()
	if err != nil {
		v.t.Fatal(err)
	}
}

func (v *virtual) leader() string {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // a cleanup may ask
	defer cancel()
	leader, err := v.lab.Leader(ctx)
	v.must(err)
	return leader
}

// loadEcho puts the image on every node.
func (v *virtual) loadEcho() {
	root, err := lab.Checkout()
	v.must(err)
	folder := v.t.TempDir()
	build := exec.Command("go", "build", "-o", filepath.Join(folder, "echo"), "./lab/echo")
	build.Dir, build.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		v.t.Fatalf("%v: %s", err, out)
	}
	tar, err := exec.Command("tar", "-C", folder, "-c", "echo").Output()
	v.must(err)
	for _, n := range v.lab.Nodes() {
		load := v.lab.Command(within(v.t, time.Minute), n, "docker", "import", "-c", `CMD ["/echo"]`, "-", echoImage)
		load.Stdin = strings.NewReader(string(tar))
		if out, err := load.CombinedOutput(); err != nil {
			v.t.Fatalf("%s: %v: %s", n, err, out)
		}
	}
}

func (v *virtual) service(name string, more ...string) {
	args := append([]string{"service", "create", "--detach", "--quiet", "--no-resolve-image", "--name", name, "--network", v.name, "--restart-delay", "1s"}, more...)
	mustDocker(v.t, v.lab, v.leader(), append(args, echoImage)...)
}

// start makes the service, one container a node, and waits until all nodes serve it.
func (v *virtual) start(replicas int) {
	v.t.Helper()
	v.service(v.name+"-clients", "--mode", "global", "--endpoint-mode", "dnsrr")
	v.service(v.name, "--replicas", fmt.Sprint(replicas), "--replicas-max-per-node", "1")
	v.must(v.lab.Eventually(v.t.Context(), time.Minute, "the service has its address", func() error {
		text, err := v.lab.Docker(v.t.Context(), v.leader(), "service", "inspect", "-f", "{{(index .Endpoint.VirtualIPs 0).Addr}}", v.name)
		if err != nil {
			return err
		}
		p, err := netip.ParsePrefix(strings.TrimSpace(text))
		v.address = p.Addr().String()
		return err
	}))
	v.served(replicas)
}

// served waits until each node's plugin and the router know that many backends.
func (v *virtual) served(n int) {
	v.t.Helper()
	v.must(v.lab.Eventually(v.t.Context(), time.Minute, fmt.Sprintf("%d backends everywhere", n), func() error {
		for _, node := range v.lab.Nodes() {
			if !v.lab.On(node) {
				continue
			}
			if got := len(v.backends(node)); got != n {
				return fmt.Errorf("%s has %d", node, got)
			}
		}
		routes, err := v.lab.Routes(v.t.Context())
		if got := len(routes[netip.MustParsePrefix(v.address+"/32")]); err == nil && got != n {
			err = fmt.Errorf("the router has %d ways", got)
		}
		return err
	}))
}

// seenState is a part of the plugin's /debug/state.
type seenState struct {
	Virtual struct {
		Boxes map[string][]struct {
			VIP      string
			Backends []string
		}
	}
}

func (v *virtual) backends(node string) []string {
	v.t.Helper()
	text, err := v.status(node, "/debug/state")
	if err != nil {
		return nil
	}
	var s seenState
	if json.Unmarshal([]byte(text), &s) != nil {
		return nil
	}
	for _, all := range s.Virtual.Boxes {
		for _, b := range all {
			if b.VIP == v.address {
				return b.Backends
			}
		}
	}
	return nil
}

func (v *virtual) scale(n int) {
	v.t.Helper()
	begun := time.Now()
	mustDocker(v.t, v.lab, v.leader(), "service", "scale", "--detach", fmt.Sprintf("%s=%d", v.name, n))
	v.served(n)
	v.t.Logf("scale to %d: every node and the router know after %v", n, time.Since(begun).Round(10*time.Millisecond))
}

// here lists the containers of a service on a node, by one field.
func (v *virtual) here(node, service, field string) []string {
	v.t.Helper()
	out := mustDocker(v.t, v.lab, node, "ps", "-q", "--no-trunc", "--filter", "label=com.docker.swarm.service.name="+service)
	var all []string
	for _, id := range strings.Fields(out) {
		all = append(all, strings.TrimSpace(mustDocker(v.t, v.lab, node, "inspect", "-f", field, id)))
	}
	return all
}

// on are the host names of the service's containers on a node.
func (v *virtual) on(node string) []string { return v.here(node, v.name, "{{.Config.Hostname}}") }

func (v *virtual) containers() []string {
	var all []string
	for _, n := range v.lab.Nodes() {
		all = append(all, v.on(n)...)
	}
	return all
}

// takers are the host names of the containers that take new flows.
func (v *virtual) takers() []string {
	var all []string
	for _, n := range v.lab.Nodes() {
		if !v.lab.On(n) {
			continue
		}
		takes := v.backends(n)
		for _, c := range v.here(n, v.name, `{{.Config.Hostname}} {{(index .NetworkSettings.Networks "`+v.name+`").IPAddress}}`) {
			if name, address, _ := strings.Cut(c, " "); slices.Contains(takes, address) {
				all = append(all, name)
			}
		}
	}
	return all
}

func (v *virtual) box(node, service string) space {
	v.t.Helper()
	keys := v.here(node, service, "{{.NetworkSettings.SandboxKey}}")
	if len(keys) == 0 {
		v.t.Fatalf("%s has no container of %s", node, service)
	}
	file, err := v.lab.Path(node, "/run/docker/netns/"+path.Base(keys[0]))
	v.must(err)
	return space{func(f func() error) error { return namespace.Do(file, f) }}
}

func (v *virtual) client(node string) space { return v.box(node, v.name+"-clients") }

func (v *virtual) clientAddress(node string) string {
	all := v.here(node, v.name+"-clients", `{{(index .NetworkSettings.Networks "`+v.name+`").IPAddress}}`)
	return strings.Join(all, " ")
}

func (v *virtual) space(node string) space {
	return space{func(f func() error) error { return v.lab.InNetwork(node, f) }}
}

// serversCallThemselves: a backend that calls its own service gets all, itself too.
func (v *virtual) serversCallThemselves() {
	v.t.Helper()
	seen := v.box("n2", v.name).spread(v.t, "tcp4", v.address, 30)
	for _, name := range v.containers() {
		if seen.servers[name] != 10 {
			v.t.Errorf("a backend calls: %v, want 10 each", seen.servers)
		}
	}
}

func (v *virtual) killPlugin(node string) {
	v.t.Helper()
	out, err := v.lab.Exec(within(v.t, time.Minute), node, "sh", "-c", "for p in /proc/[0-9]*; do [ \"$(readlink $p/exe)\" = /network-driver ] && kill -9 ${p#/proc/}; done; true")
	if err != nil {
		v.t.Fatalf("%v: %s", err, out)
	}
	v.must(v.lab.Eventually(v.t.Context(), time.Minute, "the plugin serves again", func() error {
		_, err := v.status(node, "/readyz")
		return err
	}))
}

// killAgent kills the node's agent; Swarm starts another.
func (v *virtual) killAgent(node string) {
	v.t.Helper()
	for _, id := range v.here(node, "rolling_agent", "{{.Id}}") {
		mustDocker(v.t, v.lab, node, "kill", id)
	}
	v.must(v.lab.Eventually(v.t.Context(), time.Minute, "an agent runs again", func() error {
		if len(v.here(node, "rolling_agent", "{{.Id}}")) == 0 {
			return fmt.Errorf("there is none")
		}
		return nil
	}))
}

// switchPlugin switches it off and on. An engine whose plugin was killed a moment before may need a second try.
func (v *virtual) switchPlugin(node string) {
	v.t.Helper()
	mustDocker(v.t, v.lab, node, "plugin", "disable", "-f", contract.PluginNet)
	v.must(v.lab.Eventually(v.t.Context(), time.Minute, "the plugin is enabled", func() error {
		_, err := v.lab.Docker(v.t.Context(), node, "plugin", "enable", contract.PluginNet)
		if err != nil && strings.Contains(err.Error(), "already enabled") {
			err = nil
		}
		return err
	}))
}

// rules are ours in the node's and the clients' namespaces, as the plugin tells them.
func (v *virtual) rules(node string) (string, error) {
	var all []string
	for _, s := range []space{v.space(node), v.client(node)} {
		err := s.do(func() error {
			out, err := exec.Command("nft", "list", "ruleset").Output() // it inherits the thread's namespace
			all = append(all, string(out))
			return err
		})
		if err != nil {
			return "", err
		}
	}
	return strings.Join(all, "\n"), nil
}

func (v *virtual) status(node, page string) (string, error) {
	return pluginPage(v.lab, node, contract.StateRoot+"/net/net.sock", page)
}
