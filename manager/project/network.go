package project

import (
	"fmt"
	"math"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/rolling-swarm/rolling/internal/contract"
	"go.yaml.in/yaml/v4"
)

var interfacePattern = regexp.MustCompile(`^[^/\s]{1,15}$`)

// optionRules are the rolling.* keys of networks: those that a network driver reads and those that an IPAM driver reads.
func optionRules() keys {
	return keys{
		contract.Mode:         oneOf("mode", "routed", "l2"),
		contract.Parent:       matching("the name of a network interface", interfacePattern),
		contract.Attach:       oneOf("way to attach", "bridge", "macvlan"),
		contract.MTU:          whole(576, 65535),
		contract.Isolation:    oneOf("isolation", "project", "open"),
		contract.Announce:     oneOf("announcement", "host", "aggregate"),
		contract.AnnounceWhen: oneOf("moment to announce", "ready", "healthy"),
		contract.IPv6:         prefix("a /96 such as fd00:10:201::/96", func(p netip.Prefix) bool { return p.Addr().Is6() && p.Bits() == 96 }),
		contract.Gateway:      address,
		contract.Pool:         matching("the name of a pool", objectPattern),
		contract.Block:        whole(8, 32),
		contract.Quota:        whole(1, math.MaxInt32),
		contract.Range:        addressRange,
		contract.Quarantine:   span(0, 24*time.Hour),
	}
}

func prefix(want string, good func(netip.Prefix) bool) rule {
	return value(strTag, want, func(s string) string {
		p, err := netip.ParsePrefix(s)
		if err != nil || !good(p) {
			return fmt.Sprintf("%q: want %s", s, want)
		}
		if p != p.Masked() {
			return fmt.Sprintf("%s: bits are set behind the prefix; do you mean %s?", s, p.Masked())
		}
		return ""
	})
}

// subnet refuses prefixes whose addresses no container can have.
func subnet(w *walk, at string, n *yaml.Node) {
	const want = "a subnet such as 10.210.3.0/24"
	prefix(want, netip.Prefix.IsValid)(w, at, n)
	p, err := netip.ParsePrefix(scalarOf(n))
	if err != nil {
		return
	}
	if other, what, reserved := contract.Reserved(p); reserved {
		w.say(at, "%s overlaps %s (%s), whose addresses no container can have: want %s", p, other, what, want)
	}
}

func addressRange(w *walk, at string, n *yaml.Node) {
	value(strTag, "FIRST-LAST", func(s string) string {
		if _, _, err := ParseRange(s); err != nil {
			return err.Error()
		}
		return ""
	})(w, at, n)
}

// ParseRange reads "FIRST-LAST", both included, or one prefix.
func ParseRange(s string) (first, last netip.Addr, err error) {
	if p, err := netip.ParsePrefix(s); err == nil && p.Addr().Is4() {
		first, last = p.Masked().Addr(), p.Masked().Addr()
		b := last.As4()
		for i := p.Bits(); i < 32; i++ {
			b[i/8] |= 1 << (7 - i%8)
		}
		return first, netip.AddrFrom4(b), nil
	}
	a, b, ok := strings.Cut(s, "-")
	first, err1 := netip.ParseAddr(strings.TrimSpace(a))
	last, err2 := netip.ParseAddr(strings.TrimSpace(b))
	if !ok || err1 != nil || err2 != nil || !first.Is4() || !last.Is4() {
		return first, last, fmt.Errorf("%q: want FIRST-LAST, both IPv4 addresses", s)
	}
	if last.Less(first) {
		return first, last, fmt.Errorf("%q: the last address is before the first", s)
	}
	return first, last, nil
}

func network() rule {
	return func(w *walk, at string, n *yaml.Node) {
		object(keys{
			"driver":      driver("network", contract.PluginNet),
			"driver_opts": driverOptions,
			"external":    boolean(),
			"name":        word(),
			"internal":    boolean(),
			"attachable":  boolean(),
			"enable_ipv6": boolean(),
			"labels":      pairs(false, objectLabel),
			"ipam": object(keys{
				"driver":  driver("IPAM", contract.PluginIPAM),
				"options": named(nil, orNothing(scalar())),
				"config": listOf(object(keys{
					"subnet":   subnet,
					"ip_range": prefix("a range such as 10.210.3.0/28", netip.Prefix.IsValid),
					"gateway":  address,
				}, drops{"aux_addresses": "use x-rolling.range to stay clear of them"})),
			}, nil),
			"x-rolling": networkKeys,
		}, drops{"enable_ipv4": "leave it out"})(w, at, n)
		external(w, at, n)
	}
}

// driver refuses our own plugins under any other spelling: Swarm matches a driver on the exact name:tag.
func driver(kind, ours string) rule {
	return value(strTag, "the name of a driver", func(s string) string {
		if s != ours && strings.Contains(s, "rolling/") {
			return fmt.Sprintf("%q is not a driver of Rolling; the %s driver is %q", s, kind, ours)
		}
		return ""
	})
}

// driverOptions checks the rolling.* options; those of other drivers are theirs.
func driverOptions(w *walk, at string, n *yaml.Node) {
	known := optionRules()
	named(nil, orNothing(scalar()))(w, at, n)
	for key, v := range entries(n) {
		switch r, ok := known[key]; {
		case key == contract.Project, key == contract.Environment:
			serviceLabel(w, join(at, key), key, v.Value)
		case ok && slices.Contains(contract.NetworkOptions(), key):
			check(w, join(at, key), v, r)
		case ok:
			w.say(join(at, key), "the network driver does not read this option: put it under x-rolling")
		case strings.HasPrefix(key, contract.Prefix):
			w.say(join(at, key), "unknown option%s", meant(key, contract.NetworkOptions()))
		}
	}
}

// networkKeys are the keys of networks.X.x-rolling: those of driver_opts and of IPAM options, with or without "rolling.".
func networkKeys(w *walk, at string, n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		w.say(at, "want a mapping, got %s", got(n))
		return
	}
	known, names, seen := optionRules(), []string{}, map[string]bool{}
	for name := range known {
		names = append(names, strings.TrimPrefix(name, contract.Prefix))
	}
	slices.Sort(names)
	for key, v := range entries(n) {
		full := contract.Prefix + strings.TrimPrefix(key, contract.Prefix)
		r, ok := known[full]
		switch {
		case !ok:
			w.say(join(at, key), "unknown key%s", meant(strings.TrimPrefix(key, contract.Prefix), names))
		case seen[full]:
			w.say(join(at, key), "this key stands twice, with and without %q", contract.Prefix)
		default:
			check(w, join(at, key), v, r)
		}
		seen[full] = true
	}
}

// external refuses settings on what somebody else made, and a name on what Rolling makes.
func external(w *walk, at string, n *yaml.Node) {
	if scalarOf(child(n, "external")) != "true" {
		if child(n, "name") != nil {
			w.say(join(at, "name"), "only what is external has a name of its own: Rolling names what it makes")
		}
		return
	}
	for key := range entries(n) {
		if key != "external" && key != "name" && key != "x-rolling" && !strings.HasPrefix(key, "x-") {
			w.say(join(at, key), "it is external: somebody else made it, so nothing can be set here")
		} else if key == "x-rolling" {
			w.say(join(at, key), "it is external: say this to rolling network create")
		}
	}
}

func objectLabel(w *walk, at, key, value string) {
	if strings.HasPrefix(key, contract.Prefix) || key == stackNamespace {
		w.say(at, "Rolling sets this label")
	}
}

// fileObject is a config or a secret that the file declares.
func fileObject(kind string) rule {
	return func(w *walk, at string, n *yaml.Node) {
		known := keys{
			"file": word(), "external": boolean(), "name": word(), "labels": pairs(false, objectLabel),
			"template_driver": oneOf("template driver", "golang"),
		}
		dropped := drops{"environment": "no environment is read; use file, or external: true"}
		if kind == "configs" {
			known["content"] = word()
		} else {
			known["driver"] = word()
			dropped["driver_opts"] = "leave it out"
			dropped["content"] = "a secret does not belong into this file; use file, or external: true"
		}
		object(known, dropped)(w, at, n)
		external(w, at, n)
		if scalarOf(child(n, "external")) == "true" || n.Kind != yaml.MappingNode {
			return
		}
		file, content, driver := child(n, "file"), child(n, "content"), child(n, "driver")
		if sources := len(slices.DeleteFunc([]*yaml.Node{file, content, driver}, func(n *yaml.Node) bool { return n == nil })); sources != 1 {
			w.say(at, "want one of file%s and external: true", map[string]string{"configs": ", content", "secrets": ", driver"}[kind])
		}
		if file != nil {
			w.file(join(at, "file"), scalarOf(file), kind)
		}
	}
}

// Swarm's own limits on what one config or secret may hold.
const maxConfig, maxSecret = 1000 * 1024, 500 * 1024

func (w *walk) file(at, name, kind string) {
	data, ok := w.files[name]
	limit := maxConfig
	if kind == "secrets" {
		limit = maxSecret
	}
	switch {
	case !filepath.IsLocal(name):
		w.say(at, "%q: want a path inside the folder of the project file", name)
	case !ok:
		w.say(at, "%q: this file was not handed over with the project file", name)
	case len(data) == 0:
		w.say(at, "%q is empty, and Swarm takes no empty one", name)
	case len(data) > limit:
		w.say(at, "%q has %d bytes: Swarm takes %d", name, len(data), limit)
	}
}

func volume() rule {
	return func(w *walk, at string, n *yaml.Node) {
		object(keys{
			"driver": word(), "driver_opts": named(nil, orNothing(scalar())), "external": boolean(), "name": word(),
			"labels": pairs(false, objectLabel),
		}, nil)(w, at, n)
		external(w, at, n)
	}
}
