package ledger

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/rolling-swarm/rolling/ipam-driver/pool"
)

// JournalName is the journal's name in the state folder.
const JournalName = "ledger.journal"

const (
	page = 4096
	// journalSize is fixed: a file that grows costs the disk a second write a sync.
	journalSize = 512 * page
	// A frame: magic, length of the text, generation, which frame of it, checksum of all that; then the text.
	frameHead  = 4 + 4 + 8 + 8 + 4
	frameMagic = 0x524c4a31
)

// journal is a file of frames in front of the ledger. bbolt syncs twice a transaction; a frame is written in place and
// synced once. What the journal holds, bbolt is given when the journal is full or closed, in one transaction that also
// raises the generation: by that, all frames are void at once. A frame begins on a page of its own, so that nothing that
// is safe is written again.
type journal struct {
	file       *os.File
	generation uint64
	frames     uint64 // of this generation
	at         int64  // where the next one goes
}

// openJournal makes the file, at its full length and on disk, if it is not there.
func openJournal(path string) (*journal, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("journal %s: %w", path, err)
	}
	j := &journal{file: f}
	info, err := f.Stat()
	if err == nil && info.Size() < journalSize {
		if _, err = f.WriteAt(make([]byte, journalSize-info.Size()), info.Size()); err == nil {
			err = f.Sync()
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("journal %s: %w", path, err), f.Close())
	}
	return j, nil
}

func pages(length int) int64 { return (int64(frameHead+length) + page - 1) / page * page }

// fits reports whether there is room for one more frame.
func (j *journal) fits(text []byte) bool { return j.at+pages(len(text)) <= journalSize }

// append writes a frame and waits for the disk. After a failure the next frame goes to the same place.
func (j *journal) append(text []byte) error {
	frame := make([]byte, pages(len(text)))
	binary.BigEndian.PutUint32(frame, frameMagic)
	binary.BigEndian.PutUint32(frame[4:], uint32(len(text)))
	binary.BigEndian.PutUint64(frame[8:], j.generation)
	binary.BigEndian.PutUint64(frame[16:], j.frames)
	copy(frame[frameHead:], text)
	binary.BigEndian.PutUint32(frame[24:], checksum(frame[:24], frame[frameHead:frameHead+len(text)]))
	_, err := j.file.WriteAt(frame, j.at)
	if err == nil {
		err = unix.Fdatasync(int(j.file.Fd()))
	}
	if err != nil {
		return fmt.Errorf("write a frame at %d: %w", j.at, err)
	}
	j.at += int64(len(frame))
	j.frames++
	return nil
}

func checksum(head, text []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Checksum(head, table), table, text)
}

// begin voids all frames: those of another generation do not count.
func (j *journal) begin(generation uint64) { j.generation, j.frames, j.at = generation, 0, 0 }

// read finds the frames of a generation. The last one may be half written: nobody was told that it is kept. One that is
// spoilt and has a good one behind it was, so the file is torn.
func (j *journal) read(generation uint64) ([]pool.Change, error) {
	j.begin(generation)
	all := make([]byte, journalSize)
	if _, err := j.file.ReadAt(all, 0); err != nil {
		return nil, fmt.Errorf("read the journal: %w", err)
	}
	var changes []pool.Change
	for j.at < journalSize {
		text, ok := frameAt(all[j.at:], generation, j.frames)
		if !ok {
			break
		}
		got, err := decodeChanges(text)
		if err != nil {
			return nil, fmt.Errorf("frame %d of the journal: %w", j.frames, err)
		}
		changes = append(changes, got...)
		j.at += pages(len(text))
		j.frames++
	}
	for at := j.at; at < journalSize; at += page {
		if later, ok := sequenceAt(all[at:], generation); ok && later >= j.frames {
			return nil, fmt.Errorf("frame %d of the journal is spoilt, and frame %d is not", j.frames, later)
		}
	}
	return changes, nil
}

// frameAt is the text of the frame that begins here, if it is whole and the one that is due.
func frameAt(b []byte, generation, due uint64) ([]byte, bool) {
	text, sequence, ok := frame(b, generation)
	return text, ok && sequence == due
}

func sequenceAt(b []byte, generation uint64) (uint64, bool) {
	_, sequence, ok := frame(b, generation)
	return sequence, ok
}

func frame(b []byte, generation uint64) (text []byte, sequence uint64, ok bool) {
	if len(b) < page || binary.BigEndian.Uint32(b) != frameMagic || binary.BigEndian.Uint64(b[8:]) != generation {
		return nil, 0, false
	}
	length := int64(binary.BigEndian.Uint32(b[4:]))
	if length > int64(len(b)-frameHead) {
		return nil, 0, false
	}
	text = b[frameHead : frameHead+length]
	return text, binary.BigEndian.Uint64(b[16:]), checksum(b[:24], text) == binary.BigEndian.Uint32(b[24:])
}

// change is a pool.Change in the journal. Its leases say where they are, which a record of bbolt leaves to its key.
type change struct {
	Meta       *pool.Meta         `json:"m,omitempty"`
	Shares     []pool.ShareRecord `json:"s,omitempty"`
	GoneShares []uint32           `json:"S,omitempty"`
	Leases     []leaseLine        `json:"l,omitempty"`
	GoneLeases []leaseLine        `json:"L,omitempty"`
	Plan       *pool.PlanRecord   `json:"p,omitempty"`
}

type leaseLine struct {
	Pool   string            `json:"p"`
	Addr   netip.Addr        `json:"a"`
	Record *pool.LeaseRecord `json:"r,omitempty"`
}

func encodeChanges(all []pool.Change) ([]byte, error) {
	var out []change
	for _, c := range all {
		if c.IsZero() {
			continue
		}
		o := change{Meta: c.Meta, Shares: c.Shares, GoneShares: c.GoneShares, Plan: c.Plan}
		for _, l := range c.Leases {
			o.Leases = append(o.Leases, leaseLine{l.Pool, l.Addr, &l})
		}
		for _, l := range c.GoneLeases {
			o.GoneLeases = append(o.GoneLeases, leaseLine{Pool: l.Pool, Addr: l.Addr})
		}
		out = append(out, o)
	}
	if out == nil {
		return nil, nil
	}
	return encode(out)
}

func decodeChanges(text []byte) ([]pool.Change, error) {
	var in []change
	if err := json.Unmarshal(text, &in); err != nil {
		return nil, err
	}
	var all []pool.Change
	for _, c := range in {
		o := pool.Change{Meta: c.Meta, Shares: c.Shares, GoneShares: c.GoneShares, Plan: c.Plan}
		for _, l := range c.Leases {
			if l.Record == nil || !l.Addr.Is4() {
				return nil, fmt.Errorf("lease %s of %q has no record, or is not of IPv4", l.Addr, l.Pool)
			}
			l.Record.Pool, l.Record.Addr = l.Pool, l.Addr
			o.Leases = append(o.Leases, *l.Record)
		}
		for _, l := range c.GoneLeases {
			o.GoneLeases = append(o.GoneLeases, pool.LeaseRecord{Pool: l.Pool, Addr: l.Addr})
		}
		all = append(all, o)
	}
	return all, nil
}
