// Package lab is a Docker Swarm of several machines on one machine, made of namespaces. A node is a mount, UTS,
// IPC, PID and network namespace with an engine of its own; the LAN between the nodes is a bridge in a namespace
// without an uplink, whose router is the rest of the company. The package knows how to make such a Swarm, break
// it in every way a data centre breaks, look into it, and remove it without a trace.
// It refuses to know what a test wants to prove: no project, no plugin's inner life, no assertion.
//
// Root and Debian 12 or newer are needed. Nothing of the machine is changed but packages that are missing.
package lab

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
)

// Router is the name under which the LAN's own namespace is addressed wherever a node may be named.
const Router = "router"

const (
	// stateRoot holds one folder a lab; down removes it.
	stateRoot = "/var/lib/rolling-lab"
	// prefix begins the names of all namespaces and cgroups of labs.
	prefix = "rlab-"
	// maxNodes keeps addresses inside the LAN's /24: nodes are .21, .22, …
	maxNodes = 200
	mtu      = 1500
)

var (
	lanPrefix  = netip.MustParsePrefix("10.99.0.1/24")
	routerAddr = lanPrefix.Addr()
	// The LAN's IPv6 prefix: the last byte of an address is that of the IPv4 one.
	lanSix = netip.MustParsePrefix("fd00:10:99::/64")
)

// Lab is one lab of this machine. It holds no state of its own: everything is in the kernel and under the state
// folder, so any process may open the same lab.
type Lab struct {
	// Log hears what is going on; nil is silence. It is called from several goroutines.
	Log func(format string, args ...any)

	name   string
	config Config
	wrong  error // of the name or the environment; Up and every other effect return it
}

// Open names a lab and touches nothing.
func Open(name string) *Lab {
	c, err := ReadConfig()
	if err == nil {
		err = checkName(name)
	}
	return &Lab{name: name, config: c, wrong: err}
}

// Name is the lab's name.
func (l *Lab) Name() string { return l.name }

// Nodes names the nodes, managers first; none while the lab is down.
func (l *Lab) Nodes() []string {
	r, err := l.readRecord()
	if err != nil {
		return nil
	}
	return r.nodes()
}

// Managers names the nodes that are managers.
func (l *Lab) Managers() []string {
	r, err := l.readRecord()
	if err != nil {
		return nil
	}
	return r.nodes()[:r.Managers]
}

// Address is the node's address in the LAN, or the router's; the zero Addr for a name that is neither.
func (l *Lab) Address(node string) netip.Addr {
	if node == Router {
		return routerAddr
	}
	n, ok := number(node)
	if !ok {
		return netip.Addr{}
	}
	b := routerAddr.As4()
	b[3] = byte(20 + n)
	return netip.AddrFrom4(b)
}

// Address6 is the node's IPv6 address in the LAN, or the router's.
func (l *Lab) Address6(node string) netip.Addr {
	four := l.Address(node)
	if !four.IsValid() {
		return netip.Addr{}
	}
	b := lanSix.Addr().As16()
	b[15] = four.As4()[3]
	return netip.AddrFrom16(b)
}

// number reads the 3 of n3.
func number(node string) (int, bool) {
	digits, ok := strings.CutPrefix(node, "n")
	if !ok {
		return 0, false
	}
	n, err := strconv.Atoi(digits)
	if err != nil || n < 1 || n > maxNodes || strconv.Itoa(n) != digits {
		return 0, false
	}
	return n, true
}

// known refuses a node that this lab does not have.
func (l *Lab) known(node string) error {
	if l.wrong != nil {
		return l.wrong
	}
	r, err := l.readRecord()
	if err != nil {
		return err
	}
	for _, n := range r.nodes() {
		if n == node {
			return nil
		}
	}
	return fmt.Errorf("lab %s has no node %q: it has %s", l.name, node, strings.Join(r.nodes(), ", "))
}

func (l *Lab) logf(format string, args ...any) {
	if l.Log != nil {
		l.Log(format, args...)
	}
}

// The names that belong to a lab, in one place: down and the tests find what is left by them.

func (l *Lab) folder(parts ...string) string {
	return filepath.Join(append([]string{stateRoot, l.name}, parts...)...)
}

// spacePrefix begins the names of the lab's network namespaces. The dot keeps lab "a" apart from lab "a-b".
func (l *Lab) spacePrefix() string { return prefix + l.name + "." }

func (l *Lab) space(node string) string { return l.spacePrefix() + node }

func (l *Lab) cgroup(node string) string { return filepath.Join("/"+prefix+l.name, node) }

func (l *Lab) socket(node string) string { return l.folder(node, "host", "docker.sock") }
