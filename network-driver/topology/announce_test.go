package topology_test

import (
	"strings"
	"testing"

	"github.com/rolling-swarm/rolling/network-driver/topology"
)

func TestANetworkSaysFromWhenItsAddressesAreAnnounced(t *testing.T) {
	for value, want := range map[string]bool{"ready": false, "healthy": true} {
		got, err := topology.ParseOptions(map[string]string{"rolling.announce-when": value})
		if err != nil || got.WhenHealthy != want {
			t.Errorf("%s: %+v, %v", value, got, err)
		}
	}
	_, err := topology.ParseOptions(map[string]string{"rolling.announce-when": "helthy"})
	if err == nil || !strings.Contains(err.Error(), `"helthy" is not a moment to announce (ready, healthy); did you mean "healthy"?`) {
		t.Errorf("got %v", err)
	}
}
