package fastpath

import (
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// Two programs for tc, in the kernel's own instructions, so that neither a compiler nor its output is needed. Both look
// at one packet and either send it on themselves or leave it to the stack unchanged; only a container's packet with a
// source that is not the container's own is dropped.

// tables are the maps' file descriptors.
type tables struct{ places, sources, pairs, counts int }

// fromContainer sits on the host ends. It checks the source, and carries what goes to an address that it knows: into the
// other container's namespace, or by the route that the kernel has at this moment, and the neighbour that it has.
func fromContainer(t tables) asm.Instructions {
	p := append(asm.Instructions{asm.Mov.Reg(asm.R6, asm.R1)}, linear()...)
	p = append(p, need(ipEnd, toDrop)...)
	p = append(p, untagged(toDrop)...)
	p = append(p,
		asm.LoadMem(asm.R1, asm.R7, ethProto, asm.Half),
		asm.JEq.Imm(asm.R1, be16(unix.ETH_P_ARP), "arp"),
		asm.JEq.Imm(asm.R1, be16(unix.ETH_P_IPV6), "six"),
		asm.JNE.Imm(asm.R1, be16(unix.ETH_P_IP), toDrop),
	)
	p = append(p, senderOf(t, ipSrc, ethSrc)...)
	p = append(p, asm.LoadMem(asm.R9, asm.R0, senderGroup, asm.Word))
	p = append(p, routable(toStack)...)
	p = append(p, placeOf(t, ipDst, toStack)...)
	p = append(p, asm.Mov.Reg(asm.R8, asm.R0))
	p = append(p, permitted(t, toStack)...)
	p = append(p,
		asm.LoadMem(asm.R1, asm.R8, placeIfindex, asm.Word),
		asm.JEq.Imm(asm.R1, 0, "far"),
	)
	p = append(p, deliver(t, countLocal, toStack)...)
	p = append(p, away(t)...)
	p = append(p, arp(t)...)
	p = append(p, six()...)
	p = append(p, ends(t, countSpoofed, shot, toDrop)...)
	p = append(p, ends(t, countStack, unspec, toStack)...)
	return append(p, asm.Mov.Imm(asm.R0, unspec).WithSymbol(toPass), asm.Return())
}

// fromUplink sits on the uplinks. It carries what comes from a container of another node to one here.
func fromUplink(t tables) asm.Instructions {
	p := append(asm.Instructions{asm.Mov.Reg(asm.R6, asm.R1)}, packet()...)
	p = append(p, need(ipEnd, toPass)...)
	p = append(p, untagged(toPass)...)
	p = append(p,
		asm.LoadMem(asm.R1, asm.R7, ethProto, asm.Half),
		asm.JNE.Imm(asm.R1, be16(unix.ETH_P_IP), toPass),
	)
	p = append(p, routable(toPass)...)
	p = append(p, placeOf(t, ipDst, toPass)...)
	p = append(p,
		asm.Mov.Reg(asm.R8, asm.R0),
		asm.LoadMem(asm.R1, asm.R8, placeIfindex, asm.Word),
		asm.JEq.Imm(asm.R1, 0, toPass),
	)
	p = append(p, placeOf(t, ipSrc, toPass)...)
	p = append(p,
		asm.LoadMem(asm.R1, asm.R0, placeIfindex, asm.Word),
		asm.JNE.Imm(asm.R1, 0, toPass), // a container of this node does not send from outside
		asm.LoadMem(asm.R9, asm.R0, placeGroup, asm.Word),
	)
	p = append(p, permitted(t, toPass)...)
	p = append(p, deliver(t, countIn, toPass)...)
	return append(p, asm.Mov.Imm(asm.R0, unspec).WithSymbol(toPass), asm.Return())
}

// packet puts the data's begin into R7 and its end into R8.
func packet() asm.Instructions {
	return asm.Instructions{
		asm.LoadMem(asm.R7, asm.R6, skbData, asm.Word),
		asm.LoadMem(asm.R8, asm.R6, skbEnd, asm.Word),
	}
}

// linear is packet, after the headers were brought together where a packet socket's frame has them apart.
func linear() asm.Instructions {
	p := append(packet(), need(ip6End, "apart")...)
	p = append(p,
		asm.Ja.Label("linear"),
		asm.LoadMem(asm.R2, asm.R6, skbLen, asm.Word).WithSymbol("apart"),
		asm.JLE.Imm(asm.R2, ip6End, "short"),
		asm.Mov.Imm(asm.R2, ip6End),
		asm.Mov.Reg(asm.R1, asm.R6).WithSymbol("short"),
		asm.FnSkbPullData.Call(),
	)
	p = append(p, packet()...)
	return append(p, asm.Mov.Reg(asm.R1, asm.R7).WithSymbol("linear"))
}

func need(n int32, otherwise string) asm.Instructions {
	return asm.Instructions{
		asm.Mov.Reg(asm.R1, asm.R7),
		asm.Add.Imm(asm.R1, n),
		asm.JGT.Reg(asm.R1, asm.R8, otherwise),
	}
}

// untagged: a VLAN's tag would go along to the uplink, and a container into any VLAN there.
func untagged(otherwise string) asm.Instructions {
	return asm.Instructions{
		asm.LoadMem(asm.R1, asm.R6, skbTagged, asm.Word),
		asm.JNE.Imm(asm.R1, 0, otherwise),
	}
}

// routable lets only packets through that a router may send on without a second thought: meant for this host, no IP
// options, more than one hop to live.
func routable(otherwise string) asm.Instructions {
	return asm.Instructions{
		asm.LoadMem(asm.R1, asm.R6, skbKind, asm.Word),
		asm.JNE.Imm(asm.R1, 0, otherwise),
		asm.LoadMem(asm.R1, asm.R7, ipVersion, asm.Byte),
		asm.JNE.Imm(asm.R1, 0x45, otherwise),
		asm.LoadMem(asm.R1, asm.R7, ipTTL, asm.Byte),
		asm.JLE.Imm(asm.R1, 1, otherwise),
	}
}

func lookup(fd int) asm.Instructions {
	return asm.Instructions{
		asm.LoadMapPtr(asm.R1, fd),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, atKey),
		asm.FnMapLookupElem.Call(),
	}
}

// senderOf looks up the address at that offset for this link, and compares the MAC: R0 is what is known of it.
func senderOf(t tables, address, mac int16) asm.Instructions {
	p := asm.Instructions{
		asm.LoadMem(asm.R1, asm.R6, skbIfindex, asm.Word),
		asm.StoreMem(asm.RFP, atKey, asm.R1, asm.Word),
		asm.LoadMem(asm.R1, asm.R7, address, asm.Word),
		asm.StoreMem(asm.RFP, atKey+4, asm.R1, asm.Word),
	}
	p = append(p, lookup(t.sources)...)
	return append(append(p, asm.JEq.Imm(asm.R0, 0, toDrop)), sameMAC(mac)...)
}

func sameMAC(at int16) asm.Instructions {
	return asm.Instructions{
		asm.LoadMem(asm.R1, asm.R7, at, asm.Half),
		asm.LoadMem(asm.R2, asm.R0, senderMAC, asm.Half),
		asm.JNE.Reg(asm.R1, asm.R2, toDrop),
		asm.LoadMem(asm.R1, asm.R7, at+2, asm.Word),
		asm.LoadMem(asm.R2, asm.R0, senderMAC+2, asm.Word),
		asm.JNE.Reg(asm.R1, asm.R2, toDrop),
	}
}

// placeOf looks up the address at that offset: R0 is where it is.
func placeOf(t tables, address int16, otherwise string) asm.Instructions {
	p := asm.Instructions{
		asm.LoadMem(asm.R1, asm.R7, address, asm.Word),
		asm.StoreMem(asm.RFP, atKey, asm.R1, asm.Word),
	}
	return append(append(p, lookup(t.places)...), asm.JEq.Imm(asm.R0, 0, otherwise))
}

// permitted goes on when R9, the source's group, may talk to the group of the place at R8.
func permitted(t tables, otherwise string) asm.Instructions {
	p := asm.Instructions{
		asm.LoadMem(asm.R1, asm.R8, placeGroup, asm.Word),
		asm.JEq.Reg(asm.R1, asm.R9, "permitted"),
		asm.StoreMem(asm.RFP, atKey, asm.R9, asm.Word),
		asm.StoreMem(asm.RFP, atKey+4, asm.R1, asm.Word),
	}
	p = append(p, lookup(t.pairs)...)
	return append(p, asm.JEq.Imm(asm.R0, 0, otherwise), asm.Mov.Reg(asm.R1, asm.R7).WithSymbol("permitted"))
}

// fits leaves what is too large for the interface in R2 to the stack, which answers with the right ICMP. A packet that
// the card or the stack will cut is judged by its pieces.
func fits(otherwise string) asm.Instructions {
	return asm.Instructions{
		asm.StoreImm(asm.RFP, atMTU, 0, asm.Word),
		asm.Mov.Reg(asm.R1, asm.R6),
		asm.Mov.Reg(asm.R3, asm.RFP),
		asm.Add.Imm(asm.R3, atMTU),
		asm.Mov.Imm(asm.R4, 0),
		asm.Mov.Imm(asm.R5, 1), // BPF_MTU_CHK_SEGS
		asm.FnCheckMtu.Call(),
		asm.JNE.Imm(asm.R0, 0, otherwise),
	}
}

// hop takes one from the time to live, and mends the checksum as ip_decrease_ttl does.
func hop(symbol string) asm.Instructions {
	return asm.Instructions{
		asm.LoadMem(asm.R1, asm.R7, ipSum, asm.Half),
		asm.Add.Imm(asm.R1, be16(0x0100)),
		asm.JLT.Imm(asm.R1, 0xffff, symbol),
		asm.Add.Imm(asm.R1, 1),
		asm.StoreMem(asm.R7, ipSum, asm.R1, asm.Half).WithSymbol(symbol),
		asm.LoadMem(asm.R1, asm.R7, ipTTL, asm.Byte),
		asm.Sub.Imm(asm.R1, 1),
		asm.StoreMem(asm.R7, ipTTL, asm.R1, asm.Byte),
	}
}

func count(t tables, n int64, symbol string) asm.Instructions {
	return asm.Instructions{
		asm.StoreImm(asm.RFP, atCount, n, asm.Word),
		asm.LoadMapPtr(asm.R1, t.counts),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, atCount),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, symbol),
		asm.LoadMem(asm.R1, asm.R0, 0, asm.DWord),
		asm.Add.Imm(asm.R1, 1),
		asm.StoreMem(asm.R0, 0, asm.R1, asm.DWord),
	}
}

// deliver hands the packet to the container whose place is at R8, in its own namespace, with its own MAC in it.
func deliver(t tables, n int64, otherwise string) asm.Instructions {
	p := append(asm.Instructions{asm.LoadMem(asm.R2, asm.R8, placeIfindex, asm.Word)}, fits(otherwise)...)
	p = append(p, hop("deliver-sum")...)
	for _, c := range []struct{ from, to int16 }{{placeMAC, ethDst}, {placeHostMAC, ethSrc}} {
		for at := int16(0); at < 6; at += 2 {
			p = append(p, asm.LoadMem(asm.R1, asm.R8, c.from+at, asm.Half), asm.StoreMem(asm.R7, c.to+at, asm.R1, asm.Half))
		}
	}
	p = append(p, count(t, n, "deliver-counted")...)
	return append(p,
		asm.LoadMem(asm.R1, asm.R8, placeIfindex, asm.Word).WithSymbol("deliver-counted"),
		asm.Mov.Imm(asm.R2, 0),
		asm.FnRedirectPeer.Call(),
		asm.Return(),
	)
}

// away asks the kernel for route and neighbour as a router would. Only a neighbour that is known is taken: the stack
// finds one that is not, and says so to the sender when there is none.
func away(t tables) asm.Instructions {
	p := append(question(), asm.JNE.Imm(asm.R0, 0, toStack), asm.LoadMem(asm.R2, asm.RFP, atFIB+fibIfindex, asm.Word))
	p = append(p, fits(toStack)...)
	p = append(p, hop("away-sum")...)
	p = append(p, count(t, countOut, "away-counted")...)
	return append(p,
		asm.StoreImm(asm.RFP, atNext, unix.AF_INET, asm.Word).WithSymbol("away-counted"),
		asm.LoadMem(asm.R1, asm.RFP, atFIB+fibDst, asm.Word), // the next hop by now
		asm.StoreMem(asm.RFP, atNext+4, asm.R1, asm.Word),
		asm.StoreImm(asm.RFP, atNext+8, 0, asm.Word),
		asm.StoreImm(asm.RFP, atNext+12, 0, asm.Word),
		asm.StoreImm(asm.RFP, atNext+16, 0, asm.Word),
		asm.LoadMem(asm.R1, asm.RFP, atFIB+fibIfindex, asm.Word),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, atNext),
		asm.Mov.Imm(asm.R3, 20),
		asm.Mov.Imm(asm.R4, 0),
		asm.FnRedirectNeigh.Call(),
		asm.Return(),
	)
}

// question fills struct bpf_fib_lookup and asks.
func question() asm.Instructions {
	p := asm.Instructions{asm.Mov.Imm(asm.R1, 0).WithSymbol("far")}
	for at := int16(0); at < fibSize; at += 8 {
		p = append(p, asm.StoreMem(asm.RFP, atFIB+at, asm.R1, asm.DWord))
	}
	return append(p,
		asm.StoreImm(asm.RFP, atFIB, unix.AF_INET, asm.Byte),
		asm.LoadMem(asm.R1, asm.R7, ipProtocol, asm.Byte),
		asm.StoreMem(asm.RFP, atFIB+fibProtocol, asm.R1, asm.Byte),
		asm.LoadMem(asm.R1, asm.R6, skbIfindex, asm.Word),
		asm.StoreMem(asm.RFP, atFIB+fibIfindex, asm.R1, asm.Word),
		asm.LoadMem(asm.R1, asm.R7, ipTOS, asm.Byte),
		asm.StoreMem(asm.RFP, atFIB+fibTOS, asm.R1, asm.Byte),
		asm.LoadMem(asm.R1, asm.R7, ipSrc, asm.Word),
		asm.StoreMem(asm.RFP, atFIB+fibSrc, asm.R1, asm.Word),
		asm.LoadMem(asm.R1, asm.R7, ipDst, asm.Word),
		asm.StoreMem(asm.RFP, atFIB+fibDst, asm.R1, asm.Word),
		asm.Mov.Reg(asm.R1, asm.R6),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, atFIB),
		asm.Mov.Imm(asm.R3, fibSize),
		asm.Mov.Imm(asm.R4, 0),
		asm.FnFibLookup.Call(),
	)
}

// arp lets a container speak of its own addresses, and ask (RFC 5227: without an address of its own).
func arp(t tables) asm.Instructions {
	p := asm.Instructions{asm.Mov.Reg(asm.R1, asm.R7).WithSymbol("arp")}
	p = append(p, need(arpEnd, toDrop)...)
	p = append(p, asm.LoadMem(asm.R1, asm.R7, arpSrcIP, asm.Word), asm.JEq.Imm(asm.R1, 0, toPass))
	p = append(p, senderOf(t, arpSrcIP, ethSrc)...)
	p = append(p, sameMAC(arpSrcMAC)...)
	return append(p, asm.Ja.Label(toPass))
}

// six lets all of IPv6 go the ordinary way: what a container may send of it is checked there.
func six() asm.Instructions {
	return asm.Instructions{asm.Ja.Label(toPass).WithSymbol("six")}
}

// ends counts and returns.
func ends(t tables, n, verdict int64, symbol string) asm.Instructions {
	p := count(t, n, symbol+"-counted")
	p[0] = p[0].WithSymbol(symbol)
	return append(p, asm.Mov.Imm(asm.R0, int32(verdict)).WithSymbol(symbol+"-counted"), asm.Return())
}
