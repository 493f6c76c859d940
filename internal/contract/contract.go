// Package contract holds the names that two programs, a user or a test must agree on: labels, plugin
// aliases, option keys, ports and folders. It knows no behaviour. Changing a value here breaks users; see docs/adr.
package contract

// Plugin aliases: the same on every node for ever, since Swarm matches drivers on the exact name:tag.
const (
	PluginIPAM = "rolling/ipam:latest"
	PluginNet  = "rolling/net:latest"
)

// Plugins are the aliases of all.
func Plugins() []string { return []string{PluginIPAM, PluginNet, PluginLog, PluginMetrics} }

// StateRoot is the folder on the host that holds one folder of state a plugin, and Rolling's other host state.
const StateRoot = "/var/lib/rolling"

// Labels on services, and keys of a network's driver_opts and ipam-opts. All begin with Prefix.
const (
	Prefix = "rolling."

	Project     = "rolling.project"
	Environment = "rolling.environment"
	Service     = "rolling.service"
	Release     = "rolling.release"
	Commit      = "rolling.commit"
	Rollout     = "rolling.rollout"
	Spec        = "rolling.spec" // fingerprint of what the manager wrote: other than the object's own = changed by hand

	Mode      = "rolling.mode"
	Parent    = "rolling.parent"
	Attach    = "rolling.attach" // of mode l2: bridge or macvlan
	MTU       = "rolling.mtu"
	Isolation = "rolling.isolation"
	Announce  = "rolling.announce"
	// AnnounceWhen says from when on an address is announced: ready (its container runs), or healthy (its check says so).
	AnnounceWhen = "rolling.announce-when"
	IPv6         = "rolling.ipv6"

	Pool       = "rolling.pool"
	Block      = "rolling.block"
	Quota      = "rolling.quota"
	Range      = "rolling.range"
	Quarantine = "rolling.quarantine"
	Gateway    = "rolling.gateway"

	DiscoveryNginx     = "rolling.discovery.nginx"
	DiscoveryZooKeeper = "rolling.discovery.zookeeper"
	DiscoveryWeight    = "rolling.discovery.weight"
	DiscoveryNetwork   = "rolling.discovery.network" // which network, where a service has several of rolling/net
	AllowFrom          = "rolling.allow-from"
	Drain              = "rolling.drain"
	Probe              = "rolling.probe" // PORT or PORT/PATH: the manager asks there over HTTP before a new task counts as running
)

// NetworkOptions are the keys that a network's driver_opts may carry (docker network create -o).
func NetworkOptions() []string {
	return []string{Project, Environment, Mode, Parent, Attach, MTU, Isolation, Announce, AnnounceWhen, IPv6, Gateway}
}

// IPAMOptions are the keys that a network's IPAM options may carry (docker network create --ipam-opt).
func IPAMOptions() []string {
	return []string{Pool, Project, Environment, Block, Quota, Range, Quarantine, Gateway}
}

// BGPPort is where the speakers inside a Swarm listen; 179 stays free for a site's own BIRD or FRR.
const BGPPort = 1790

// PolicyPort is where the agents of the Swarm's managers hand the policy (internal/permits) to those of the other nodes.
const PolicyPort = 1791

// ASN is the private AS number (RFC 6996) that the Swarm's speakers share unless a setting says otherwise.
const ASN = 64512

// RouteProtocol marks our routes in the kernel. 82 is free in iproute2's rt_protos (188, tried first, prints as ospf).
const RouteProtocol = 82

// BuildVariable is the variable in a plugin's config.json that names the build, so that an agent can tell an
// installed plugin from the one in its image.
const BuildVariable = "ROLLING_BUILD"

// FrameVariable names, in the config.json of a plugin whose program a launcher runs, all that the engine holds of it and
// that only a new creation changes: where it is the same, another build or setting is laid beside it.
const FrameVariable = "ROLLING_FRAME"
