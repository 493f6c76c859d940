package parts

import (
	"net/netip"
	"os"
	"strings"
	"testing"
)

// TestTheGuideShowsWhatTheLabRuns keeps the recipes of the guide true: they are the parts' own configurations.
func TestTheGuideShowsWhatTheLabRuns(t *testing.T) {
	s := Site{Router: netip.MustParseAddr("10.99.0.1")}
	for _, m := range []string{"10.99.0.21", "10.99.0.22", "10.99.0.23"} {
		s.Managers = append(s.Managers, netip.MustParseAddr(m))
	}
	for _, guide := range []string{"../../docs/guide/routers.md", "../../docs/guide.zh/routers.md"} {
		text, err := os.ReadFile(guide)
		if err != nil {
			t.Fatal(err)
		}
		for name, recipe := range map[string]string{"bird": birdConfig(s), "frr": frrConfig(s)} {
			if !strings.Contains(string(text), "```\n"+recipe+"```\n") {
				t.Errorf("%s: the recipe for %s is not\n%s", guide, name, recipe)
			}
		}
	}
}
