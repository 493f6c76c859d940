//go:build lab && long

package bgp

import (
	"os"
	"os/exec"
	"regexp"
	"testing"
)

// TestNoRouteIsMissingInTwentyRounds runs each in a process of its own: gobgp's servers leave some 28 MB each behind when
// they end, which matters to nobody but a process of four hundred of them.
func TestNoRouteIsMissingInTwentyRounds(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	figures := regexp.MustCompile(`all but a few.*`)
	for i := range 20 {
		out, err := exec.CommandContext(t.Context(), self, "-test.run=^TestNoRouteIsMissingAfterManyJoinAtOnce$", "-test.v").CombinedOutput()
		if err != nil {
			t.Fatalf("round %d: %v\n%s", i+1, err, out)
		}
		t.Logf("round %d: %s", i+1, figures.Find(out))
	}
}

// TestAReflectorCarriesAHundredNodes is the size that a Swarm may have: ten thousand containers on a hundred nodes.
func TestAReflectorCarriesAHundredNodes(t *testing.T) {
	f := reflect(t, 100, 10000)
	t.Logf("all but a few after %v, all after %v, a node's withdrawal after %v, %v of the reflector's CPU, %.0f MB at its peak, %.0f of them kept", f.most, f.all, f.withdrawn, f.cpu, f.peak, f.rest)
}
