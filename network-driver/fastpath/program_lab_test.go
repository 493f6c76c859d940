//go:build lab

package fastpath

import (
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/rolling-swarm/rolling/internal/listing"
	"github.com/rolling-swarm/rolling/network-driver/lan"
	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// packetOf is hexadecimal with spaces, filled up to 60 bytes as on a wire.
func packetOf(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return append(b, make([]byte, max(0, 60-len(b)))...)
}

// TestTheProgramJudgesEachKindOfPacket runs the containers' program in the kernel on single packets. The one interface
// there is lo, whose MAC is zero: a packet to another MAC is not for this host.
func TestTheProgramJudgesEachKindOfPacket(t *testing.T) {
	s := lan.New(t, "programs")
	var b *bpf
	s.Do(func() error {
		nl, err := listing.Open()
		if err == nil {
			b, err = openBPF(nl, 16)
		}
		return err
	})
	defer b.close()
	own, mac := [4]byte{10, 210, 3, 7}, [6]byte{2, 0x42, 10, 210, 3, 7}
	if err := b.sources.putOne(sourceKey{1, own}, sender{Group: topology.Everyone, MAC: mac}); err != nil {
		t.Fatal(err)
	}
	if err := b.learn(map[netip.Addr]topology.Group{netip.MustParseAddr("10.210.3.9"): topology.Everyone}); err != nil {
		t.Fatal(err)
	}
	const (
		head  = "000000000000 02420ad20307 "
		ip    = "0800 4500001c0000000040110000 "
		known = "0ad20309"
		mine  = "0ad20307 "
		alien = "0ad20308 "
	)
	for _, c := range []struct {
		name, packet, way string // "" is neither counted nor dropped
	}{
		{"own address to an unknown one", head + ip + mine + "08080808", topology.WayStack},
		{"own address to a known one without a route", head + ip + mine + known, topology.WayStack},
		{"another's address", head + ip + alien + known, topology.WaySpoofed},
		{"no address", head + ip + "00000000 ffffffff", topology.WaySpoofed},
		{"another's MAC", "000000000000 02420ad20308 " + ip + mine + known, topology.WaySpoofed},
		{"a MAC that differs in its first bytes", "000000000000 06420ad20307 " + ip + mine + known, topology.WaySpoofed},
		{"to everybody's MAC", "ffffffffffff 02420ad20307 " + ip + mine + known, topology.WayStack},
		{"the last hop", head + "0800 4500001c0000000001110000 " + mine + known, topology.WayStack},
		{"with options", head + "0800 460000200000000040110000 " + mine + known + "01010101", topology.WayStack},
		{"an ARP question of its own", head + "0806 0001080006040001 02420ad20307 " + mine + "000000000000 a9fe0101", ""},
		{"an ARP question before it has an address", head + "0806 0001080006040001 02420ad20307 00000000 000000000000 0ad20307", ""},
		{"an ARP answer for another", head + "0806 0001080006040002 02420ad20307 " + alien + "000000000000 a9fe0101", topology.WaySpoofed},
		{"an ARP answer with another's MAC in it", head + "0806 0001080006040002 02420ad20308 " + mine + "000000000000 a9fe0101", topology.WaySpoofed},
		{"IPv6 from its link-local address", head + "86dd 6000000000083aff fe80000000000000 0000000000000001 ff02000000000000 0000000000000002", ""},
		{"IPv6 from no address", head + "86dd 6000000000083aff 0000000000000000 0000000000000000 ff02000000000000 0000000000000002", ""},
		{"IPv6 from an address, which is checked elsewhere", head + "86dd 6000000000083aff fd00000000000000 0000000000000001 ff02000000000000 0000000000000002", ""},
		{"a VLAN's tag", head + "8100 0001 0800 4500", topology.WaySpoofed},
	} {
		t.Run(c.name, func(t *testing.T) {
			var before, after topology.FastReport
			b.report(&before)
			data := packetOf(t, c.packet)
			var verdict uint32
			s.Do(func() (err error) { verdict, err = b.out.Run(&ebpf.RunOptions{Data: data}); return err })
			b.report(&after)
			pass := int32(unspec)
			want := uint32(pass)
			if c.way == topology.WaySpoofed {
				want = shot
			}
			if verdict != want {
				t.Errorf("the verdict is %d, want %d", int32(verdict), int32(want))
			}
			for _, way := range ways() {
				if n := after.Packets[way] - before.Packets[way]; (n == 1) != (way == c.way) {
					t.Errorf("the counter %q grew by %d", way, n)
				}
			}
		})
	}
}
