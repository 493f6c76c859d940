package docker

import (
	"bytes"
	"strings"

	"github.com/rolling-swarm/rolling/internal/wire"
)

// window keeps the last lines within wire's bounds, however many come.
type window struct {
	most  int
	lines []string
	size  int
	cut   bool
}

func (w *window) add(line string) {
	w.lines = append(w.lines, line)
	w.size += len(line)
	for len(w.lines) > w.most || w.size > wire.MaxBytes {
		w.cut = w.cut || len(w.lines) <= w.most
		w.size -= len(w.lines[0])
		w.lines = w.lines[1:]
	}
}

// splitter makes lines of one stream, whose pieces end anywhere.
type splitter struct {
	to   *window
	line []byte
	any  bool
}

func (s *splitter) Write(piece []byte) (int, error) {
	for rest := piece; len(rest) > 0; {
		line, after, ends := bytes.Cut(rest, []byte{'\n'})
		s.any = true
		room := wire.MaxLineBytes - len(s.line)
		if len(line) > room {
			line, s.to.cut = line[:room], true
		}
		if s.line = append(s.line, line...); ends {
			s.end()
		}
		rest = after
	}
	return len(piece), nil
}

// end hands on the line that is under way, if there is one.
func (s *splitter) end() {
	if s.any {
		s.to.add(strings.ToValidUTF8(strings.TrimSuffix(string(s.line), "\r"), "\uFFFD"))
	}
	s.line, s.any = s.line[:0], false
}
