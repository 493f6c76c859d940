package arp

import (
	"encoding/binary"
	"net"
	"net/netip"
)

// A frame is what ARP for IPv4 over Ethernet says (RFC 826).
type frame struct {
	operation uint16
	senderMAC net.HardwareAddr
	sender    netip.Addr
	targetMAC net.HardwareAddr
	target    netip.Addr
	source    net.HardwareAddr // of the Ethernet header
	to        net.HardwareAddr
}

const (
	request = 1
	reply   = 2

	etherBytes = 14
	frameBytes = etherBytes + 28
	etherARP   = 0x0806
	etherIPv4  = 0x0800
	ethernet   = 1
)

func broadcast() net.HardwareAddr { return net.HardwareAddr{255, 255, 255, 255, 255, 255} }

// probe asks whether anybody has the address, without saying that we do: no neighbour learns anything by it.
func probe(from net.HardwareAddr, address netip.Addr) frame {
	return frame{operation: request, source: from, to: broadcast(), senderMAC: from, sender: netip.IPv4Unspecified(), targetMAC: make(net.HardwareAddr, 6), target: address}
}

// announcement says that the address is at the MAC, to neighbours and, by its source, to switches.
func announcement(mac net.HardwareAddr, address netip.Addr) frame {
	return frame{operation: request, source: mac, to: broadcast(), senderMAC: mac, sender: address, targetMAC: make(net.HardwareAddr, 6), target: address}
}

func (f frame) bytes() []byte {
	b := make([]byte, 0, frameBytes)
	b = append(append(b, f.to...), f.source...)
	b = binary.BigEndian.AppendUint16(b, etherARP)
	b = binary.BigEndian.AppendUint16(b, ethernet)
	b = binary.BigEndian.AppendUint16(b, etherIPv4)
	b = append(b, 6, 4)
	b = binary.BigEndian.AppendUint16(b, f.operation)
	b = append(append(b, f.senderMAC...), f.sender.AsSlice()...)
	return append(append(b, f.targetMAC...), f.target.AsSlice()...)
}

// parse reads a frame; what is none of ARP for IPv4 over Ethernet is none.
func parse(b []byte) (f frame, ok bool) {
	if len(b) < frameBytes {
		return f, false
	}
	f.to, f.source = clone(b[0:6]), clone(b[6:12])
	a := b[etherBytes:]
	for i, want := range []uint16{etherARP, ethernet, etherIPv4, 6<<8 | 4} {
		if binary.BigEndian.Uint16(b[12+2*i:]) != want {
			return f, false
		}
	}
	f.operation = binary.BigEndian.Uint16(a[6:])
	f.senderMAC, f.sender = clone(a[8:14]), netip.AddrFrom4([4]byte(a[14:18]))
	f.targetMAC, f.target = clone(a[18:24]), netip.AddrFrom4([4]byte(a[24:28]))
	return f, true
}

func clone(b []byte) net.HardwareAddr { return append(net.HardwareAddr(nil), b...) }

// claims says whether the frame's sender has the address, or is about to take it (RFC 5227, 2.1.1).
func (f frame) claims(address netip.Addr, own net.HardwareAddr) bool {
	if f.senderMAC.String() == own.String() {
		return false
	}
	return f.sender == address || f.operation == request && f.sender.IsUnspecified() && f.target == address
}
