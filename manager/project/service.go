package project

import (
	"math"
	"net/netip"
	"regexp"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/format"
	"github.com/compose-spec/compose-go/v2/types"
	"go.yaml.in/yaml/v4"
)

var (
	signalPattern = regexp.MustCompile(`^(SIG[A-Z0-9+-]+|[0-9]{1,2})$`)
	capPattern    = regexp.MustCompile(`^(?i:(CAP_)?[A-Z_]+)$`)
	modePattern   = regexp.MustCompile(`^(0o?)?[0-7]{1,4}$`)
	idPattern     = regexp.MustCompile(`^[0-9]+$`)
	portPattern   = regexp.MustCompile(`^[0-9]{1,5}$`)
)

// forever bounds durations that have no bound of their own: 100 days.
const forever = 100 * 24 * time.Hour

// service is what a Compose service may say: what reaches Swarm, and what would not.
func service() rule {
	return object(keys{
		"image":             image,
		"command":           words(),
		"entrypoint":        words(),
		"environment":       pairs(true, nil),
		"labels":            pairs(false, containerLabel),
		"deploy":            deploy(),
		"networks":          byKind("a list or a mapping", nil, listOf(reference("networks")), named(referTo("networks"), orNothing(serviceNetwork()))),
		"ports":             listOf(byKind("a port", portShort, nil, portLong())),
		"volumes":           listOf(byKind("a volume", volumeShort, nil, volumeLong())),
		"configs":           listOf(byKind("a config", reference("configs"), nil, fileReference("configs"))),
		"secrets":           listOf(byKind("a secret", reference("secrets"), nil, fileReference("secrets"))),
		"healthcheck":       healthcheck(),
		"logging":           object(keys{"driver": word(), "options": named(nil, orNothing(scalar()))}, nil),
		"stop_signal":       matching("a signal such as SIGTERM", signalPattern),
		"stop_grace_period": span(0, forever),
		"hostname":          word(),
		"user":              scalar(),
		"group_add":         listOf(scalar()),
		"working_dir":       word(),
		"init":              boolean(),
		"tty":               boolean(),
		"stdin_open":        boolean(),
		"read_only":         boolean(),
		"cap_add":           listOf(matching("a capability such as NET_BIND_SERVICE", capPattern)),
		"cap_drop":          listOf(matching("a capability such as ALL", capPattern)),
		"sysctls":           pairs(true, nil),
		"ulimits":           named(nil, byKind("a number or {soft, hard}", whole(-1, math.MaxInt64), nil, ulimit)),
		"extra_hosts":       extraHosts(),
		"dns":               byKind("an address or a list", address, listOf(address), nil),
		"dns_search":        words(),
		"dns_opt":           listOf(word()),
		"oom_score_adj":     whole(-1000, 1000),
	}, serviceDrops)
}

func image(w *walk, at string, n *yaml.Node) {
	value(strTag, "an image", func(s string) string {
		if s == "" || strings.ContainsAny(s, " \t\n") {
			return "want an image such as registry.example/orders/web"
		}
		return ""
	})(w, at, n)
}

func ulimit(w *walk, at string, n *yaml.Node) {
	object(keys{"soft": whole(-1, math.MaxInt64), "hard": whole(-1, math.MaxInt64)}, nil)(w, at, n)
	for _, key := range []string{"soft", "hard"} {
		if child(n, key) == nil {
			w.say(join(at, key), "want soft and hard, or one number for both")
		}
	}
}

// referTo checks the names of a mapping against what the file declares.
func referTo(kind string) func(w *walk, at, name string) {
	return func(w *walk, at, name string) { w.refer(at, kind, name) }
}

// defaultNetwork is the one that a service without networks joins, declared or not, as in a stack file.
const defaultNetwork = "default"

func serviceNetwork() rule {
	return object(keys{
		"aliases":     listOf(word()),
		"driver_opts": named(nil, orNothing(scalar())),
	}, drops{
		"ipv4_address":           "a task has no fixed address; give the network a range (networks.X.x-rolling.range)",
		"ipv6_address":           "IPv6 addresses are derived from IPv4 ones (networks.X.x-rolling.ipv6)",
		"link_local_ips":         "leave it out",
		"mac_address":            "the MAC address is derived from the IPv4 one",
		"priority":               "leave it out",
		"gw_priority":            "leave it out",
		"interface_name":         "leave it out",
		"use_service_name_alias": "a service is always found by its name",
	})
}

// maxPorts bounds a range of ports: every one becomes an entry of its own in Swarm's store.
const maxPorts = 256

func portShort(w *walk, at string, n *yaml.Node) {
	ports, err := types.ParsePortConfig(n.Value)
	if err != nil {
		w.say(at, "%q: %s", n.Value, err)
		return
	}
	if len(ports) > maxPorts {
		w.say(at, "%q: %d ports: want %d or fewer, since Swarm keeps each in the service", n.Value, len(ports), maxPorts)
		return
	}
	for _, p := range ports {
		if p.HostIP != "" {
			w.say(at, "Swarm would drop the host address %s: a port is published on every node, or on those with a task (mode: host)", p.HostIP)
			return
		}
	}
}

func portLong() rule {
	return func(w *walk, at string, n *yaml.Node) {
		object(keys{
			"name":      word(),
			"target":    whole(1, 65535),
			"published": matching("a port", portPattern),
			"protocol":  oneOf("protocol", "tcp", "udp", "sctp"),
			"mode":      oneOf("mode", "ingress", "host"),
		}, drops{
			"host_ip":      "a port is published on every node, or on those with a task (mode: host)",
			"app_protocol": "leave it out",
		})(w, at, n)
		if child(n, "target") == nil {
			w.say(join(at, "target"), "want the port inside the container")
		}
	}
}

func volumeShort(w *walk, at string, n *yaml.Node) {
	v, err := format.ParseVolume(n.Value)
	if err != nil {
		w.say(at, "%q: %s", n.Value, err)
		return
	}
	w.mount(at, v.Type, v.Source, v.Target)
}

func volumeLong() rule {
	return func(w *walk, at string, n *yaml.Node) {
		object(keys{
			"type":      oneOf("type", types.VolumeTypeVolume, types.VolumeTypeBind, types.VolumeTypeTmpfs),
			"source":    word(),
			"target":    word(),
			"read_only": boolean(),
			"bind":      object(keys{"propagation": oneOf("propagation", "rprivate", "private", "rshared", "shared", "rslave", "slave")}, bindDrops),
			"volume":    object(keys{"nocopy": boolean(), "subpath": word()}, drops{"labels": "put labels under volumes.X.labels"}),
			"tmpfs":     object(keys{"size": size(), "mode": matching("a file mode such as 01777", modePattern)}, nil),
		}, drops{"consistency": "leave it out", "image": "Swarm mounts no images"})(w, at, n)
		source, target, kind := child(n, "source"), child(n, "target"), child(n, "type")
		if kind == nil || kind.Kind != yaml.ScalarNode {
			w.say(join(at, "type"), "want volume, bind or tmpfs")
			return
		}
		w.mount(at, kind.Value, scalarOf(source), scalarOf(target))
	}
}

func scalarOf(n *yaml.Node) string {
	if n == nil || n.Kind != yaml.ScalarNode {
		return ""
	}
	return n.Value
}

// mount checks what both ways to write a volume share.
func (w *walk) mount(at, kind, source, target string) {
	if !strings.HasPrefix(target, "/") {
		w.say(at, "want an absolute path inside the container, got %q", target)
	}
	switch kind {
	case types.VolumeTypeBind:
		if !strings.HasPrefix(source, "/") {
			w.say(at, "%q: want an absolute path that every node has: a relative one means a folder of the machine where the file is read", source)
		}
	case types.VolumeTypeVolume:
		if source != "" {
			w.refer(at, "volumes", source)
		}
	case types.VolumeTypeTmpfs:
		if source != "" {
			w.say(at, "a tmpfs has no source")
		}
	}
}

func fileReference(kind string) rule {
	return func(w *walk, at string, n *yaml.Node) {
		object(keys{
			"source": reference(kind),
			"target": word(),
			"uid":    matching("a number in quotes", idPattern),
			"gid":    matching("a number in quotes", idPattern),
			"mode":   matching("a file mode such as 0444", modePattern),
		}, nil)(w, at, n)
		if child(n, "source") == nil {
			w.say(join(at, "source"), "want the name of one of the file's %s", kind)
		}
	}
}

func healthcheck() rule {
	return object(keys{
		"test":           healthTest,
		"interval":       span(0, forever),
		"timeout":        span(0, forever),
		"start_period":   span(0, forever),
		"start_interval": span(0, forever),
		"retries":        whole(0, 1000),
		"disable":        boolean(),
	}, nil)
}

func healthTest(w *walk, at string, n *yaml.Node) {
	byKind("a command or a list", word(), listOf(word()), nil)(w, at, n)
	if n.Kind == yaml.SequenceNode && len(n.Content) > 0 {
		if first := scalarOf(n.Content[0]); first != "CMD" && first != "CMD-SHELL" && first != "NONE" {
			w.say(at, "%q: want CMD, CMD-SHELL or NONE first", first)
		}
	}
}

func extraHosts() rule {
	known := func(w *walk, at, host, addr string) {
		if host == "" || strings.ContainsAny(host, ":=") {
			w.say(at, "%q: want a host name", host)
		} else if _, err := netip.ParseAddr(strings.Trim(addr, "[]")); err != nil {
			w.say(at, "%q: want an address", addr)
		}
	}
	return byKind("a list or a mapping", nil,
		listOf(value(strTag, "HOST=ADDRESS", nil).and(func(w *walk, at string, n *yaml.Node) {
			host, addr, ok := strings.Cut(n.Value, "=")
			if !ok {
				host, addr, _ = strings.Cut(n.Value, ":")
			}
			known(w, at, host, addr)
		})),
		func(w *walk, at string, n *yaml.Node) {
			for host, addr := range entries(n) {
				known(w, join(at, host), host, scalarOf(addr))
			}
		})
}

// and applies another rule where this one had nothing to say.
func (r rule) and(next rule) rule {
	return func(w *walk, at string, n *yaml.Node) {
		before := len(w.problems)
		if r(w, at, n); len(w.problems) == before {
			next(w, at, n)
		}
	}
}

func address(w *walk, at string, n *yaml.Node) {
	value(strTag, "an address", func(s string) string {
		if _, err := netip.ParseAddr(s); err != nil {
			return "want an address, got " + got(n)
		}
		return ""
	})(w, at, n)
}
