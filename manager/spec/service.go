package spec

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/swarm"
	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/manager/project"
)

// service is the whole of a service, flat, so that one glance shows what reaches Swarm. ForceUpdate and the label
// rolling.spec are left to plan, which knows what runs.
func (b *builder) service(s types.ServiceConfig) (swarm.ServiceSpec, []Note) {
	deploy := s.Deploy
	if deploy == nil {
		deploy = &types.DeployConfig{}
	}
	signal, grace, _ := project.Stop(s)
	endpoint, notes := b.endpoint(s, deploy)
	order, why := b.order(s, deploy)
	notes = append(notes, why...)
	return swarm.ServiceSpec{
		Annotations: swarm.Annotations{
			Name:   b.full(s.Name),
			Labels: b.serviceLabels(s.Name, deploy.Labels),
		},
		TaskTemplate: swarm.TaskSpec{
			ContainerSpec: &swarm.ContainerSpec{
				Image:           string(b.release.Images[project.ServiceName(s.Name)]),
				Labels:          b.containerLabels(s, deploy.Labels),
				Command:         s.Entrypoint,
				Args:            s.Command,
				Hostname:        s.Hostname,
				Env:             environment(s.Environment),
				Dir:             s.WorkingDir,
				User:            s.User,
				Groups:          s.GroupAdd,
				Init:            s.Init,
				StopSignal:      signal,
				StopGracePeriod: &grace,
				TTY:             s.Tty,
				OpenStdin:       s.StdinOpen,
				ReadOnly:        s.ReadOnly,
				Mounts:          b.mounts(s.Volumes),
				Healthcheck:     healthcheck(s.HealthCheck),
				Hosts:           hosts(s.ExtraHosts),
				DNSConfig:       dns(s),
				Configs:         b.configRefs(s),
				Secrets:         b.secretRefs(s),
				Sysctls:         nonEmpty(s.Sysctls),
				CapabilityAdd:   capabilities(s.CapAdd),
				CapabilityDrop:  capabilities(s.CapDrop),
				Ulimits:         ulimits(s.Ulimits),
				OomScoreAdj:     s.OomScoreAdj,
			},
			Resources:     resources(deploy.Resources),
			RestartPolicy: restartPolicy(deploy.RestartPolicy),
			Placement:     placement(deploy.Placement),
			Networks:      b.attachments(s),
			LogDriver:     logDriver(s.Logging),
			Runtime:       swarm.RuntimeContainer,
		},
		Mode:           b.mode(s.Name, deploy),
		UpdateConfig:   updateConfig(deploy.UpdateConfig, order),
		RollbackConfig: updateConfig(deploy.RollbackConfig, order),
		EndpointSpec:   endpoint,
	}, notes
}

func (b *builder) serviceLabels(short string, own map[string]string) map[string]string {
	labels := b.labels(own)
	labels[contract.Service] = short
	labels[contract.Release] = string(b.release.ID)
	if b.release.Commit != "" {
		labels[contract.Commit] = b.release.Commit
	}
	if b.adjust.Rollout != "" {
		labels[contract.Rollout] = b.adjust.Rollout
	}
	return labels
}

// containerLabels are few, since a change of one restarts tasks. The drain is among them because a node's agent sees the
// labels of its containers only; it changes the stop grace period anyway.
func (b *builder) containerLabels(s types.ServiceConfig, deploy map[string]string) map[string]string {
	labels := map[string]string{}
	maps.Copy(labels, s.Labels)
	labels[contract.Project] = string(b.project)
	labels[contract.Environment] = string(b.env.Name)
	labels[contract.Service] = s.Name
	labels[contract.Release] = string(b.release.ID)
	if drain := deploy[contract.Drain]; drain != "" {
		labels[contract.Drain] = drain
	}
	return labels
}

func (b *builder) mode(short string, deploy *types.DeployConfig) swarm.ServiceMode {
	if deploy.Mode == "global" {
		return swarm.ServiceMode{Global: &swarm.GlobalService{}}
	}
	n := b.replicas(short, deploy)
	return swarm.ServiceMode{Replicated: &swarm.ReplicatedService{Replicas: &n}}
}

func (b *builder) replicas(short string, deploy *types.DeployConfig) uint64 {
	if n, ok := b.adjust.Replicas[project.ServiceName(short)]; ok {
		return n
	}
	if deploy != nil && deploy.Replicas != nil {
		return uint64(*deploy.Replicas)
	}
	return 1
}

// attachments are sorted, and a service is found by its short name on each, as in a stack.
func (b *builder) attachments(s types.ServiceConfig) []swarm.NetworkAttachmentConfig {
	var all []swarm.NetworkAttachmentConfig
	for name, n := range sorted(joined(s)) {
		a := swarm.NetworkAttachmentConfig{Target: b.target(name)}
		if n != nil {
			a.Aliases, a.DriverOpts = slices.Clone(n.Aliases), nonEmpty(n.DriverOpts)
		}
		a.Aliases = append(a.Aliases, s.Name)
		slices.Sort(a.Aliases)
		a.Aliases = slices.Compact(a.Aliases)
		all = append(all, a)
	}
	slices.SortFunc(all, func(a, b swarm.NetworkAttachmentConfig) int { return cmp.Compare(a.Target, b.Target) })
	return all
}

// endpoint takes dnsrr, unless the file says otherwise, on rolling/net, and on a network that somebody else made, whose
// driver the file does not say: a virtual address takes one more from the pool, which may be cut to the containers' number.
func (b *builder) endpoint(s types.ServiceConfig, deploy *types.DeployConfig) (*swarm.EndpointSpec, []Note) {
	e := &swarm.EndpointSpec{Mode: swarm.ResolutionMode(deploy.EndpointMode), Ports: ports(s.Ports)}
	if e.Mode != "" {
		return e, nil
	}
	ours := slices.ContainsFunc(slices.Collect(maps.Keys(joined(s))), func(name string) bool {
		n := b.env.Model.Networks[name]
		return bool(n.External) || n.Driver == contract.PluginNet
	})
	ingress := slices.ContainsFunc(e.Ports, func(p swarm.PortConfig) bool { return p.PublishMode == swarm.PortConfigPublishModeIngress })
	e.Mode = swarm.ResolutionModeVIP
	switch {
	case ours && ingress:
		return e, []Note{{s.Name, "endpoint mode vip, since a port is published in ingress mode: its name " +
			"resolves to a virtual address, which takes one more from the pool of each of its networks"}}
	case ours:
		e.Mode = swarm.ResolutionModeDNSRR
	}
	return e, nil
}

// order is start-first unless that cannot work: the new task would wait for what the old one holds.
func (b *builder) order(s types.ServiceConfig, deploy *types.DeployConfig) (swarm.UpdateOrder, []Note) {
	if deploy.UpdateConfig != nil && deploy.UpdateConfig.Order != "" {
		return swarm.UpdateOrder(deploy.UpdateConfig.Order), nil
	}
	for _, p := range s.Ports {
		if p.Mode == "host" {
			return swarm.UpdateOrderStopFirst, []Note{{s.Name, fmt.Sprintf("stop-first: a new task would wait for port %s of the node, which the old one holds", orElse(p.Published, fmt.Sprint(p.Target)))}}
		}
	}
	if deploy.Mode == "global" {
		return swarm.UpdateOrderStartFirst, nil // how many nodes there are is not in the file
	}
	for name := range sorted(joined(s)) {
		has, known := capacity(b.env, name)
		if need := b.taken(name) + b.surge(s.Name, deploy); known && need > has {
			return swarm.UpdateOrderStopFirst, []Note{{s.Name, fmt.Sprintf("stop-first: network %s has %d addresses, and a start-first update needs %d", name, has, need)}}
		}
	}
	return swarm.UpdateOrderStartFirst, nil
}

// taken is how many tasks stand on a network when nothing is being updated.
func (b *builder) taken(network string) int {
	n := 0
	for _, s := range b.env.Model.Services {
		if _, on := joined(s)[network]; on && (s.Deploy == nil || s.Deploy.Mode != "global") {
			n += int(b.replicas(s.Name, s.Deploy))
		}
	}
	return n
}

// surge is how many tasks more a start-first update of the service runs at once.
func (b *builder) surge(short string, deploy *types.DeployConfig) int {
	n, parallelism := int(b.replicas(short, deploy)), 1
	if u := deploy.UpdateConfig; u != nil && u.Parallelism != nil {
		parallelism = int(*u.Parallelism)
	}
	if parallelism == 0 {
		return n // Swarm: all at once
	}
	return min(n, parallelism)
}

// updateConfig always pauses on failure: rolling back is the manager's part, since Swarm's own keeps one release only,
// forgets it at the next write, and restores an old count.
func updateConfig(u *types.UpdateConfig, order swarm.UpdateOrder) *swarm.UpdateConfig {
	c := &swarm.UpdateConfig{Parallelism: 1, FailureAction: swarm.UpdateFailureActionPause, Monitor: DefaultMonitor, Order: order}
	if u == nil {
		return c
	}
	if u.Parallelism != nil {
		c.Parallelism = *u.Parallelism
	}
	if u.Monitor > 0 {
		c.Monitor = time.Duration(u.Monitor)
	}
	if u.Order != "" {
		c.Order = swarm.UpdateOrder(u.Order)
	}
	c.Delay, c.MaxFailureRatio = time.Duration(u.Delay), u.MaxFailureRatio
	return c
}

func capabilities(names []string) []string {
	var all []string
	for _, n := range names {
		n = strings.ToUpper(n)
		if n != "ALL" && !strings.HasPrefix(n, "CAP_") {
			n = "CAP_" + n
		}
		all = append(all, n)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func ulimits(m map[string]*types.UlimitsConfig) []*container.Ulimit {
	var all []*container.Ulimit
	for name, u := range sorted(m) {
		limit := &container.Ulimit{Name: name, Soft: int64(u.Soft), Hard: int64(u.Hard)}
		if u.Single != 0 {
			limit.Soft, limit.Hard = int64(u.Single), int64(u.Single)
		}
		all = append(all, limit)
	}
	return all
}
