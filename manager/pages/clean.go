package pages

import (
	"regexp"
	"strings"
	"unicode"
)

// escapes are what a program writes to colour a terminal, to move its cursor or to name its window.
var escapes = regexp.MustCompile(`\x1b\[[0-?]*[ -/]*[@-~]?|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]?|\x{9b}[0-?]*[ -/]*[@-~]?`)

// lineLimit is how much of one line is shown: what a browser can lay out many times over without a pause.
const lineLimit = 4000

// clean makes a line of a foreign program fit to be read: no escapes, no bytes that are no text, nothing that turns the
// direction of what stands beside it.
func clean(line string) string {
	line = strings.ToValidUTF8(line, "\uFFFD")
	line = escapes.ReplaceAllString(line, "")
	line = strings.TrimRight(line, "\r\n")
	n := 0
	line = strings.Map(func(r rune) rune {
		if n++; n > lineLimit {
			return -1
		}
		switch {
		case r == '\t' || r == '\n':
			return r
		case r == '\r':
			return '\n' // a progress bar draws over itself
		case r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069, r == 0x200e, r == 0x200f, r == 0x061c, r == 0xfeff:
			return -1
		case unicode.IsControl(r), r == 0x2028, r == 0x2029:
			return '\u00b7'
		}
		return r
	}, line)
	if n > lineLimit {
		line += "\u2026"
	}
	return line
}

func cleanAll(lines []string) []string {
	all := make([]string, len(lines))
	for i, l := range lines {
		all[i] = clean(l)
	}
	return all
}
