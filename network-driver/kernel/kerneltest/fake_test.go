package kerneltest

import (
	"testing"

	"github.com/rolling-swarm/rolling/network-driver/topology"
)

func TestTheFakeConforms(t *testing.T) {
	Conforms(t, func(*testing.T) Rig {
		f := NewFake()
		return Rig{
			Wires: f.Wires(), Roads: f.Roads(),
			Carry: func(l topology.Link) { f.Carry(l.Name) },
			End:   func(l topology.Link) { f.End(l.Name) },
		}
	})
}
