//go:build lab

package e2e

import (
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/lab"
	"github.com/rolling-swarm/rolling/lab/proof"
)

func TestGroundHoldsFromDeployToPowerLossAndBack(t *testing.T) {
	w := world(t, lab.Up(t, lab.Options{Managers: 3, Install: true}))
	ctx := within(t, 15*time.Minute)
	for _, p := range proof.Ground() {
		if !t.Run(p.Title, func(t *testing.T) {
			seen, err := p.Run(ctx, w)
			if err != nil {
				t.Fatal(err)
			}
			t.Log(seen)
		}) {
			t.Fatal("a later proof needs this one")
		}
	}
}
