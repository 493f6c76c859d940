package fastpath

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/cilium/ebpf/asm"
)

// The kernel judges the programs; that every jump has its aim can be told without one.
func TestThePrograms(t *testing.T) {
	for name, p := range map[string]asm.Instructions{"containers": fromContainer(tables{}), "uplinks": fromUplink(tables{})} {
		var text bytes.Buffer
		if err := p.Marshal(&text, binary.LittleEndian); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if n := text.Len() / asm.InstructionSize; n < 50 || n > 400 {
			t.Errorf("%s: %d instructions", name, n)
		}
	}
}

func TestTheKeysAreAsThePacketHasThem(t *testing.T) {
	if got, want := binary.Size(place{}), 20; got != want {
		t.Errorf("a place has %d bytes, the programs know %d", got, want)
	}
	if got, want := binary.Size(sender{}), 12; got != want {
		t.Errorf("a sender has %d bytes, the programs know %d", got, want)
	}
	var b [2]byte
	binary.NativeEndian.PutUint16(b[:], uint16(be16(0x0800)))
	if b != [2]byte{8, 0} {
		t.Errorf("IPv4's number is % x in memory, want 08 00", b)
	}
}
