package spec

import (
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/api/types/swarm"
	"github.com/rolling-swarm/rolling/manager/project"
)

func environment(m types.MappingWithEquals) []string {
	var all []string
	for key, v := range sorted(m) {
		if v != nil {
			all = append(all, key+"="+*v)
		}
	}
	return all
}

func healthcheck(h *types.HealthCheckConfig) *container.HealthConfig {
	switch {
	case h == nil:
		return nil
	case h.Disable:
		return &container.HealthConfig{Test: []string{"NONE"}}
	}
	c := &container.HealthConfig{
		Test:          h.Test,
		Interval:      span(h.Interval),
		Timeout:       span(h.Timeout),
		StartPeriod:   span(h.StartPeriod),
		StartInterval: span(h.StartInterval),
	}
	if h.Retries != nil {
		c.Retries = int(*h.Retries)
	}
	return c
}

func span(d *types.Duration) time.Duration {
	if d == nil {
		return 0
	}
	return time.Duration(*d)
}

func spanPointer(d *types.Duration) *time.Duration {
	if d == nil {
		return nil
	}
	s := time.Duration(*d)
	return &s
}

// hosts are in the order of /etc/hosts, as Swarm wants them: the address first.
func hosts(list types.HostsList) []string {
	var all []string
	for name, addresses := range sorted(list) {
		for _, a := range addresses {
			all = append(all, a+" "+name)
		}
	}
	return all
}

func dns(s types.ServiceConfig) *swarm.DNSConfig {
	if len(s.DNS)+len(s.DNSSearch)+len(s.DNSOpts) == 0 {
		return nil
	}
	c := &swarm.DNSConfig{Search: s.DNSSearch, Options: s.DNSOpts}
	for _, text := range s.DNS {
		if a, err := netip.ParseAddr(text); err == nil { // the project file's rules refuse any other
			c.Nameservers = append(c.Nameservers, a)
		}
	}
	return c
}

func ports(list []types.ServicePortConfig) []swarm.PortConfig {
	var all []swarm.PortConfig
	for _, p := range list {
		published, _ := strconv.ParseUint(p.Published, 10, 16) // empty: Swarm picks one
		all = append(all, swarm.PortConfig{
			Name:          p.Name,
			Protocol:      network.IPProtocol(orElse(p.Protocol, "tcp")),
			TargetPort:    p.Target,
			PublishedPort: uint32(published),
			PublishMode:   swarm.PortConfigPublishMode(orElse(p.Mode, "ingress")),
		})
	}
	slices.SortFunc(all, swarm.PortConfig.Compare)
	return all
}

func resources(r types.Resources) *swarm.ResourceRequirements {
	if r.Limits == nil && r.Reservations == nil {
		return nil
	}
	out := &swarm.ResourceRequirements{}
	if l := r.Limits; l != nil {
		out.Limits = &swarm.Limit{NanoCPUs: nanoCPUs(l.NanoCPUs), MemoryBytes: int64(l.MemoryBytes), Pids: l.Pids}
	}
	if l := r.Reservations; l != nil {
		out.Reservations = &swarm.Resources{NanoCPUs: nanoCPUs(l.NanoCPUs), MemoryBytes: int64(l.MemoryBytes)}
		for _, g := range l.GenericResources {
			if d := g.DiscreteResourceSpec; d != nil {
				out.Reservations.GenericResources = append(out.Reservations.GenericResources,
					swarm.GenericResource{DiscreteResourceSpec: &swarm.DiscreteGenericResource{Kind: d.Kind, Value: d.Value}})
			}
		}
	}
	return out
}

// nanoCPUs goes by way of the shortest decimal: compose-go keeps a share as float32, and 0.1 times a billion would
// become 100000001.
func nanoCPUs(n types.NanoCPUs) int64 {
	f, _ := strconv.ParseFloat(strconv.FormatFloat(float64(n), 'f', -1, 32), 64)
	return int64(math.Round(f * 1e9))
}

func restartPolicy(r *types.RestartPolicy) *swarm.RestartPolicy {
	if r == nil {
		return nil
	}
	return &swarm.RestartPolicy{
		Condition:   swarm.RestartPolicyCondition(orElse(r.Condition, "any")),
		Delay:       spanPointer(r.Delay),
		MaxAttempts: r.MaxAttempts,
		Window:      spanPointer(r.Window),
	}
}

func placement(p types.Placement) *swarm.Placement {
	if len(p.Constraints)+len(p.Preferences) == 0 && p.MaxReplicas == 0 {
		return nil
	}
	out := &swarm.Placement{Constraints: p.Constraints, MaxReplicas: p.MaxReplicas}
	for _, preference := range p.Preferences {
		out.Preferences = append(out.Preferences, swarm.PlacementPreference{Spread: &swarm.SpreadOver{SpreadDescriptor: preference.Spread}})
	}
	return out
}

func logDriver(l *types.LoggingConfig) *swarm.Driver {
	if l == nil {
		return nil
	}
	return &swarm.Driver{Name: l.Driver, Options: nonEmpty(l.Options)}
}

func (b *builder) mounts(list []types.ServiceVolumeConfig) []mount.Mount {
	var all []mount.Mount
	for _, v := range list {
		m := mount.Mount{Type: mount.Type(orElse(v.Type, types.VolumeTypeVolume)), Source: v.Source, Target: v.Target, ReadOnly: v.ReadOnly}
		switch v.Type {
		case types.VolumeTypeBind:
			if v.Bind != nil && v.Bind.Propagation != "" {
				m.BindOptions = &mount.BindOptions{Propagation: mount.Propagation(v.Bind.Propagation)}
			}
		case types.VolumeTypeTmpfs:
			if v.Tmpfs != nil {
				m.TmpfsOptions = &mount.TmpfsOptions{SizeBytes: int64(v.Tmpfs.Size)}
				if v.Tmpfs.Mode != 0 {
					mode := types.FileMode(v.Tmpfs.Mode)
					set(&m.TmpfsOptions.Mode, &mode)
				}
			}
		default:
			b.volume(v, &m)
		}
		all = append(all, m)
	}
	slices.SortStableFunc(all, func(a, b mount.Mount) int { return strings.Compare(a.Target, b.Target) })
	return all
}

func (b *builder) volume(v types.ServiceVolumeConfig, m *mount.Mount) {
	if v.Source == "" {
		return // anonymous: it lives as long as the task
	}
	declared := b.env.Model.Volumes[v.Source]
	m.VolumeOptions = &mount.VolumeOptions{}
	if v.Volume != nil {
		m.VolumeOptions.NoCopy, m.VolumeOptions.Subpath = v.Volume.NoCopy, v.Volume.Subpath
	}
	if declared.External {
		m.Source = externalName(v.Source, declared.Name)
		return
	}
	m.Source = b.full(v.Source)
	m.VolumeOptions.Labels = map[string]string{StackNamespace: project.Namespace(b.project, b.env.Name)}
	for key, label := range declared.Labels {
		m.VolumeOptions.Labels[key] = label
	}
	if declared.Driver != "" || len(declared.DriverOpts) > 0 {
		m.VolumeOptions.DriverConfig = &mount.Driver{Name: declared.Driver, Options: declared.DriverOpts}
	}
}
