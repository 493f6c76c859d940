package topology

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/network-driver/isolation"
)

// Options are a network's driver_opts, checked.
type Options struct {
	Project     string `json:"project,omitempty"`
	Environment string `json:"environment,omitempty"`
	MTU         int    `json:"mtu,omitempty"`         // 0: the uplink's
	Aggregate   bool   `json:"aggregate,omitempty"`   // routers are told the pool, not its addresses
	WhenHealthy bool   `json:"whenHealthy,omitempty"` // an address is announced once its container's check has passed

	IPv6   netip.Prefix `json:"ipv6,omitzero"`    // the /96 that IPv6 addresses are derived in
	Open   bool         `json:"open,omitempty"`   // everybody may connect, also from other projects
	Parent string       `json:"parent,omitempty"` // of mode l2 only: IF or IF.VLAN
	Attach Attach       `json:"attach,omitempty"`
	Router netip.Addr   `json:"router,omitzero"` // of mode l2, where the option names it
}

const (
	// RFC 791: every host must take 576 bytes. 65535 is the largest IPv4 packet.
	smallestMTU = 576
	largestMTU  = 65535

	dockerPrefix = "com.docker." // the engine's own keys travel in the same map
)

var name = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9_.-]{0,61}[a-zA-Z0-9])?$`)

// ParseOptions reads driver_opts. All problems are named at once, each with its key; nothing is dropped in silence.
func ParseOptions(given map[string]string) (Options, error) {
	var o Options
	var problems []error
	for _, key := range slices.Sorted(maps.Keys(given)) {
		if strings.HasPrefix(key, dockerPrefix) {
			continue
		}
		if err := o.set(key, given[key]); err != nil {
			problems = append(problems, fmt.Errorf("driver_opts.%s: %w", key, err))
		}
	}
	return o, errors.Join(append(problems, o.agree(given))...)
}

func (o *Options) set(key, value string) (err error) {
	switch key {
	case contract.Project:
		o.Project, err = checkName(value)
	case contract.Environment:
		o.Environment, err = checkName(value)
	case contract.MTU:
		o.MTU, err = parseMTU(value)
	case contract.Mode:
		err = among(value, "mode", "routed", "l2")
	case contract.Isolation:
		o.Open, err = value == "open", among(value, "kind of isolation", "project", "open")
	case contract.Announce:
		o.Aggregate, err = value == "aggregate", among(value, "way to announce", "host", "aggregate")
	case contract.AnnounceWhen:
		o.WhenHealthy, err = value == "healthy", among(value, "moment to announce", "ready", "healthy")
	case contract.IPv6:
		o.IPv6, err = parseIPv6(value)
	case contract.Parent:
		o.Parent, err = checkParent(value)
	case contract.Gateway:
		o.Router, err = checkRouter(value)
	case contract.Attach:
		o.Attach, err = Attach(value), among(value, "way to attach", string(Bridged), string(Macvlan))
	default:
		err = unknown(key)
	}
	return err
}

// Class is what isolation tells the network's containers apart by.
func (o Options) Class() isolation.Class {
	return isolation.Class{Project: o.Project, Open: o.Open && o.Project != ""}
}

// Closed says that not everybody may connect.
func (o Options) Closed() bool { return o.Project != "" && !o.Open }

// among accepts all of the words.
func among(value, what string, known ...string) error {
	if slices.Contains(known, value) {
		return nil
	}
	return fmt.Errorf("%q is not a %s (%s)%s", value, what, strings.Join(known, ", "), didYouMean(value, known))
}

func unknown(key string) error {
	if slices.Contains(contract.IPAMOptions(), key) {
		return errors.New("is an option of the address pool: give it under ipam options (docker network create --ipam-opt), not driver_opts")
	}
	return fmt.Errorf("is not a known key%s", didYouMean(key, contract.NetworkOptions()))
}

func didYouMean(word string, known []string) string {
	if nearest := contract.Nearest(word, known); nearest != "" {
		return fmt.Sprintf("; did you mean %q?", nearest)
	}
	return ""
}

func checkName(value string) (string, error) {
	if !name.MatchString(value) {
		return "", fmt.Errorf("%q is not a name: want 1 to 63 letters, digits, '-', '_' or '.', a letter or digit at both ends", value)
	}
	return value, nil
}

func parseMTU(value string) (int, error) {
	n, err := strconv.Atoi(value)
	if err != nil || n < smallestMTU || n > largestMTU {
		return 0, fmt.Errorf("%q is not an MTU: want %d to %d", value, smallestMTU, largestMTU)
	}
	return n, nil
}
