package kernel

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/rolling-swarm/rolling/network-driver/isolation"
)

// sets are those of ipset whose names are ours. Nobody else writes there, so what was written is remembered, and compared
// with the kernel's own when there is doubt.
type sets struct {
	nl    *netlink.Handle
	wire  setWire
	have  map[string]isolation.Set
	known bool // have is what the kernel has
	found bool // also the names that an earlier process left are known
}

// mostEntries of one set. The kernel's default, 65536, is ten times what a Swarm of a thousand containers needs.
const mostEntries = 1 << 20

// look reads the kernel's sets again.
func (s *sets) look(want map[string]isolation.Set) error {
	if s.known {
		return nil
	}
	names := slices.Concat(slices.Collect(maps.Keys(s.have)), slices.Collect(maps.Keys(want)))
	if !s.found {
		all, err := s.wire.names()
		if err != nil {
			return fmt.Errorf("list the sets of ipset: %w: the kernel has to have ip_set", err)
		}
		for _, name := range all {
			if strings.HasPrefix(name, isolation.Four.SetName("-")) || strings.HasPrefix(name, isolation.Six.SetName("-")) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	have := map[string]isolation.Set{}
	for _, name := range slices.Compact(names) {
		set, err := s.list(name)
		if err != nil {
			return err
		}
		if set.Type != "" {
			have[name] = set
		}
	}
	s.have, s.known, s.found = have, true, true
	return nil
}

// list reads one; one that is not there has no type.
func (s *sets) list(name string) (isolation.Set, error) {
	set, err := s.wire.list(name)
	if errors.Is(err, unix.ENOENT) {
		return isolation.Set{}, nil
	}
	if err != nil {
		return isolation.Set{}, fmt.Errorf("list set %s: %w", name, err)
	}
	return set, nil
}

// shelter is the set that closes: it grows before the others change, and shrinks after.
func shelter(name string) bool { return strings.HasSuffix(name, "-inside") }

// grow makes missing sets and gives them what they lack; first what lets pass loses what it should not have.
func (s *sets) grow(want map[string]isolation.Set) error {
	if err := s.look(want); err != nil {
		return err
	}
	var problems []error
	for name, set := range want {
		if _, there := s.have[name]; !there {
			problems = append(problems, s.create(name, set.Type))
		}
		if shelter(name) {
			problems = append(problems, s.add(name, set))
		}
	}
	for name, have := range s.have {
		if !shelter(name) {
			problems = append(problems, s.remove(name, have, want[name]))
		}
	}
	for name, set := range want {
		problems = append(problems, s.add(name, set))
	}
	return s.doubtAfter(few(problems))
}

// shrink takes the rest away, once no rule asks for it.
func (s *sets) shrink(want map[string]isolation.Set) error {
	var problems []error
	for name, have := range s.have {
		set, stays := want[name]
		if stays {
			problems = append(problems, s.remove(name, have, set))
			continue
		}
		if err := s.nl.IpsetDestroy(name); err != nil && !errors.Is(err, unix.ENOENT) {
			problems = append(problems, fmt.Errorf("remove set %s: %w", name, err))
			continue
		}
		delete(s.have, name)
	}
	return s.doubtAfter(few(problems))
}

// doubtAfter: what failed once may have been half done.
func (s *sets) doubtAfter(err error) error {
	if err != nil {
		s.known = false
	}
	return err
}

func (s *sets) create(name, kind string) error {
	o := netlink.IpsetCreateOptions{Family: unix.AF_INET, MaxElements: mostEntries, Comments: name == isolation.Four.Known() || name == isolation.Six.Known()}
	if strings.HasPrefix(name, isolation.Six.SetName("-")) {
		o.Family = unix.AF_INET6
	}
	if err := s.nl.IpsetCreate(name, kind, o); err != nil {
		return fmt.Errorf("make set %s (%s): %w: the kernel has to have ip_set with %s", name, kind, err, kind)
	}
	s.have[name] = isolation.Set{Type: kind, Entries: map[isolation.Entry]bool{}}
	return nil
}

func (s *sets) add(name string, want isolation.Set) error {
	have, there := s.have[name]
	if !there {
		return nil // it could not be made, which is said
	}
	var fresh []isolation.Entry
	for e := range want.Entries {
		if !have.Entries[e] {
			fresh = append(fresh, e)
		}
	}
	if err := s.wire.change(nl.IPSET_CMD_ADD, name, fresh); err != nil {
		return fmt.Errorf("set %s: add %d entries: %w", name, len(fresh), err)
	}
	for _, e := range fresh {
		have.Entries[e] = true
	}
	return nil
}

func (s *sets) remove(name string, have, want isolation.Set) error {
	var stale []isolation.Entry
	for e := range have.Entries {
		if !want.Entries[e] {
			stale = append(stale, e)
		}
	}
	if err := s.wire.change(nl.IPSET_CMD_DEL, name, stale); err != nil {
		return fmt.Errorf("set %s: remove %d entries: %w", name, len(stale), err)
	}
	for _, e := range stale {
		delete(have.Entries, e)
	}
	return nil
}
