package cgroup

import (
	"bytes"
	"math"

	"github.com/rolling-swarm/rolling/exporter/sample"
)

// number reads the digits that a text begins with. false: there are none, or too many; n is 0 then, which is what callers
// take for a file that the kernel left empty.
func number(text []byte) (n uint64, ok bool) {
	for i, c := range text {
		if c < '0' || c > '9' {
			return n, i > 0
		}
		d := uint64(c - '0')
		if n > (math.MaxUint64-d)/10 {
			return 0, false
		}
		n = n*10 + d
	}
	return n, len(text) > 0
}

// keyed finds the number behind a word at the beginning of a line ("nr_throttled 12"); 0 where there is none.
func keyed(text []byte, key string) uint64 {
	for len(text) > 0 {
		line := text
		if i := bytes.IndexByte(text, '\n'); i >= 0 {
			line, text = text[:i], text[i+1:]
		} else {
			text = nil
		}
		if len(line) > len(key) && line[len(key)] == ' ' && string(line[:len(key)]) == key {
			n, _ := number(line[len(key)+1:])
			return n
		}
	}
	return 0
}

// field cuts the next word off a line.
func field(line []byte) (word, rest []byte) {
	line = bytes.TrimLeft(line, " ")
	if i := bytes.IndexByte(line, ' '); i >= 0 {
		return line[:i], line[i+1:]
	}
	return line, nil
}

// part finds the Part of that name, or makes one. Its place may have been another's in the last reading, whose name is
// then made anew: as long as the kernel keeps its order, no name is.
func part(parts []sample.Part, name []byte) ([]sample.Part, *sample.Part) {
	for i := range parts {
		if parts[i].Name == string(name) {
			return parts, &parts[i]
		}
	}
	if n := len(parts); n < cap(parts) {
		parts = parts[:n+1]
		if parts[n].Name != string(name) {
			parts[n].Name = string(name)
		}
		parts[n].Values = [8]uint64{}
	} else {
		parts = append(parts, sample.Part{Name: string(name)})
	}
	return parts, &parts[len(parts)-1]
}

// blkio reads version 1's "8:0 Read 4096" lines into two neighbouring values.
func blkio(parts []sample.Part, text []byte, read, write int) []sample.Part {
	for line := range bytes.Lines(text) {
		device, rest := field(bytes.TrimSpace(line))
		verb, rest := field(rest)
		at := read
		switch string(verb) {
		case "Read":
		case "Write":
			at = write
		default:
			continue
		}
		if n, ok := number(rest); ok {
			var p *sample.Part
			parts, p = part(parts, device)
			p.Values[at] = n
		}
	}
	return parts
}

// iostat reads version 2's "8:0 rbytes=1 wbytes=2 rios=3 wios=4 …".
func iostat(parts []sample.Part, text []byte) []sample.Part {
	for line := range bytes.Lines(text) {
		device, rest := field(bytes.TrimSpace(line))
		if len(device) == 0 || len(rest) == 0 {
			continue
		}
		var p *sample.Part
		parts, p = part(parts, device)
		for len(rest) > 0 {
			var word []byte
			word, rest = field(rest)
			key, value, _ := bytes.Cut(word, []byte("="))
			n, _ := number(value)
			switch string(key) {
			case "rbytes":
				p.Values[bytesRead] = n
			case "wbytes":
				p.Values[written] = n
			case "rios":
				p.Values[reads] = n
			case "wios":
				p.Values[writes] = n
			}
		}
	}
	return parts
}

// linkFields are the places of a Part's values in a line of /proc/PID/net/dev, behind the colon: bytes, packets, errors and
// drops received, then the same sent.
func linkFields() [16]int {
	return [16]int{0, 1, 2, 3, -1, -1, -1, -1, 4, 5, 6, 7, -1, -1, -1, -1}
}

// netdev reads /proc/PID/net/dev, without the loopback.
func netdev(parts []sample.Part, text []byte) []sample.Part {
	places := linkFields()
	for line := range bytes.Lines(text) {
		name, rest, ok := bytes.Cut(line, []byte(":"))
		name = bytes.TrimSpace(name)
		if !ok || len(name) == 0 || string(name) == "lo" {
			continue
		}
		var p *sample.Part
		parts, p = part(parts, name)
		rest = bytes.TrimSpace(rest)
		for i := 0; len(rest) > 0 && i < len(places); i++ {
			var word []byte
			word, rest = field(rest)
			if at := places[i]; at >= 0 {
				p.Values[at], _ = number(word)
			}
		}
	}
	return parts
}

// groups reads /proc/PID/cgroup ("4:cpu,cpuacct:/docker/ID"): the path of each controller; version 2's bears the name "".
func groups(text []byte) map[string]string {
	found := map[string]string{}
	for line := range bytes.Lines(text) {
		_, rest, ok := bytes.Cut(bytes.TrimRight(line, "\n"), []byte(":"))
		controllers, path, ok2 := bytes.Cut(rest, []byte(":"))
		if !ok || !ok2 || len(path) == 0 || path[0] != '/' {
			continue
		}
		for c := range bytes.SplitSeq(controllers, []byte(",")) {
			found[string(c)] = string(path)
		}
	}
	return found
}

// limit is a limit of memory; what is as good as none is 0: "max", or version 1's largest number.
func limit(n uint64) uint64 {
	if n >= math.MaxInt64/2 {
		return 0
	}
	return n
}
