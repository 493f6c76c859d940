package pool

import (
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/rolling-swarm/rolling/internal/contract"
)

// Space says who asks: the leader for the whole Swarm, or a node for itself.
type Space byte

// The global space decides, the local space echoes what the global one decided elsewhere.
const (
	Global Space = 'g'
	Local  Space = 'l'
)

func (s Space) String() string {
	if s == Global {
		return "global"
	}
	return "local"
}

// Key names a share: space, subnet and the options that tell networks on one subnet apart. It is the PoolID that the
// engine keeps, so it says all that is needed to make the share anew if the ledger is ever lost.
type Key string

// Terms are what a network asks for: the subnet, and the rolling.* options that shape its share of it.
type Terms struct {
	Space       Space
	Subnet      netip.Prefix
	Pool        string // name of the pool, rolling.pool
	Project     string
	Environment string
	Block       int           // prefix length of a block; 0: no blocks
	Quota       int           // most addresses leased at once; 0: no limit
	Range       Span          // automatic choices stay inside; zero: the whole subnet
	Quarantine  time.Duration // resting time; negative: the setting's
	Gateway     netip.Addr    // a router inside the subnet (l2); zero: the next link-local one
}

// Span is a run of addresses, both ends included.
type Span struct{ First, Last netip.Addr }

// IsZero reports whether no span was asked for.
func (s Span) IsZero() bool { return !s.First.IsValid() }

func (s Span) String() string { return s.First.String() + "-" + s.Last.String() }

// subPool is the key's word for Docker's own --ip-range, which arrives beside the options.
const subPool = "range"

// longest quarantine: a day and a half more than the rest after a lost node, so that a typing error is noticed.
const longestQuarantine = 60 * time.Hour

// ReadTerms makes terms of what the engine sends. Keys that do not begin with rolling. are Swarm's own and are ignored.
// A subnet of addresses that no container can have is refused.
func ReadTerms(space Space, subnet, ipRange string, v6 bool, options map[string]string) (Terms, error) {
	if p, err := netip.ParsePrefix(subnet); err == nil && !v6 {
		if other, what, reserved := contract.Reserved(p); reserved {
			return Terms{}, fmt.Errorf("subnet %s overlaps %s (%s), whose addresses no container can have: choose another, such as 10.201.0.0/16", p, other, what)
		}
	}
	return readTerms(space, subnet, ipRange, v6, options)
}

func readTerms(space Space, subnet, ipRange string, v6 bool, options map[string]string) (Terms, error) {
	if subnet == "" && !v6 {
		return Terms{}, fmt.Errorf("no subnet was given: pass --subnet, or ipam.config.subnet in a stack file")
	}
	prefix, err := netip.ParsePrefix(subnet)
	if v6 || err == nil && !prefix.Addr().Is4() {
		return Terms{}, fmt.Errorf("IPv6 pool %q: IPv6 addresses are derived from the IPv4 ones, not leased: create the network without --ipv6 and set %s on the network driver", subnet, contract.IPv6)
	}
	if err != nil {
		return Terms{}, fmt.Errorf("subnet %q: want an IPv4 prefix as 10.201.0.0/16: %w", subnet, err)
	}
	if prefix != prefix.Masked() {
		return Terms{}, fmt.Errorf("subnet %s has bits set beyond its length: did you mean %s?", prefix, prefix.Masked())
	}
	if prefix.Bits() < 8 {
		return Terms{}, fmt.Errorf("subnet %s is wider than a /8: name the part of it that is yours", prefix)
	}
	t := Terms{Space: space, Subnet: prefix, Quarantine: -1}
	for _, key := range sortedKeys(options) {
		if strings.HasPrefix(key, contract.Prefix) {
			if err := t.set(key, options[key]); err != nil {
				return Terms{}, err
			}
		}
	}
	if ipRange != "" {
		if err := t.setSubPool(ipRange); err != nil {
			return Terms{}, err
		}
	}
	return t, t.agree()
}

func (t *Terms) set(key, value string) (err error) {
	switch key {
	case contract.Pool:
		t.Pool, err = name(value)
	case contract.Project:
		t.Project, err = name(value)
	case contract.Environment:
		t.Environment, err = name(value)
	case contract.Block:
		t.Block, err = blockLength(value, t.Subnet)
	case contract.Quota:
		t.Quota, err = quota(value)
	case contract.Range:
		t.Range, err = span(value, t.Subnet)
	case contract.Quarantine:
		t.Quarantine, err = quarantine(value)
	case contract.Gateway:
		t.Gateway, err = router(value, t.Subnet)
	default:
		return unknownOption(key)
	}
	if err != nil {
		return fmt.Errorf("option %s=%q: %w", key, value, err)
	}
	return nil
}

func unknownOption(key string) error {
	known := contract.IPAMOptions()
	var ends []string // what all begin with would make any two of them near
	for _, k := range known {
		ends = append(ends, strings.TrimPrefix(k, contract.Prefix))
	}
	if near := contract.Nearest(strings.TrimPrefix(key, contract.Prefix), ends); near != "" {
		return fmt.Errorf("option %q is not known: did you mean %q?", key, contract.Prefix+near)
	}
	return fmt.Errorf("option %q is not known: want one of %s", key, strings.Join(known, ", "))
}

func (t *Terms) setSubPool(text string) error {
	prefix, err := netip.ParsePrefix(text)
	if err != nil || !prefix.Addr().Is4() || prefix != prefix.Masked() {
		return fmt.Errorf("--ip-range %q: want an IPv4 prefix inside %s, as 10.201.3.0/28", text, t.Subnet)
	}
	if prefix.Bits() < t.Subnet.Bits() || !t.Subnet.Contains(prefix.Addr()) {
		return fmt.Errorf("--ip-range %s is not inside subnet %s: choose a part of it", prefix, t.Subnet)
	}
	if !t.Range.IsZero() {
		return fmt.Errorf("--ip-range %s and %s=%s both limit the choice: keep one of them", prefix, contract.Range, t.Range)
	}
	if prefix != t.Subnet {
		t.Range = prefixSpan(prefix)
	}
	return nil
}

// agree refuses terms that contradict one another.
func (t *Terms) agree() error {
	if t.Block != 0 && !t.Range.IsZero() {
		return fmt.Errorf("%s and a range (%s) exclude one another: a network holds blocks, or an exact range", contract.Block, t.Range)
	}
	return nil
}

// Key is the canonical name of the terms: equal meaning gives equal keys.
func (t Terms) Key() Key {
	v := url.Values{}
	put := func(key, value string) {
		if value != "" {
			v.Set(strings.TrimPrefix(key, contract.Prefix), value)
		}
	}
	put(contract.Pool, t.Pool)
	put(contract.Project, t.Project)
	put(contract.Environment, t.Environment)
	if t.Block != 0 {
		put(contract.Block, strconv.Itoa(t.Block))
	}
	if t.Quota != 0 {
		put(contract.Quota, strconv.Itoa(t.Quota))
	}
	if !t.Range.IsZero() {
		put(subPool, t.Range.String())
	}
	if t.Quarantine >= 0 {
		put(contract.Quarantine, t.Quarantine.String())
	}
	if t.Gateway.IsValid() {
		put(contract.Gateway, t.Gateway.String())
	}
	return Key(string(t.Space) + "|" + t.Subnet.String() + "|" + v.Encode())
}

// ParseKey reads a PoolID back. Only keys that Terms.Key writes are accepted, but also those of subnets that ReadTerms
// refuses: one that got into a ledger must not keep the ledger from being read.
func ParseKey(key Key) (Terms, error) {
	bad := fmt.Errorf("pool %q is not one of this driver's: want a PoolID that RequestPool answered", key)
	parts := strings.SplitN(string(key), "|", 3)
	if len(parts) != 3 || parts[0] != string(Global) && parts[0] != string(Local) {
		return Terms{}, bad
	}
	values, err := url.ParseQuery(parts[2])
	if err != nil {
		return Terms{}, bad
	}
	options := make(map[string]string, len(values))
	for k := range values {
		options[contract.Prefix+k] = values.Get(k)
	}
	t, err := readTerms(Space(parts[0][0]), parts[1], "", false, options)
	if err != nil || t.Key() != key {
		return Terms{}, bad
	}
	return t, nil
}

// String is how error texts and people name the share.
func (t Terms) String() string {
	var b strings.Builder
	b.WriteString("pool ")
	if t.Pool != "" {
		b.WriteString(t.Pool + " ")
	}
	b.WriteString(t.Subnet.String())
	var more []string
	for _, p := range [][2]string{{"project ", t.Project}, {"environment ", t.Environment}} {
		if p[1] != "" {
			more = append(more, p[0]+p[1])
		}
	}
	if !t.Range.IsZero() {
		more = append(more, "range "+t.Range.String())
	}
	if t.Space == Local {
		more = append(more, "this node's view")
	}
	if len(more) > 0 {
		b.WriteString(" (" + strings.Join(more, ", ") + ")")
	}
	return b.String()
}
