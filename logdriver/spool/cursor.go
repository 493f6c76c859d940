package spool

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"os"

	"github.com/rolling-swarm/rolling/logdriver/batch"
)

// The cursor's file is `[magic, 8][position, 8][number per stream, 8 each][crc32c, 4]`, written in place: it lies within
// one sector. A torn one counts as the beginning: lines are then sent again, none is left out.
const (
	cursorName  = "cursor"
	cursorMagic = "rollcu01"
	cursorSize  = 8 + 8 + 16 + 4
)

func openCursor(path string) (*os.File, batch.Cursor, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, batch.Cursor{}, err
	}
	b := make([]byte, cursorSize)
	if _, err := f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, batch.Cursor{}, errors.Join(err, f.Close())
	}
	var c batch.Cursor
	if string(b[:8]) == cursorMagic && crc32.Checksum(b[:cursorSize-4], castagnoli()) == binary.LittleEndian.Uint32(b[cursorSize-4:]) {
		c.Pos = int64(binary.LittleEndian.Uint64(b[8:]))
		for i := range c.Seq {
			c.Seq[i] = binary.LittleEndian.Uint64(b[16+8*i:])
		}
	}
	return f, c, nil
}

func writeCursor(f *os.File, c batch.Cursor) error {
	b := make([]byte, 0, cursorSize)
	b = append(b, cursorMagic...)
	b = binary.LittleEndian.AppendUint64(b, uint64(c.Pos))
	for _, seq := range c.Seq {
		b = binary.LittleEndian.AppendUint64(b, seq)
	}
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli()))
	_, err := f.WriteAt(b, 0)
	return err
}
