package kernel

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/coreos/go-iptables/iptables"

	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// Bridge lets the firewall pass what these segments' bridges carry from port to port: a switch forwards, whatever policy
// is laid down for packets that the node routes. Frames come by there if the kernel shows them (br_netfilter, which the
// engine loads).
func (g *Gate) Bridge(segments []topology.Segment) error {
	if possible, _ := frames(); !possible { // our bridges ask for it whatever others do
		segments = nil
	}
	for _, path := range g.dockersFirst() {
		ipt, err := g.program(path)
		if err != nil {
			return fmt.Errorf("let bridged frames pass: %w", err)
		}
		if err := bridge(ipt, segments); err != nil {
			return fmt.Errorf("let bridged frames pass (%s): %w", path, err)
		}
		segments = nil // one program does it, and the other has nothing of ours
	}
	return nil
}

func bridge(ipt *iptables.IPTables, segments []topology.Segment) error {
	have, err := ipt.List(table, forwardChain)
	if err != nil {
		return fmt.Errorf("list %s: %w", forwardChain, err)
	}
	var want []string
	for _, g := range segments {
		if g.Attach == topology.Bridged {
			want = append(want, g.Bridge())
		}
	}
	var problems []error
	for _, line := range have {
		if name, ours := bridgeOf(line); ours && !slices.Contains(want, name) {
			problems = append(problems, ipt.DeleteIfExists(table, forwardChain, bridgeRule(name)...))
		}
	}
	for _, name := range want {
		if !slices.ContainsFunc(have, func(line string) bool { had, ours := bridgeOf(line); return ours && had == name }) {
			problems = append(problems, ipt.Insert(table, forwardChain, 1, bridgeRule(name)...))
		}
	}
	return errors.Join(problems...)
}

func bridgeRule(name string) []string { return []string{"-i", name, "-o", name, "-j", "ACCEPT"} }

// bridgeOf reads a rule of ours as iptables -S prints it.
func bridgeOf(line string) (name string, ours bool) {
	f := strings.Fields(line)
	if len(f) < 4 || f[2] != "-i" || !topology.OwnBridge(f[3]) {
		return "", false
	}
	return f[3], line == "-A "+forwardChain+" "+strings.Join(bridgeRule(f[3]), " ")
}
