package nat

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// tcpBegun is TCP_CONNTRACK_SYN_SENT of linux/netfilter/nf_conntrack_tcp.h: nobody has answered yet.
const tcpBegun = 1

// stale picks the flows that must choose anew. Conntrack keeps a flow on its backend, which is right for a connection
// that stands, and wrong for what has none: datagrams would go to a backend that is gone for as long as they come.
type stale struct{ had, have map[netip.Addr][]netip.Addr }

// MatchConntrackFlow says that a flow is to be forgotten.
func (s stale) MatchConntrackFlow(f *netlink.ConntrackFlow) bool {
	v, ok := netip.AddrFromSlice(f.Forward.DstIP.To4())
	if !ok {
		return false
	}
	now, serves := s.have[v]
	if _, served := s.had[v]; !serves && !served {
		return false
	}
	backend, ok := netip.AddrFromSlice(f.Reverse.SrcIP.To4())
	if !ok || slices.Contains(now, backend) {
		return false
	}
	if f.Forward.Protocol != unix.IPPROTO_TCP {
		return true
	}
	// A connection that nobody answers may be answered by another. One that stands without having been rewritten here began
	// before the rules did, and is served by way of a node.
	tcp, known := f.ProtoInfo.(*netlink.ProtoInfoTCP)
	return known && tcp.State == tcpBegun
}

// forget lets flows choose anew that lead to no backend of today.
func forget(space int, had, have map[netip.Addr][]netip.Addr) error {
	if len(had)+len(have) == 0 {
		return nil
	}
	h, err := netlink.NewHandleAt(netns.NsHandle(space), unix.NETLINK_NETFILTER)
	if err != nil {
		return fmt.Errorf("open conntrack: %w", err)
	}
	defer h.Close()
	if _, err := h.ConntrackDeleteFilters(netlink.ConntrackTable, unix.AF_INET, stale{had, have}); err != nil {
		return fmt.Errorf("forget flows to backends that are gone: %w", err)
	}
	return nil
}
