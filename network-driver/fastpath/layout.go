package fastpath

import "encoding/binary"

// What a program returns: include/uapi/linux/pkt_cls.h. Unspec lets filters of others behind ours have their say.
const (
	unspec = -1
	shot   = 2
)

// Offsets in struct __sk_buff.
const (
	skbLen     = 0
	skbKind    = 4 // PACKET_HOST is 0
	skbTagged  = 20
	skbIfindex = 40
	skbData    = 76
	skbEnd     = 80
)

// Offsets in the packet, from the Ethernet header.
const (
	ethDst     = 0
	ethSrc     = 6
	ethProto   = 12
	ipVersion  = 14
	ipTOS      = 15
	ipTTL      = 22
	ipProtocol = 23
	ipSum      = 24
	ipSrc      = 26
	ipDst      = 30
	ipEnd      = 34
	arpSrcMAC  = 22
	arpSrcIP   = 28
	arpEnd     = 42
	ip6End     = 54
)

// Offsets from the frame pointer.
const (
	atKey   = -16 // 8 bytes: the key of a lookup
	atCount = -20 // 4 bytes: the number of a counter
	atMTU   = -24 // 4 bytes
	atNext  = -48 // 20 bytes: struct bpf_redir_neigh
	atFIB   = -112
)

// Offsets in struct bpf_fib_lookup.
const (
	fibSize     = 64
	fibProtocol = 1
	fibIfindex  = 8
	fibTOS      = 12
	fibSrc      = 16
	fibDst      = 32
)

// Offsets in the values of the maps, as place and sender lay them out.
const (
	placeIfindex = 0
	placeGroup   = 4
	placeMAC     = 8
	placeHostMAC = 14
	senderGroup  = 0
	senderMAC    = 4
)

// Numbers of the counters, in the order of ways.
const (
	countOut = iota
	countIn
	countLocal
	countStack
	countSpoofed
	counters
)

// Labels.
const (
	toStack = "stack"
	toPass  = "pass"
	toDrop  = "drop"
)

// be16 is how the network's 16 bits look when this machine loads them.
func be16(v uint16) int32 {
	return int32(binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v)))
}
