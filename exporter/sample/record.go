package sample

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// recordHead is the first line of a record: another form gets another number.
const recordHead = "rolling-metrics-totals 1"

// AppendRecord writes the book as text, a line each:
//
//	total SEEN BRIEF KEY COUNT…
//	source STARTED RESTARTS SEEN ID COUNT…
//	disk NAME VALUE…   of the source above, and link likewise
func (b *Book) AppendRecord(to []byte) []byte {
	to = append(to, recordHead...)
	for key, t := range b.totals {
		to = append(to, "\ntotal "...)
		to = strconv.AppendInt(to, t.seen, 10)
		to = append(to, ' ')
		to = strconv.AppendBool(to, t.brief)
		to = append(to, ' ')
		to = strconv.AppendQuoteToASCII(to, key)
		to = appendNumbers(to, t.counts[:])
	}
	for id, s := range b.sources {
		to = append(to, "\nsource "...)
		to = strconv.AppendInt(to, s.started, 10)
		to = append(to, ' ')
		to = strconv.AppendUint(to, s.restarts, 10)
		to = append(to, ' ')
		to = strconv.AppendInt(to, s.at.UnixNano(), 10)
		to = append(to, ' ')
		to = strconv.AppendQuoteToASCII(to, id)
		to = appendNumbers(to, s.raw[:])
		to = appendParts(to, "\ndisk ", s.disks)
		to = appendParts(to, "\nlink ", s.links)
	}
	return append(to, "\nend\n"...)
}

func appendNumbers(to []byte, numbers []uint64) []byte {
	for _, n := range numbers {
		to = append(to, ' ')
		to = strconv.AppendUint(to, n, 10)
	}
	return to
}

func appendParts(to []byte, word string, parts []Part) []byte {
	for i := range parts {
		to = append(to, word...)
		to = strconv.AppendQuoteToASCII(to, parts[i].Name)
		to = appendNumbers(to, parts[i].Values[:])
	}
	return to
}

// Restore reads a record. A text that is none, or half of one, is an error and gives no book.
func Restore(text []byte) (*Book, error) {
	lines := strings.Split(string(text), "\n")
	if len(lines) < 3 || lines[0] != recordHead || !bytes.HasSuffix(text, []byte("\nend\n")) {
		return nil, fmt.Errorf("the record of totals does not go from %q to end", recordHead)
	}
	b := NewBook()
	var last *source
	for i, line := range lines[1 : len(lines)-2] {
		r := &fields{rest: line}
		switch word := r.word(); word {
		case "total":
			t := &total{seen: r.integer(), brief: r.word() == "true"}
			key := r.quoted()
			r.numbers(t.counts[:])
			b.totals[key] = t
		case "source":
			last = &source{started: r.integer(), restarts: r.number()}
			last.at = timeOf(r.integer())
			id := r.quoted()
			r.numbers(last.raw[:])
			b.sources[id] = last
		case "disk", "link":
			p := Part{Name: r.quoted()}
			r.numbers(p.Values[:])
			switch {
			case last == nil:
				r.bad = true
			case word == "disk":
				last.disks = append(last.disks, p)
			default:
				last.links = append(last.links, p)
			}
		default:
			r.bad = true
		}
		if r.bad || r.rest != "" {
			return nil, fmt.Errorf("the record of totals has a line %d that is none: %.60q", i+2, line)
		}
	}
	return b, nil
}
