package kernel

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/rolling-swarm/rolling/internal/permits"
	"github.com/rolling-swarm/rolling/network-driver/isolation"
)

// setWire speaks ipset's part of netlink where the library does so entry by entry: a thousand of them are to change within
// milliseconds.
type setWire struct{ socket *nl.SocketHandle }

func dialSets() (setWire, error) {
	s, err := nl.GetNetlinkSocketAt(netns.None(), netns.None(), unix.NETLINK_NETFILTER)
	if err != nil {
		return setWire{}, err
	}
	return setWire{&nl.SocketHandle{Socket: s}}, nil
}

const (
	// entriesAtOnce: an attribute has 64 KiB at most, an entry less than 64 bytes.
	entriesAtOnce = 500
	// namesAlone is IPSET_FLAG_LIST_SETNAME of linux/netfilter/ipset/ip_set.h.
	namesAlone = 1 << 1
)

func (w setWire) request(command, flags int) *nl.NetlinkRequest {
	r := nl.NewNetlinkRequest(command|unix.NFNL_SUBSYS_IPSET<<8, flags)
	r.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_NETFILTER: w.socket}
	r.AddData(&nl.Nfgenmsg{NfgenFamily: unix.AF_INET, Version: nl.NFNETLINK_V0})
	r.AddData(nl.NewRtAttr(nl.IPSET_ATTR_PROTOCOL, nl.Uint8Attr(nl.IPSET_PROTOCOL)))
	return r
}

// names of all sets, also those of others.
func (w setWire) names() ([]string, error) {
	r := w.request(nl.IPSET_CMD_LIST, nl.GetIpsetFlags(nl.IPSET_CMD_LIST))
	r.AddData(&nl.Uint32Attribute{Type: nl.IPSET_ATTR_FLAGS | nl.NLA_F_NET_BYTEORDER, Value: namesAlone})
	answers, err := r.Execute(unix.NETLINK_NETFILTER, 0)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, a := range answers {
		attrs, err := attributes(a[nl.SizeofNfgenmsg:])
		if err != nil {
			return nil, err
		}
		all = append(all, word(attrs[nl.IPSET_ATTR_SETNAME]))
	}
	return all, nil
}

// list reads one set.
func (w setWire) list(name string) (isolation.Set, error) {
	set := isolation.Set{Entries: map[isolation.Entry]bool{}}
	r := w.request(nl.IPSET_CMD_LIST, nl.GetIpsetFlags(nl.IPSET_CMD_LIST))
	r.AddData(nl.NewRtAttr(nl.IPSET_ATTR_SETNAME, nl.ZeroTerminated(name)))
	answers, err := r.Execute(unix.NETLINK_NETFILTER, 0)
	if err != nil {
		return set, err
	}
	for _, a := range answers {
		attrs, err := attributes(a[nl.SizeofNfgenmsg:])
		if err != nil {
			return set, err
		}
		if kind := word(attrs[nl.IPSET_ATTR_TYPENAME]); kind != "" {
			set.Type = kind
		}
		list, err := nl.ParseRouteAttr(attrs[nl.IPSET_ATTR_ADT])
		if err != nil {
			return set, err
		}
		for _, e := range list {
			entry, err := entryFrom(e, set.Type)
			if err != nil {
				return set, err
			}
			set.Entries[entry] = true
		}
	}
	return set, nil
}

// attributes are those of one level, by type.
func attributes(b []byte) (map[uint16][]byte, error) {
	list, err := nl.ParseRouteAttr(b)
	if err != nil {
		return nil, fmt.Errorf("an answer of ipset: %w", err)
	}
	all := map[uint16][]byte{}
	for _, a := range list {
		all[a.Attr.Type&nl.NLA_TYPE_MASK] = a.Value
	}
	return all, nil
}

func word(b []byte) string { return strings.TrimRight(string(b), "\x00") }

func entryFrom(a syscall.NetlinkRouteAttr, kind string) (isolation.Entry, error) {
	var e isolation.Entry
	attrs, err := attributes(a.Value)
	if err != nil {
		return e, err
	}
	ip, err := attributes(attrs[nl.IPSET_ATTR_IP])
	if err != nil {
		return e, err
	}
	raw := ip[nl.IPSET_ATTR_IPADDR_IPV4]
	if raw == nil {
		raw = ip[nl.IPSET_ATTR_IPADDR_IPV6]
	}
	address, _ := netip.AddrFromSlice(raw)
	e.Prefix, e.Note = netip.PrefixFrom(address, address.BitLen()), word(attrs[nl.IPSET_ATTR_COMMENT])
	if bits := attrs[nl.IPSET_ATTR_CIDR]; kind == isolation.Networks && len(bits) == 1 {
		e.Prefix = netip.PrefixFrom(address, int(bits[0]))
	}
	if port := attrs[nl.IPSET_ATTR_PORT]; len(port) == 2 {
		e.Port, e.Protocol = binary.BigEndian.Uint16(port), permits.TCP
		if p := attrs[nl.IPSET_ATTR_PROTO]; len(p) == 1 && p[0] == unix.IPPROTO_UDP {
			e.Protocol = permits.UDP
		}
	}
	return e, nil
}

// change adds or removes entries, some hundred at a time; what is so already is no error.
func (w setWire) change(command int, name string, entries []isolation.Entry) error {
	for len(entries) > 0 {
		n := min(len(entries), entriesAtOnce)
		r := w.request(command, nl.GetIpsetFlags(command))
		r.AddData(nl.NewRtAttr(nl.IPSET_ATTR_SETNAME, nl.ZeroTerminated(name)))
		r.AddData(&nl.Uint32Attribute{Type: nl.IPSET_ATTR_LINENO | nl.NLA_F_NET_BYTEORDER, Value: 1})
		list := nl.NewRtAttr(nl.IPSET_ATTR_ADT|int(nl.NLA_F_NESTED), nil)
		for _, e := range entries[:n] {
			list.AddChild(attributeOf(e))
		}
		r.AddData(list)
		if _, err := r.Execute(unix.NETLINK_NETFILTER, 0); err != nil {
			return err
		}
		entries = entries[n:]
	}
	return nil
}

func attributeOf(e isolation.Entry) *nl.RtAttr {
	kind := nl.IPSET_ATTR_IPADDR_IPV4
	if !e.Prefix.Addr().Is4() {
		kind = nl.IPSET_ATTR_IPADDR_IPV6
	}
	data := nl.NewRtAttr(nl.IPSET_ATTR_DATA|int(nl.NLA_F_NESTED), nil)
	ip := nl.NewRtAttr(nl.IPSET_ATTR_IP|int(nl.NLA_F_NESTED), nil)
	ip.AddChild(nl.NewRtAttr(kind|int(nl.NLA_F_NET_BYTEORDER), e.Prefix.Addr().AsSlice()))
	data.AddChild(ip)
	if !e.Prefix.IsSingleIP() {
		data.AddChild(nl.NewRtAttr(nl.IPSET_ATTR_CIDR, nl.Uint8Attr(uint8(e.Prefix.Bits()))))
	}
	if e.Port != 0 {
		protocol := uint8(unix.IPPROTO_TCP)
		if e.Protocol == permits.UDP {
			protocol = unix.IPPROTO_UDP
		}
		data.AddChild(nl.NewRtAttr(nl.IPSET_ATTR_PROTO, nl.Uint8Attr(protocol)))
		data.AddChild(nl.NewRtAttr(nl.IPSET_ATTR_PORT|int(nl.NLA_F_NET_BYTEORDER), binary.BigEndian.AppendUint16(nil, e.Port)))
	}
	if e.Note != "" {
		data.AddChild(nl.NewRtAttr(nl.IPSET_ATTR_COMMENT, nl.ZeroTerminated(e.Note)))
	}
	data.AddChild(&nl.Uint32Attribute{Type: nl.IPSET_ATTR_LINENO | nl.NLA_F_NET_BYTEORDER, Value: 1})
	return data
}
