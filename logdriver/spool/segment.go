package spool

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/rolling-swarm/rolling/logdriver/batch"
	"github.com/rolling-swarm/rolling/logdriver/entry"
)

// A segment file is named by its position in the container's log, 16 hexadecimal digits. It begins with
// `[magic, 8][position, 8][lines that ended before, 8][tail per stream][crc32c, 4]`.
const (
	magic       = "rollog01"
	segmentHead = 8 + 8 + 8 + int(entry.Streams)*tail + 4
	segmentEnd  = ".seg"
	gapEnd      = ".gap"
)

// A segment is a piece of the log: a file of records, or the place of one that was dropped.
type segment struct {
	base, size int64
	lines      uint64                // that ended before base
	seq        [entry.Streams]uint64 // the last numbers before base, of a file
	gap        *batch.Gap            // not nil: what was here is dropped
	dropping   bool                  // it is being made a gap
}

func (s segment) end() int64 { return s.base + s.size }

// behind says that Kafka has none of the segment's lines.
func (s segment) behind(c batch.Cursor) bool {
	for i, seq := range s.seq {
		if seq < c.Seq[i] {
			return false
		}
	}
	return true
}

// disk is what the segment takes.
func (s segment) disk() int64 {
	if s.gap != nil {
		return int64(recordHead + gapBody)
	}
	return s.size
}

func (s segment) path(folder string) string { return segmentPath(folder, s.base, s.gap != nil) }

func segmentPath(folder string, base int64, gap bool) string {
	end := segmentEnd
	if gap {
		end = gapEnd
	}
	return filepath.Join(folder, fmt.Sprintf("%016x%s", base, end))
}

func appendHead(dst []byte, table *crc32.Table, base int64, lines uint64, tails [entry.Streams]batch.Tail) []byte {
	start := len(dst)
	dst = append(dst, magic...)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(base))
	dst = binary.LittleEndian.AppendUint64(dst, lines)
	for _, t := range tails {
		dst = appendTail(dst, t)
	}
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], table))
}

var errHead = errors.New("not a segment's head")

func readHead(b []byte, table *crc32.Table, base int64) (lines uint64, tails [entry.Streams]batch.Tail, err error) {
	if len(b) < segmentHead || string(b[:8]) != magic || binary.LittleEndian.Uint64(b[8:]) != uint64(base) ||
		binary.LittleEndian.Uint32(b[segmentHead-4:]) != crc32.Checksum(b[:segmentHead-4], table) {
		return 0, tails, errHead
	}
	for i := range tails {
		tails[i] = readTail(b[24+i*tail:])
	}
	return binary.LittleEndian.Uint64(b[16:]), tails, nil
}

// list finds the segments of a folder in order. Files that a crash left half done go: a segment whose place a gap has
// taken, a head that never came whole.
func list(folder string, table *crc32.Table) ([]segment, error) {
	files, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	var found []segment
	for _, f := range files {
		name, isSegment := strings.CutSuffix(f.Name(), segmentEnd)
		name, isGap := strings.CutSuffix(name, gapEnd)
		base, err := strconv.ParseInt(name, 16, 64)
		if err != nil || !isSegment && !isGap { // lane.json, cursor, or half written
			if strings.HasSuffix(f.Name(), fresh) {
				if err := os.Remove(filepath.Join(folder, f.Name())); err != nil {
					return nil, err
				}
			}
			continue
		}
		s, err := inspect(folder, base, isGap, table)
		if errors.Is(err, errHead) || errors.Is(err, fs.ErrNotExist) {
			if err := os.Remove(segmentPath(folder, base, isGap)); err != nil {
				return nil, err
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		found = append(found, s)
	}
	slices.SortFunc(found, func(a, b segment) int {
		if a.base == b.base && a.gap != nil {
			return -1 // before the segment whose place it takes
		}
		return cmp.Compare(a.base, b.base)
	})
	return uncovered(folder, found)
}

// uncovered removes segments that lie within a gap.
func uncovered(folder string, found []segment) ([]segment, error) {
	var kept []segment
	for _, s := range found {
		if n := len(kept); n > 0 && kept[n-1].gap != nil && s.base < kept[n-1].end() {
			if err := os.Remove(s.path(folder)); err != nil {
				return nil, err
			}
			continue
		}
		kept = append(kept, s)
	}
	return kept, nil
}

func inspect(folder string, base int64, gap bool, table *crc32.Table) (segment, error) {
	path := segmentPath(folder, base, gap)
	if gap {
		return readGapFile(path, base, table)
	}
	f, err := os.Open(path)
	if err != nil {
		return segment{}, err
	}
	defer func() { _ = f.Close() }() // only read
	head := make([]byte, segmentHead)
	if _, err := f.ReadAt(head, 0); err != nil {
		return segment{}, errHead
	}
	lines, tails, err := readHead(head, table, base)
	if err != nil {
		return segment{}, err
	}
	info, err := f.Stat()
	if err != nil {
		return segment{}, err
	}
	s := segment{base: base, size: info.Size(), lines: lines}
	for i, t := range tails {
		s.seq[i] = t.Seq
	}
	return s, nil
}

// A gap's file is `[size of the place, 8][lines that ended before, 8][record of the gap]`.
const gapFileHead = 16

func writeGapFile(folder string, s segment, table *crc32.Table) error {
	b := binary.LittleEndian.AppendUint64(nil, uint64(s.size))
	b = binary.LittleEndian.AppendUint64(b, s.lines)
	b = appendGap(b, table, *s.gap, [entry.Streams]batch.Tail{})
	return replace(s.path(folder), b)
}

func readGapFile(path string, base int64, table *crc32.Table) (segment, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return segment{}, err
	}
	if len(b) < gapFileHead {
		return segment{}, errHead
	}
	it, _, err := next(b[gapFileHead:], table)
	if err != nil || it.gap == nil {
		return segment{}, errHead
	}
	return segment{base: base, size: int64(binary.LittleEndian.Uint64(b)), lines: binary.LittleEndian.Uint64(b[8:]), gap: it.gap}, nil
}

const fresh = ".new"

// replace writes a file so that a crash leaves the old one or the new one.
func replace(path string, content []byte) error {
	if err := os.WriteFile(path+fresh, content, 0o600); err != nil {
		return err
	}
	return os.Rename(path+fresh, path)
}

// scan reads the records of a whole segment: what it holds, and how much of the file is good.
func scan(path string, table *crc32.Table, base int64, visit func(it item, at int64)) (good int64, tails [entry.Streams]batch.Tail, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, tails, err
	}
	if _, tails, err = readHead(b, table, base); err != nil {
		return 0, tails, err
	}
	good = int64(segmentHead)
	for {
		it, n, err := next(b[good:], table)
		if err != nil {
			return good, tails, nil //nolint:nilerr // what cannot be read begins the torn tail
		}
		if it.gap != nil {
			tails = it.tails
		} else {
			tails[it.fragment.Stream] = tails[it.fragment.Stream].After(it.fragment)
		}
		visit(it, base+good)
		good += int64(n)
	}
}
