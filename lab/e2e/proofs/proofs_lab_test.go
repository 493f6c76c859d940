//go:build lab

package proofs

import (
	"context"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/lab"
	"github.com/rolling-swarm/rolling/lab/proof"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := lab.CloseShared(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// The tests go through one lab in this order, as the demonstration does. Each can be run alone, too.

func TestGroundHoldsFromDeployToPowerLossAndBack(t *testing.T) {
	prove(t, 15*time.Minute, world(t), slices.Concat(proof.Ground(), proof.Operators()))
}

func TestOneReleaseGoesThroughGatesRolloutsAndFaults(t *testing.T) {
	prove(t, 20*time.Minute, world(t), proof.Release())
}

func TestLinesReachKafkaAndFiguresGraphite(t *testing.T) {
	w := world(t)
	proofs := proof.Signals()
	if !released(t, w.Lab) { // the dashboard's proof needs something that was
		proofs = slices.Concat(proof.Release()[:1], proofs)
	}
	prove(t, 15*time.Minute, w, proofs)
}

func world(t *testing.T) *proof.World {
	t.Helper()
	root, err := lab.Checkout()
	if err != nil {
		t.Fatal(err)
	}
	return &proof.World{Lab: lab.Shared(t), Root: root}
}

// released says whether an earlier test has released orders.
func released(t *testing.T, l *lab.Lab) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	leader := ""
	if err := l.Eventually(ctx, time.Minute, "a leader", func() (err error) { leader, err = l.Leader(ctx); return err }); err != nil {
		t.Fatal(err)
	}
	out, err := l.Docker(ctx, leader, "service", "ls", "-q", "--filter", "name=orders-production_web")
	if err != nil {
		t.Fatal(err)
	}
	return out != ""
}

func prove(t *testing.T, within time.Duration, w *proof.World, proofs []proof.Proof) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
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
