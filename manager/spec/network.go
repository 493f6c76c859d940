package spec

import (
	"math"
	"net/netip"
	"slices"
	"strconv"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/moby/moby/api/types/swarm"
	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/manager/project"
)

// joined are the networks of a service by their names in the file: the default one when it names none, as in a stack.
func joined(s types.ServiceConfig) map[string]*types.ServiceNetworkConfig {
	if len(s.Networks) == 0 {
		return map[string]*types.ServiceNetworkConfig{"default": nil}
	}
	return s.Networks
}

// networks makes those that a service joins, and lists the external ones.
func (b *builder) networks() (made []swarm.NetworkSpec, external []string) {
	used := map[string]types.NetworkConfig{}
	for _, s := range b.env.Model.Services {
		for name := range joined(s) {
			used[name] = b.env.Model.Networks[name]
		}
	}
	for name, n := range sorted(used) {
		if n.External {
			external = append(external, externalName(name, n.Name))
		} else {
			made = append(made, b.network(name, n))
		}
	}
	slices.Sort(external)
	return made, slices.Compact(external)
}

func externalName(key, name string) string {
	if name != "" {
		return name
	}
	return key
}

// target is how a service's attachment names a network; who writes puts the id in its place.
func (b *builder) target(name string) string {
	if n := b.env.Model.Networks[name]; n.External {
		return externalName(name, n.Name)
	}
	return b.full(name)
}

func (b *builder) network(name string, n types.NetworkConfig) swarm.NetworkSpec {
	driver := n.Driver
	if driver == "" {
		driver = "overlay"
	}
	made := swarm.NetworkSpec{
		Annotations:         swarm.Annotations{Name: b.full(name), Labels: b.labels(n.Labels)},
		DriverConfiguration: &swarm.Driver{Name: driver, Options: b.driverOptions(name, n)},
		IPv6Enabled:         n.EnableIPv6 != nil && *n.EnableIPv6,
		Internal:            n.Internal,
		Attachable:          n.Attachable,
		IPAMOptions:         b.ipam(name, n),
		Scope:               "swarm",
	}
	made.Labels[contract.Spec] = Fingerprint(NetworkFields(made))
	return made
}

// driverOptions are the file's, plus what rolling/net must know on every node: whose the network is.
func (b *builder) driverOptions(name string, n types.NetworkConfig) map[string]string {
	options := map[string]string{}
	for key, v := range n.DriverOpts {
		options[key] = v
	}
	if n.Driver == contract.PluginNet {
		b.own(options, name, contract.NetworkOptions())
	}
	return nonEmpty(options)
}

// own adds the settings of x-rolling that the reader knows, and the names of project and environment.
func (b *builder) own(options map[string]string, name string, known []string) {
	for key, v := range b.env.Networks[name] {
		if slices.Contains(known, key) {
			options[key] = v
		}
	}
	options[contract.Project] = string(b.project)
	options[contract.Environment] = string(b.env.Name)
}

func (b *builder) ipam(name string, n types.NetworkConfig) *swarm.IPAMOptions {
	ipam := swarm.IPAMOptions{Driver: swarm.Driver{Name: n.Ipam.Driver}}
	options := map[string]string{}
	for key, v := range n.Ipam.Options {
		options[key] = v
	}
	if n.Driver == contract.PluginNet {
		ipam.Driver.Name = contract.PluginIPAM
		b.own(options, name, contract.IPAMOptions())
	}
	ipam.Driver.Options = nonEmpty(options)
	for _, c := range n.Ipam.Config {
		// The project file's rules have parsed all three; an absent one stays the zero value.
		subnet, _ := netip.ParsePrefix(c.Subnet)
		within, _ := netip.ParsePrefix(c.IPRange)
		gateway, _ := netip.ParseAddr(c.Gateway)
		ipam.Configs = append(ipam.Configs, swarm.IPAMConfig{Subnet: subnet, Range: within, Gateway: gateway})
	}
	if ipam.Driver.Name == "" && ipam.Driver.Options == nil && len(ipam.Configs) == 0 {
		return nil
	}
	return &ipam
}

// NetworkFields gives a network's settings as flat text under the names of a project file. Labels are not among them:
// nothing but docker network ls reads them, and Swarm cannot change them.
func NetworkFields(n swarm.NetworkSpec) map[string]string {
	fields := map[string]string{
		"internal":    strconv.FormatBool(n.Internal),
		"attachable":  strconv.FormatBool(n.Attachable),
		"enable_ipv6": strconv.FormatBool(n.IPv6Enabled),
	}
	if d := n.DriverConfiguration; d != nil {
		fields["driver"] = d.Name
		for key, v := range d.Options {
			fields["driver_opts."+key] = v
		}
	}
	if n.IPAMOptions == nil {
		return fields
	}
	if name := n.IPAMOptions.Driver.Name; name != "" {
		fields["ipam.driver"] = name
	}
	for key, v := range n.IPAMOptions.Driver.Options {
		fields["ipam.options."+key] = v
	}
	for i, c := range n.IPAMOptions.Configs {
		at := "ipam.config[" + strconv.Itoa(i) + "]."
		if c.Subnet.IsValid() {
			fields[at+"subnet"] = c.Subnet.String()
		}
		if c.Range.IsValid() {
			fields[at+"ip_range"] = c.Range.String()
		}
		if c.Gateway.IsValid() {
			fields[at+"gateway"] = c.Gateway.String()
		}
	}
	return fields
}

func nonEmpty(m map[string]string) map[string]string {
	if len(m) == 0 {
		return nil
	}
	return m
}

// capacity is how many addresses a network can ever give to tasks, as far as the file tells: ok is false when only the
// IPAM driver knows.
func capacity(e project.Environment, name string) (addresses int, ok bool) {
	n, addresses := e.Model.Networks[name], math.MaxInt
	if n.External || n.Driver != contract.PluginNet {
		return 0, false
	}
	if len(n.Ipam.Config) == 1 {
		if p, err := netip.ParsePrefix(n.Ipam.Config[0].Subnet); err == nil && p.Addr().Is4() {
			addresses = 1 << (32 - p.Bits()) // a routed pool has neither network nor broadcast address
		}
	}
	if quota, err := strconv.Atoi(e.Option(name, contract.Quota)); err == nil {
		addresses = min(addresses, quota)
	}
	if first, last, err := project.ParseRange(e.Option(name, contract.Range)); err == nil {
		a, b := first.As4(), last.As4()
		addresses = min(addresses, int(number(b)-number(a))+1)
	}
	return addresses, addresses != math.MaxInt
}

func number(a [4]byte) uint32 {
	return uint32(a[0])<<24 | uint32(a[1])<<16 | uint32(a[2])<<8 | uint32(a[3])
}
