//go:build lab

package e2e

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/lab"
	"github.com/rolling-swarm/rolling/lab/proof"
)

func TestGroundHoldsFromDeployToPowerLossAndBack(t *testing.T) {
	w := world(t, lab.Up(t, lab.Options{Managers: 3, Install: true}))
	ctx := within(t, 15*time.Minute)
	prove(t, ctx, w, slices.Concat(proof.Ground(), proof.Operators()))
}

func TestOneReleaseGoesThroughGatesRolloutsAndFaults(t *testing.T) {
	w := world(t, lab.Up(t, lab.Options{Managers: 3, Install: true}))
	prove(t, within(t, 20*time.Minute), w, proof.Release())
}

func TestLinesReachKafkaAndFiguresGraphite(t *testing.T) {
	w := world(t, lab.Up(t, lab.Options{Managers: 3, Install: true}))
	// The dashboard's proof needs something that was released.
	prove(t, within(t, 15*time.Minute), w, slices.Concat(proof.Release()[:1], proof.Signals()))
}

func prove(t *testing.T, ctx context.Context, w *proof.World, proofs []proof.Proof) {
	t.Helper()
	for _, p := range proofs {
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
