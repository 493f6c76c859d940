package pki

import (
	"slices"
	"strconv"
	"strings"

	"github.com/rolling-swarm/rolling/internal/wire"
)

// A Choice is what is to be done about the line's secrets.
type Choice struct {
	Generation int
	Make       bool     // false: it is there
	Remove     []string // half a generation, whose other half was never made
}

// Choose decides it from the names of the Swarm's secrets. Whole generations are let alone; again asks for a new one.
func Choose(names []string, again bool) Choice {
	halves := map[int][]string{}
	newest := 0
	for _, name := range names {
		for _, prefix := range []string{wire.SecretManager, wire.SecretAgent} {
			text, ours := strings.CutPrefix(name, prefix+"-")
			n, err := strconv.Atoi(text)
			if !ours || err != nil || n < 1 || strconv.Itoa(n) != text {
				continue
			}
			halves[n] = append(halves[n], name)
			newest = max(newest, n)
		}
	}
	switch {
	case newest == 0:
		return Choice{Generation: 1, Make: true}
	case len(halves[newest]) == 1:
		return Choice{Generation: newest, Make: true, Remove: slices.Clone(halves[newest])}
	case again:
		return Choice{Generation: newest + 1, Make: true}
	}
	return Choice{Generation: newest}
}

// Names are those of a generation's two secrets.
func Names(generation int) (manager, agent string) {
	n := "-" + strconv.Itoa(generation)
	return wire.SecretManager + n, wire.SecretAgent + n
}
