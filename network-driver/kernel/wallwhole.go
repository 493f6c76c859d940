package kernel

import (
	"bytes"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/rolling-swarm/rolling/network-driver/isolation"
)

// wholly lays a wall where none is, or takes all of one away, by one call of the restoring program in one transaction: the
// two dozen calls of the other program that it stands for take seconds on a busy node, and a container waits for them. It
// says whether this was such a case.
func wholly(path string, have map[string][]string, want isolation.Wall) (bool, error) {
	ours := []string{denyChain, guardChain, isolateChain}
	stands := slices.ContainsFunc(ours, func(c string) bool { _, there := have[c]; return there })
	wanted := len(want.Rules)+len(want.Guard) > 0
	switch {
	case !stands && !wanted:
		return true, nil
	case !stands:
		return true, restore(path, raising(want))
	case !wanted:
		return true, restore(path, razing(have))
	}
	return false, nil
}

// raising fills the chains before anything jumps there.
func raising(want isolation.Wall) []string {
	lines := []string{":" + denyChain + " - [0:0]", "-A " + denyChain + " -j DROP"}
	chains := map[string][][]string{isolateChain: want.Rules, guardChain: want.Guard}
	for _, chain := range slices.Sorted(maps.Keys(chains)) {
		if len(chains[chain]) == 0 {
			continue
		}
		lines = append(lines, ":"+chain+" - [0:0]")
		for _, r := range chains[chain] {
			lines = append(lines, "-A "+chain+" "+strings.Join(r, " "))
		}
		for _, j := range jumps(len(want.Bridges) > 0)[chain] {
			lines = append(lines, "-I "+j[0]+" 1 "+strings.Join(j[1:], " "))
		}
	}
	return lines
}

// razing ends the jumps before it empties what they lead to.
func razing(have map[string][]string) []string {
	var lines, removals []string
	for _, chain := range []string{guardChain, isolateChain, denyChain} {
		if _, there := have[chain]; !there {
			continue
		}
		for _, j := range jumps(true)[chain] {
			if slices.Contains(have[j[0]], strings.Join(j[1:], " ")) {
				lines = append(lines, "-D "+strings.Join(j, " "))
			}
		}
		lines, removals = append(lines, "-F "+chain), append(removals, "-X "+chain)
	}
	return append(lines, removals...)
}

// restore changes the wall's table in one transaction, and nothing that the lines do not name. The program is the same
// file as the one that lists rules, by another name.
func restore(path string, lines []string) error {
	c := exec.Command(path)
	c.Args = []string{filepath.Base(path) + "-restore", "--noflush", "-w", strconv.Itoa(lockWait)}
	c.Stdin = strings.NewReader("*" + wallTable + "\n" + strings.Join(lines, "\n") + "\nCOMMIT\n")
	var said bytes.Buffer
	c.Stderr = &said
	if err := c.Run(); err != nil {
		return fmt.Errorf("restore table %s: %w: %s", wallTable, err, strings.TrimSpace(said.String()))
	}
	return nil
}
