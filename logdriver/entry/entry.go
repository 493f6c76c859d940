// Package entry knows the engine's wire between a container and its log driver: frames of
// `[size, 4 bytes, big endian][LogEntry, protobuf]`, one for each line or piece of one. It decodes in place, finds the
// next frame after rubbish, and encodes for `docker logs`. It knows no file, no order and no Kafka.
package entry

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// A Stream is what the container wrote to.
type Stream uint8

// The streams of a container.
const (
	Stdout Stream = iota
	Stderr
	// Streams is how many there are.
	Streams
)

// String is the engine's own name.
func (s Stream) String() string {
	if s == Stderr {
		return "stderr"
	}
	return "stdout"
}

// An Entry is a line, or a piece of one: the engine cuts lines at 16 KiB.
type Entry struct {
	Stream Stream
	Nanos  int64
	Line   []byte // without its newline; lies in the buffer that was decoded
	// Partial is set on every piece of a cut line, on its last one too.
	Partial bool
	// Last says that the line is complete; a final line without a newline never gets it.
	Last bool
	// Ordinal counts the pieces of a line from 1.
	Ordinal int32
}

const (
	sizeBytes = 4
	// LargestFrame is far above what the engine sends (16 KiB and some 150 bytes): a larger size is rubbish.
	LargestFrame = 1 << 20
)

var (
	// ErrShort: the buffer ends within the frame. Read more.
	ErrShort = errors.New("the frame is not complete")
	// ErrFrame: this is no frame. Resync finds the next one.
	ErrFrame = errors.New("not a log frame")
)

// The field `source` always comes first, and is stdout or stderr: what a frame's body begins with.
const signature = "\x0a\x06std"

// Next decodes the first frame of b and says how long it is.
func Next(b []byte) (Entry, int, error) {
	if len(b) < sizeBytes {
		return Entry{}, 0, ErrShort
	}
	size := int(binary.BigEndian.Uint32(b))
	if size < len(signature) || size > LargestFrame {
		return Entry{}, 0, ErrFrame
	}
	body := b[sizeBytes:]
	if n := min(len(body), len(signature)); string(body[:n]) != signature[:n] {
		return Entry{}, 0, ErrFrame
	}
	if len(body) < size {
		return Entry{}, 0, ErrShort
	}
	e, ok := decode(body[:size])
	if !ok {
		return Entry{}, 0, ErrFrame
	}
	return e, sizeBytes + size, nil
}

// Resync says how many bytes of b to leave out after ErrFrame: up to what may be the next frame.
func Resync(b []byte) int {
	const before = sizeBytes
	for from := before + 1; from < len(b); {
		at := bytes.Index(b[from:], []byte(signature))
		if at < 0 {
			break
		}
		start := from + at - before
		if size := binary.BigEndian.Uint32(b[start:]); size <= LargestFrame {
			return start
		}
		from += at + 1
	}
	// the last bytes may be the head of a frame that has not come whole
	return max(1, len(b)-before-len(signature)+1)
}

// Fields of LogEntry and of PartialLogEntryMetadata, with their wire types (0 varint, 2 length-delimited).
const (
	fieldSource   = 1<<3 | 2
	fieldNanos    = 2 << 3
	fieldLine     = 3<<3 | 2
	fieldPartial  = 4 << 3
	fieldMetadata = 5<<3 | 2

	fieldLast    = 1 << 3
	fieldOrdinal = 3 << 3
)

func decode(b []byte) (e Entry, ok bool) {
	for len(b) > 0 {
		tag, value, text, rest, ok := field(b)
		if !ok {
			return e, false
		}
		b = rest
		switch tag {
		case fieldSource:
			switch string(text) {
			case "stdout":
				e.Stream = Stdout
			case "stderr":
				e.Stream = Stderr
			default:
				return e, false
			}
		case fieldNanos:
			e.Nanos = int64(value)
		case fieldLine:
			e.Line = text
		case fieldPartial:
			e.Partial = value != 0
		case fieldMetadata:
			if !e.metadata(text) {
				return e, false
			}
		}
	}
	return e, true
}

func (e *Entry) metadata(b []byte) bool {
	for len(b) > 0 {
		tag, value, _, rest, ok := field(b)
		if !ok {
			return false
		}
		b = rest
		switch tag {
		case fieldLast:
			e.Last = value != 0
		case fieldOrdinal:
			e.Ordinal = int32(value)
		}
	}
	return true
}

// field reads one field; text is set for length-delimited ones, value for the others. Groups are refused.
func field(b []byte) (tag, value uint64, text, rest []byte, ok bool) {
	tag, n := binary.Uvarint(b)
	if n <= 0 || tag>>3 == 0 || tag>>3 > 1<<29-1 {
		return 0, 0, nil, nil, false
	}
	b = b[n:]
	switch tag & 7 {
	case 0:
		value, n = binary.Uvarint(b)
		if n <= 0 {
			return 0, 0, nil, nil, false
		}
		return tag, value, nil, b[n:], true
	case 1, 5:
		width := 8
		if tag&7 == 5 {
			width = 4
		}
		if len(b) < width {
			return 0, 0, nil, nil, false
		}
		return tag, 0, nil, b[width:], true
	case 2:
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return 0, 0, nil, nil, false
		}
		end := n + int(size)
		return tag, 0, b[n:end:end], b[end:], true
	}
	return 0, 0, nil, nil, false
}

// Append encodes the entry as a frame behind dst.
func Append(dst []byte, e Entry) []byte {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0, fieldSource, 6)
	dst = append(dst, e.Stream.String()...)
	dst = append(dst, fieldNanos)
	dst = binary.AppendUvarint(dst, uint64(e.Nanos))
	dst = append(dst, fieldLine)
	dst = binary.AppendUvarint(dst, uint64(len(e.Line)))
	dst = append(dst, e.Line...)
	if e.Partial {
		dst = append(dst, fieldPartial, 1)
		var inner []byte
		if e.Last {
			inner = append(inner, fieldLast, 1)
		}
		inner = append(inner, fieldOrdinal)
		inner = binary.AppendUvarint(inner, uint64(e.Ordinal))
		dst = append(dst, fieldMetadata, byte(len(inner)))
		dst = append(dst, inner...)
	}
	binary.BigEndian.PutUint32(dst[start:], uint32(len(dst)-start-sizeBytes))
	return dst
}
