package member

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/rolling-swarm/rolling/internal/contract"
)

// DefaultWeight is a member's weight where no label says otherwise. It is 10, so that a grey service can take less than
// an ordinary member as well as more.
const DefaultWeight = 10

// MaxWeight keeps the sum over an upstream far from where Lua's numbers lose precision.
const MaxWeight = 1000

const discoveryPrefix = contract.Prefix + "discovery."

// stackNamespace is the label that docker stack deploy puts on each service.
const stackNamespace = "com.docker.stack.namespace"

// A Binding is what a service's labels ask of discovery.
type Binding struct {
	Project, Environment string
	Upstream             string // "" if nginx is not asked for
	UpstreamPort         uint16
	Path                 string // "" if ZooKeeper is not asked for
	PathPort             uint16
	Weight               int
	Network              string // "" if the service has one rolling/net network, which then is the one
}

func (b Binding) empty() bool { return b.Upstream == "" && b.Path == "" }

// A Problem is a mistake that a person has to mend; meanwhile the service's last good registration stays in force.
type Problem struct {
	Service string `json:"service"`
	Label   string `json:"label"`
	Value   string `json:"value"`
	What    string `json:"what"`
	Nearest string `json:"nearest,omitempty"`
}

func (p Problem) String() string {
	text := fmt.Sprintf("service %s: label %s: %q: %s", p.Service, p.Label, p.Value, p.What)
	if p.Nearest != "" {
		text += fmt.Sprintf("; did you mean %s?", p.Nearest)
	}
	return text
}

// Bind reads a service's labels; it reports every problem, and the binding counts only if there is none.
func Bind(service string, labels map[string]string) (Binding, []Problem) {
	b := Binding{Weight: DefaultWeight, Environment: "none", Project: service}
	if v := labels[stackNamespace]; v != "" {
		b.Project = v
	}
	if v := labels[contract.Project]; v != "" {
		b.Project = v
	}
	if v := labels[contract.Environment]; v != "" {
		b.Environment = v
	}
	var problems []Problem
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		if !strings.HasPrefix(key, discoveryPrefix) {
			continue
		}
		what, nearest := b.read(key, labels[key])
		if what != "" {
			problems = append(problems, Problem{Service: service, Label: key, Value: labels[key], What: what, Nearest: nearest})
		}
	}
	return b, problems
}

// read takes one label and answers what is wrong with it, "" if nothing is.
func (b *Binding) read(key, value string) (what, nearest string) {
	var err error
	switch key {
	case contract.DiscoveryNginx:
		b.Upstream, b.UpstreamPort, err = parseUpstream(value)
	case contract.DiscoveryZooKeeper:
		b.Path, b.PathPort, err = parsePath(value)
	case contract.DiscoveryWeight:
		b.Weight, err = parseWeight(value)
	case contract.DiscoveryNetwork:
		if b.Network = value; value == "" {
			err = fmt.Errorf("want the name of a network of the service")
		}
	default:
		known := []string{contract.DiscoveryNginx, contract.DiscoveryZooKeeper, contract.DiscoveryWeight, contract.DiscoveryNetwork}
		return "there is no such label", contract.Nearest(key, known)
	}
	if err != nil {
		return err.Error(), ""
	}
	return "", ""
}

func parseUpstream(value string) (string, uint16, error) {
	name, port, err := splitPort(value)
	if err != nil {
		return "", 0, fmt.Errorf("want UPSTREAM:PORT, such as orders:8080: %w", err)
	}
	if len(name) > 128 || strings.ContainsFunc(name, notInUpstream) {
		return "", 0, fmt.Errorf("want UPSTREAM:PORT with an upstream of letters, digits, dots, dashes and underscores, at most 128")
	}
	return name, port, nil
}

func notInUpstream(r rune) bool {
	letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
	return !letter && (r < '0' || r > '9') && !strings.ContainsRune("._-", r)
}

// parsePath accepts what ZooKeeper accepts as a path; /zookeeper is the server's own.
func parsePath(value string) (string, uint16, error) {
	path, port, err := splitPort(value)
	if err != nil {
		return "", 0, fmt.Errorf("want /PATH:PORT, such as /service/orders:8080: %w", err)
	}
	if !strings.HasPrefix(path, "/") {
		return "", 0, fmt.Errorf("want /PATH:PORT: the path of a ServerSet begins with a slash")
	}
	for i, part := range strings.Split(path[1:], "/") {
		switch {
		case part == "":
			return "", 0, fmt.Errorf("want /PATH:PORT: the path has an empty part")
		case part == "." || part == "..":
			return "", 0, fmt.Errorf("want /PATH:PORT: ZooKeeper takes no part named %q", part)
		case i == 0 && part == "zookeeper":
			return "", 0, fmt.Errorf("want /PATH:PORT: /zookeeper belongs to the server itself")
		case strings.ContainsFunc(part, func(r rune) bool { return r < 0x21 || r > 0x7e }):
			return "", 0, fmt.Errorf("want /PATH:PORT: the path has a character that is no printable ASCII")
		}
	}
	return path, port, nil
}

func splitPort(value string) (string, uint16, error) {
	i := strings.LastIndexByte(value, ':')
	if i < 0 {
		return "", 0, fmt.Errorf("there is no port")
	}
	if i == 0 {
		return "", 0, fmt.Errorf("there is nothing before the port")
	}
	port, err := strconv.ParseUint(value[i+1:], 10, 16)
	if err != nil || port == 0 {
		return "", 0, fmt.Errorf("%q is not a port (1 to 65535)", value[i+1:])
	}
	return value[:i], uint16(port), nil
}

func parseWeight(value string) (int, error) {
	weight, err := strconv.Atoi(value)
	if err != nil || weight < 0 || weight > MaxWeight {
		return 0, fmt.Errorf("want a whole number from 0 (no new requests) to %d", MaxWeight)
	}
	return weight, nil
}
