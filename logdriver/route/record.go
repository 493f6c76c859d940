package route

import (
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/rolling-swarm/rolling/internal/contract"
)

// Headers are those that all records of the lane share; stream, seq and ts follow per record.
func (l Lane) Headers() []Attribute {
	h := []Attribute{
		{contract.HeaderProject, l.Project}, {contract.HeaderEnvironment, l.Environment}, {contract.HeaderService, l.Service},
		{contract.HeaderSlot, l.Slot}, {contract.HeaderNode, l.Node}, {contract.HeaderRelease, l.Release},
	}
	for _, a := range l.Attributes {
		h = append(h, Attribute{contract.HeaderAttribute + a.Name, a.Value})
	}
	return h
}

// AppendValue makes a record's value of a line. The stream is the engine's name for it.
func (l Lane) AppendValue(dst []byte, stream string, seq uint64, nanos int64, text []byte) []byte {
	if l.Format != JSON {
		return append(dst, text...)
	}
	dst = append(dst, `{"ts":"`...)
	dst = time.Unix(0, nanos).UTC().AppendFormat(dst, time.RFC3339Nano)
	dst = append(dst, `","stream":"`...)
	dst = append(dst, stream...)
	dst = append(dst, `","seq":`...)
	dst = strconv.AppendUint(dst, seq, 10)
	for _, f := range []Attribute{
		{"project", l.Project}, {"environment", l.Environment}, {"service", l.Service}, {"slot", l.Slot}, {"node", l.Node},
		{"release", l.Release}, {"container", l.Container[:min(shortID, len(l.Container))]}, {"name", l.Name}, {"image", l.Image},
	} {
		dst = append(dst, `,"`...)
		dst = append(dst, f.Name...)
		dst = append(dst, `":`...)
		dst = appendQuoted(dst, []byte(f.Value))
	}
	for i, a := range l.Attributes {
		if i == 0 {
			dst = append(dst, `,"attrs":{`...)
		} else {
			dst = append(dst, ',')
		}
		dst = appendQuoted(dst, []byte(a.Name))
		dst = append(dst, ':')
		dst = appendQuoted(dst, []byte(a.Value))
	}
	if len(l.Attributes) > 0 {
		dst = append(dst, '}')
	}
	dst = append(dst, `,"line":`...)
	dst = appendQuoted(dst, text)
	return append(dst, '}')
}

const hex = "0123456789abcdef"

// appendQuoted writes a JSON string. What is no UTF-8 becomes the replacement character, as in encoding/json.
func appendQuoted(dst, s []byte) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		if c := s[i]; c < utf8.RuneSelf {
			if c >= 0x20 && c != '"' && c != '\\' && c != 0x7f {
				i++
				continue
			}
			dst = append(dst, s[start:i]...)
			switch c {
			case '"', '\\':
				dst = append(dst, '\\', c)
			case '\n':
				dst = append(dst, `\n`...)
			case '\r':
				dst = append(dst, `\r`...)
			case '\t':
				dst = append(dst, `\t`...)
			default:
				dst = append(dst, `\u00`...)
				dst = append(dst, hex[c>>4], hex[c&15])
			}
			i++
			start = i
			continue
		}
		r, size := utf8.DecodeRune(s[i:])
		if r == utf8.RuneError && size == 1 {
			dst = append(dst, s[start:i]...)
			dst = append(dst, "\ufffd"...)
			start = i + size
		}
		i += size
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}
