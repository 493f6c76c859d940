package spool

import (
	"encoding/binary"
	"errors"
	"hash/crc32"

	"github.com/rolling-swarm/rolling/logdriver/batch"
	"github.com/rolling-swarm/rolling/logdriver/entry"
)

// A record is `[length of the body, 4][crc32c of the body, 4][body]`, little endian. The body of a fragment is
// `[flags, 1][time, 8][number, 8][text]`; that of a gap `[flagGap, 1][reason, 1]` and per stream what was dropped and
// the tail behind it.
const (
	recordHead   = 8
	fragmentHead = 1 + 8 + 8
	dropped      = 6 * 8
	tail         = 3*8 + 1
	gapBody      = 2 + int(entry.Streams)*(dropped+tail)
	// largestBody is above the longest line that options allow and its head.
	largestBody = 32 << 20
)

const (
	flagStderr = 1 << iota
	flagStart
	flagMore
	flagNewline
	flagContinued
	flagGap
)

var (
	errShort = errors.New("the record is not complete")
	errTorn  = errors.New("the record is damaged")
)

// An item is a record, read: a fragment or a gap.
type item struct {
	fragment batch.Fragment
	gap      *batch.Gap
	tails    [entry.Streams]batch.Tail // of a gap
}

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

func recordSize(f batch.Fragment) int { return recordHead + fragmentHead + len(f.Text) }

func appendFragment(dst []byte, table *crc32.Table, f batch.Fragment) []byte {
	start := len(dst)
	var flags byte
	if f.Stream == entry.Stderr {
		flags |= flagStderr
	}
	if f.Start {
		flags |= flagStart
	}
	if f.More {
		flags |= flagMore
	}
	if f.Newline {
		flags |= flagNewline
	}
	if f.Continued {
		flags |= flagContinued
	}
	var head [recordHead + fragmentHead]byte
	head[recordHead] = flags
	binary.LittleEndian.PutUint64(head[recordHead+1:], uint64(f.Nanos))
	binary.LittleEndian.PutUint64(head[recordHead+9:], f.Seq)
	dst = append(dst, head[:]...)
	dst = append(dst, f.Text...)
	seal(dst[start:], table)
	return dst
}

func appendGap(dst []byte, table *crc32.Table, g batch.Gap, tails [entry.Streams]batch.Tail) []byte {
	start := len(dst)
	dst = append(dst, make([]byte, recordHead)...)
	dst = append(dst, flagGap, byte(g.Reason))
	for i, d := range g.Streams {
		for _, n := range []uint64{d.Lines, d.Bytes, d.First, d.Last, uint64(d.From), uint64(d.To)} {
			dst = binary.LittleEndian.AppendUint64(dst, n)
		}
		dst = appendTail(dst, tails[i])
	}
	seal(dst[start:], table)
	return dst
}

func appendTail(dst []byte, t batch.Tail) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, t.Seq)
	dst = binary.LittleEndian.AppendUint64(dst, t.Size)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(t.Nanos))
	if t.Open {
		return append(dst, 1)
	}
	return append(dst, 0)
}

func readTail(b []byte) batch.Tail {
	return batch.Tail{
		Seq: binary.LittleEndian.Uint64(b), Size: binary.LittleEndian.Uint64(b[8:]), Nanos: int64(binary.LittleEndian.Uint64(b[16:])), Open: b[24] == 1,
	}
}

func seal(record []byte, table *crc32.Table) {
	body := record[recordHead:]
	binary.LittleEndian.PutUint32(record, uint32(len(body)))
	binary.LittleEndian.PutUint32(record[4:], crc32.Checksum(body, table))
}

// next reads the first record of b and says how long it is.
func next(b []byte, table *crc32.Table) (item, int, error) {
	if len(b) < recordHead {
		return item{}, 0, errShort
	}
	size := int(binary.LittleEndian.Uint32(b))
	if size < 1 || size > largestBody {
		return item{}, 0, errTorn
	}
	if len(b)-recordHead < size {
		return item{}, recordHead + size, errShort
	}
	body := b[recordHead : recordHead+size]
	if crc32.Checksum(body, table) != binary.LittleEndian.Uint32(b[4:]) {
		return item{}, 0, errTorn
	}
	var it item
	flags := body[0]
	switch {
	case flags&flagGap != 0 && size == gapBody:
		it.gap = readGap(body, &it.tails)
	case flags&flagGap == 0 && size >= fragmentHead:
		it.fragment = batch.Fragment{
			Start: flags&flagStart != 0, More: flags&flagMore != 0, Newline: flags&flagNewline != 0, Continued: flags&flagContinued != 0,
			Nanos: int64(binary.LittleEndian.Uint64(body[1:])), Seq: binary.LittleEndian.Uint64(body[9:]),
			Text: body[fragmentHead:size:size],
		}
		if flags&flagStderr != 0 {
			it.fragment.Stream = entry.Stderr
		}
	default:
		return item{}, 0, errTorn
	}
	return it, recordHead + size, nil
}

func readGap(body []byte, tails *[entry.Streams]batch.Tail) *batch.Gap {
	g := &batch.Gap{Reason: batch.Reason(body[1])}
	b := body[2:]
	for i := range g.Streams {
		u := func(at int) uint64 { return binary.LittleEndian.Uint64(b[at*8:]) }
		g.Streams[i] = batch.Dropped{Lines: u(0), Bytes: u(1), First: u(2), Last: u(3), From: int64(u(4)), To: int64(u(5))}
		tails[i] = readTail(b[dropped:])
		b = b[dropped+tail:]
	}
	return g
}
