package arp

import (
	"bytes"
	"net"
	"net/netip"
	"testing"
)

var (
	ownMAC, otherMAC = net.HardwareAddr{2, 0, 0, 0, 0, 1}, net.HardwareAddr{2, 0, 0, 0, 0, 2}
	wanted, another  = netip.MustParseAddr("10.5.0.7"), netip.MustParseAddr("10.5.0.8")
)

func TestAProbeSaysNothingOfOurselves(t *testing.T) {
	got := probe(ownMAC, wanted).bytes()
	want := []byte{255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 1, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10, 5, 0, 7}
	if !bytes.Equal(got, want) {
		t.Errorf("% x\nwant\n% x", got, want)
	}
	f, ok := parse(announcement(ownMAC, wanted).bytes())
	if !ok || f.sender != wanted || f.target != wanted || f.source.String() != ownMAC.String() {
		t.Errorf("an announcement is read back as %+v, %t", f, ok)
	}
}

func TestWhoClaimsAnAddress(t *testing.T) {
	for _, c := range []struct {
		name string
		f    frame
		want bool
	}{
		{"somebody answers that it is his", frame{operation: reply, senderMAC: otherMAC, sender: wanted, target: netip.IPv4Unspecified()}, true},
		{"somebody asks from it", frame{operation: request, senderMAC: otherMAC, sender: wanted, target: another}, true},
		{"somebody probes for it at the same time", frame{operation: request, senderMAC: otherMAC, sender: netip.IPv4Unspecified(), target: wanted}, true},
		{"our own probe comes back", frame{operation: request, senderMAC: ownMAC, sender: netip.IPv4Unspecified(), target: wanted}, false},
		{"somebody wants to know who has it", frame{operation: request, senderMAC: otherMAC, sender: another, target: wanted}, false},
		{"somebody probes for another", frame{operation: request, senderMAC: otherMAC, sender: netip.IPv4Unspecified(), target: another}, false},
		{"an answer about another", frame{operation: reply, senderMAC: otherMAC, sender: another, target: wanted}, false},
	} {
		if got := c.f.claims(wanted, ownMAC); got != c.want {
			t.Errorf("%s: claims = %t", c.name, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(probe(ownMAC, wanted).bytes())
	f.Add(append(announcement(ownMAC, wanted).bytes(), make([]byte, 18)...))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		got, ok := parse(b)
		if !ok {
			return
		}
		if again := got.bytes(); !bytes.Equal(again, b[:frameBytes]) {
			t.Errorf("% x\nis written as\n% x", b[:frameBytes], again)
		}
	})
}
