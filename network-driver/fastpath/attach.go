package fastpath

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/rolling-swarm/rolling/internal/listing"
	"github.com/rolling-swarm/rolling/network-driver/topology"
)

const (
	// filterName is how `tc filter show` and we ourselves know our filters.
	filterName = "rolling"
	// filterPriority leaves room for filters of others before and behind ours.
	filterPriority = 82
	filterHandle   = 1
	// The kernel has one such queue discipline an interface: clsact, or ingress, its older and smaller kind.
	clsact  = "clsact"
	ingress = "ingress"
)

// seats are the interfaces at whose entrance our programs sit.
type seats struct {
	nl      *listing.Handle
	devices int
	right   map[int]*ebpf.Program // what was seen to sit right, by interface
	turn    int                   // which host ends are asked this time
}

// lookedAt host ends are asked for their filters at each Set, in turns: five hundred questions would hold up a Join. A
// discipline that is gone is seen at once, on any of them.
const lookedAt = 32

// sit puts the wanted programs on their interfaces, and takes ours from all others. What sits right is not touched.
func (s *seats) sit(links []netlink.Link, wanted map[int]*ebpf.Program) []error {
	entries, err := entrances(s.nl)
	if err != nil {
		return []error{err}
	}
	var problems []error
	before, ends := s.right, 0
	s.devices, s.right = 0, map[int]*ebpf.Program{}
	for _, l := range links {
		index, p := l.Attrs().Index, wanted[l.Attrs().Index]
		var err error
		switch {
		case p == nil && entries[index] != "":
			err = s.unseat(index, entries[index])
		case p != nil && s.trusted(l, before[index] == p && entries[index] != "", &ends):
			s.right[index] = p
		case p != nil:
			if err = s.sitOn(index, p, entries[index]); err == nil {
				s.right[index] = p
			}
		}
		if err != nil && !gone(err) {
			problems = append(problems, fmt.Errorf("interface %s: %w", l.Attrs().Name, err))
		}
	}
	s.devices = len(s.right)
	s.turn = (s.turn + 1) % (ends/lookedAt + 1)
	return problems
}

// sitOnSome is sit for links that were made a moment ago: nobody has anything on them yet. All others stay as they are;
// what sat on a link that went has gone with it.
func (s *seats) sitOnSome(links []netlink.Link, wanted map[int]*ebpf.Program) []error {
	var problems []error
	for _, l := range links {
		index := l.Attrs().Index
		p := wanted[index]
		var err error
		switch {
		case p == nil && s.right[index] != nil:
			err = s.unseat(index, clsact)
			delete(s.right, index)
		case p != nil && s.right[index] == nil:
			if err = s.attach(index, p); err == nil {
				s.right[index] = p
			}
		}
		if err != nil && !gone(err) {
			problems = append(problems, fmt.Errorf("interface %s: %w", l.Attrs().Name, err))
		}
	}
	for index := range s.right {
		if wanted[index] == nil {
			delete(s.right, index)
		}
	}
	s.devices = len(s.right)
	return problems
}

// trusted says that an interface need not be asked this time. Uplinks always are.
func (s *seats) trusted(l netlink.Link, known bool, ends *int) bool {
	if !topology.OwnName(l.Attrs().Name) {
		return false
	}
	*ends++
	return known && (*ends-1)/lookedAt != s.turn
}

// entrances tells, by interface, which of the two disciplines it has.
func entrances(nl *listing.Handle) (map[int]string, error) {
	all, err := nl.QdiscList(nil)
	if err != nil {
		return nil, fmt.Errorf("list queue disciplines: %w", err)
	}
	found := map[int]string{}
	for _, q := range all {
		if kind := q.Type(); kind == clsact || kind == ingress {
			found[q.Attrs().LinkIndex] = kind
		}
	}
	return found, nil
}

func (s *seats) sitOn(index int, p *ebpf.Program, entrance string) error {
	if entrance != "" {
		ours, _, err := s.filters(index)
		if err != nil {
			return err
		}
		info, err := p.Info()
		if err != nil {
			return fmt.Errorf("ask for the program's id: %w", err)
		}
		if id, known := info.ID(); ours != nil && known && ours.Id == int(id) {
			return nil
		}
		return s.replace(index, p)
	}
	return s.attach(index, p)
}

// attach puts a program on an interface that has no such discipline.
func (s *seats) attach(index int, p *ebpf.Program) error {
	q := &netlink.GenericQdisc{QdiscType: clsact, QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT,
	}}
	if err := s.nl.QdiscAdd(q); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("add the discipline %s: %w", clsact, err)
	}
	return s.replace(index, p)
}

// replace is one step: no packet meets an interface without a program.
func (s *seats) replace(index int, p *ebpf.Program) error {
	if err := s.nl.FilterReplace(filter(index, p.FD())); err != nil {
		return fmt.Errorf("attach the program: %w", err)
	}
	return nil
}

func filter(index, fd int) *netlink.BpfFilter {
	return &netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: index, Parent: netlink.HANDLE_MIN_INGRESS, Handle: filterHandle, Priority: filterPriority, Protocol: unix.ETH_P_ALL,
		},
		Fd: fd, Name: filterName, DirectAction: true,
	}
}

// filters tells our filter on an interface, if there is one, and how many others there are.
func (s *seats) filters(index int) (ours *netlink.BpfFilter, others int, err error) {
	link := &netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Index: index}}
	for _, parent := range []uint32{netlink.HANDLE_MIN_INGRESS, netlink.HANDLE_MIN_EGRESS} {
		all, err := s.nl.FilterList(link, parent)
		if err != nil {
			return nil, 0, fmt.Errorf("list filters: %w", err)
		}
		for _, f := range all {
			if own, is := f.(*netlink.BpfFilter); is && own.Name == filterName && own.Priority == filterPriority && parent == netlink.HANDLE_MIN_INGRESS {
				ours = own
			} else {
				others++
			}
		}
	}
	return ours, others, nil
}

// unseat takes our filter away, and the discipline with it if nobody else has filters there.

func (s *seats) unseat(index int, entrance string) error {
	ours, others, err := s.filters(index)
	if err != nil || ours == nil {
		return err
	}
	if others == 0 && entrance == clsact {
		q := &netlink.GenericQdisc{QdiscType: clsact, QdiscAttrs: netlink.QdiscAttrs{
			LinkIndex: index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT,
		}}
		if err := s.nl.QdiscDel(q); err != nil && !gone(err) {
			return fmt.Errorf("remove the discipline %s: %w", clsact, err)
		}
		return nil
	}
	if err := s.nl.FilterDel(filter(index, 0)); err != nil && !gone(err) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove the program: %w", err)
	}
	return nil
}

// gone: an interface ends with its container, at any moment.
func gone(err error) bool {
	var missing netlink.LinkNotFoundError
	return errors.As(err, &missing) || errors.Is(err, unix.ENODEV)
}
