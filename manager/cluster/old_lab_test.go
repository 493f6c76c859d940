//go:build lab && long

package cluster_test

import (
	"testing"

	"github.com/rolling-swarm/rolling/lab"
)

func TestAnOldSwarmIsASwarm(t *testing.T) {
	checkReal(t, lab.Up(t, lab.Options{Managers: 3, Engine: "bookworm", Install: true}))
}
