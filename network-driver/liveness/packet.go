package liveness

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// State of a session, as RFC 5880 numbers it.
type State uint8

// The states of RFC 5880, 4.1.
const (
	AdminDown State = iota
	Down
	Init
	Up
)

func (s State) String() string { return [...]string{"admin-down", "down", "init", "up"}[s&3] }

// Diagnostics that we send (RFC 5880, 4.1).
const (
	NoDiagnostic     = 0
	TimeExpired      = 1
	NeighbourDown    = 3
	Administratively = 7
)

// Packet is a BFD control packet without authentication.
type Packet struct {
	Diagnostic     uint8
	State          State
	Poll, Final    bool
	Multiplier     uint8
	Mine, Yours    uint32        // discriminators, as the sender sees them
	Desired        time.Duration // the sender would send as often
	Required       time.Duration // the sender can take as much
	independent    bool          // the sender's BFD lives on without its BGP
	demand, points bool
}

const (
	packetSize = 24
	version    = 1 << 5
)

// ErrNotBFD is a packet that RFC 5880 wants dropped without a word.
var ErrNotBFD = errors.New("no BFD control packet")

// Bytes is the packet on the wire. We send no echo packets and take none.
func (p Packet) Bytes() []byte {
	b := make([]byte, packetSize)
	b[0] = version | p.Diagnostic&0x1f
	b[1] = byte(p.State) << 6
	for i, set := range []bool{p.points, p.demand, false, p.independent, p.Final, p.Poll} {
		if set {
			b[1] |= 1 << i
		}
	}
	b[2], b[3] = p.Multiplier, packetSize
	binary.BigEndian.PutUint32(b[4:], p.Mine)
	binary.BigEndian.PutUint32(b[8:], p.Yours)
	binary.BigEndian.PutUint32(b[12:], uint32(p.Desired/time.Microsecond))
	binary.BigEndian.PutUint32(b[16:], uint32(p.Required/time.Microsecond))
	return b
}

// ParsePacket reads a packet by the rules of RFC 5880, 6.8.6.
func ParsePacket(b []byte) (Packet, error) {
	if len(b) < packetSize || int(b[3]) < packetSize || int(b[3]) > len(b) {
		return Packet{}, fmt.Errorf("%w: %d bytes", ErrNotBFD, len(b))
	}
	p := Packet{
		Diagnostic: b[0] & 0x1f, State: State(b[1] >> 6), Poll: b[1]&0x20 != 0, Final: b[1]&0x10 != 0,
		independent: b[1]&0x08 != 0, demand: b[1]&0x02 != 0, points: b[1]&0x01 != 0, Multiplier: b[2],
		Mine: binary.BigEndian.Uint32(b[4:]), Yours: binary.BigEndian.Uint32(b[8:]),
		Desired:  time.Duration(binary.BigEndian.Uint32(b[12:])) * time.Microsecond,
		Required: time.Duration(binary.BigEndian.Uint32(b[16:])) * time.Microsecond,
	}
	switch {
	case b[0]>>5 != 1:
		return p, fmt.Errorf("%w: version %d", ErrNotBFD, b[0]>>5)
	case b[1]&0x04 != 0:
		return p, fmt.Errorf("%w that we could judge: it is authenticated, and no key is set", ErrNotBFD)
	case p.Multiplier == 0, p.points, p.Mine == 0, p.Yours == 0 && p.State != Down && p.State != AdminDown:
		return p, fmt.Errorf("%w: multiplier %d, discriminators %d and %d in state %s", ErrNotBFD, p.Multiplier, p.Mine, p.Yours, p.State)
	}
	return p, nil
}
