package project

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/rolling-swarm/rolling/internal/contract"
	"go.yaml.in/yaml/v4"
)

// DrainSignal is what a service with rolling.drain gets as its stop signal: the kernel ignores it by default, so the
// process goes on until its node's agent sends the real one.
const DrainSignal = "SIGURG"

// DefaultGrace is how long Swarm waits after the stop signal unless told.
const DefaultGrace = 10 * time.Second

// merged checks what can be seen only once an environment's services are merged.
func (w *walk) merged(env *Environment, x *yaml.Node) {
	for _, name := range slices.Sorted(maps.Keys(env.Model.Networks)) {
		w.network(env, name, overlayPath(x, env.Name, "networks", name))
	}
	for _, name := range slices.Sorted(maps.Keys(env.Model.Services)) {
		s := env.Model.Services[name]
		at := overlayPath(x, env.Name, "services", name)
		w.drain(at, s)
		w.ports(at, s)
	}
}

// Stop says how a task of the service ends: the signal, and how long until it is killed.
func Stop(s types.ServiceConfig) (signal string, grace, drain time.Duration) {
	signal, grace = s.StopSignal, DefaultGrace
	if s.StopGracePeriod != nil {
		grace = time.Duration(*s.StopGracePeriod)
	}
	if s.Deploy != nil {
		drain, _ = time.ParseDuration(s.Deploy.Labels[contract.Drain])
	}
	if drain > 0 && signal != DrainSignal {
		// The file gives the program's own grace. One that names the signal itself, as a hand-written stack file does,
		// has already counted the drain in.
		signal, grace = DrainSignal, grace+drain
	}
	return signal, grace, drain
}

func (w *walk) drain(at string, s types.ServiceConfig) {
	_, grace, drain := Stop(s)
	label := at + ".deploy.labels." + contract.Drain
	switch {
	case drain > MaxStop: // said by the label's own rule
	case drain > 0 && s.StopSignal != "" && s.StopSignal != DrainSignal:
		w.say(at+".stop_signal", "%q: with %s the stop signal is %s, and SIGTERM follows after the drain; leave it out", s.StopSignal, contract.Drain, DrainSignal)
	case drain > 0 && grace <= drain:
		w.say(at+".stop_grace_period", "%s: with stop_signal %s it is the whole time, so want more than the drain of %s", grace, DrainSignal, drain)
	case drain > 0 && grace > MaxStop:
		w.say(label, "drain and grace together are %s: want %s or less, since Swarm starts the next task beside this one after 60 s", grace, MaxStop)
	case s.StopSignal == DrainSignal && drain == 0:
		w.say(at+".stop_signal", "%s stops nothing by itself: want the label %s too", DrainSignal, contract.Drain)
	}
}

func (w *walk) ports(at string, s types.ServiceConfig) {
	host := slices.IndexFunc(s.Ports, func(p types.ServicePortConfig) bool { return p.Mode == "host" })
	ingress := slices.IndexFunc(s.Ports, func(p types.ServicePortConfig) bool { return p.Mode != "host" })
	if s.Deploy == nil {
		return
	}
	if u := s.Deploy.UpdateConfig; host >= 0 && u != nil && u.Order == "start-first" {
		w.say(at+".deploy.update_config.order", "a new task would wait for the port %d that the old one holds: want stop-first, or leave it out", s.Ports[host].Target)
	}
	if ingress >= 0 && s.Deploy.EndpointMode == "dnsrr" {
		w.say(at+".deploy.endpoint_mode", "port %d is published in ingress mode, which needs vip: want mode: host on the port, or no dnsrr", s.Ports[ingress].Target)
	}
}

// Option gives a rolling.* setting of one of the file's networks, wherever it stands; name is the full key.
func (e Environment) Option(network, name string) string {
	if v := e.Networks[network][name]; v != "" {
		return v
	}
	return e.Model.Networks[network].DriverOpts[name]
}

// network checks what rolling/net needs from a network that the manager makes.
func (w *walk) network(env *Environment, name, at string) {
	n := env.Model.Networks[name]
	if n.External {
		return
	}
	if n.Driver != contract.PluginNet {
		if len(env.Networks[name]) > 0 {
			w.say(at+".x-rolling", "only %s reads these keys: want driver: %s", contract.PluginNet, contract.PluginNet)
		}
		return
	}
	if d := n.Ipam.Driver; d != "" && d != contract.PluginIPAM {
		w.say(at+".ipam.driver", "%q: %s works only with %s; leave it out", d, contract.PluginNet, contract.PluginIPAM)
	}
	if n.EnableIPv6 != nil && *n.EnableIPv6 {
		w.say(at+".enable_ipv6", "IPv6 addresses are derived from IPv4 ones: use x-rolling.ipv6")
	}
	if env.Option(name, contract.Mode) == "l2" {
		for _, need := range []string{contract.Parent, contract.Gateway} {
			if env.Option(name, need) == "" {
				w.say(at+".x-rolling."+strings.TrimPrefix(need, contract.Prefix), "mode l2 needs it")
			}
		}
	}
	w.pool(env, name, at)
}

func (w *walk) pool(env *Environment, name, at string) {
	config := env.Model.Networks[name].Ipam.Config
	for i, c := range config {
		if c.IPRange != "" {
			w.say(fmt.Sprintf("%s.ipam.config[%d].ip_range", at, i), "use x-rolling.range")
		}
		if c.Gateway != "" {
			w.say(fmt.Sprintf("%s.ipam.config[%d].gateway", at, i), "use x-rolling.gateway")
		}
	}
	switch {
	case len(config) > 1:
		w.say(at+".ipam.config", "%d subnets: want one, since a new leader of the Swarm asks for an address in any of them", len(config))
	case len(config) == 0 && env.Option(name, contract.Pool) == "":
		w.say(at, "want a subnet (ipam.config) or a pool (x-rolling.pool)")
	case len(config) == 1 && env.Option(name, contract.Range) != "":
		p, err := netip.ParsePrefix(config[0].Subnet)
		first, last, errRange := ParseRange(env.Option(name, contract.Range))
		if err == nil && errRange == nil && (!p.Contains(first) || !p.Contains(last)) {
			w.say(at+".x-rolling.range", "%s-%s: not inside the subnet %s", first, last, p)
		}
	}
}
