package engine_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rolling-swarm/rolling/manager/engine"
)

func TestFiguresTellOfEveryNodeThatAnswers(t *testing.T) {
	h := newHall()
	h.marked["id2"] = true
	h.mute["id3"] = errors.New("its agent has no line")
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(engine.Metrics(h.engine(t)))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range families {
		for _, m := range f.GetMetric() {
			got = append(got, fmt.Sprintf("%s %s %g", strings.TrimPrefix(f.GetName(), "rolling_manager_"), m.GetLabel()[0].GetValue(), m.GetGauge().GetValue()))
		}
	}
	for _, want := range []string{"node_drained n1 0", "node_drained n2 1", "routes_held n1 0", "peers_up n2 0"} {
		if !slices.Contains(got, want) {
			t.Errorf("no %q in %v", want, got)
		}
	}
	if text := strings.Join(got, "\n"); strings.Contains(text, "n3") || strings.Contains(text, "routes_ratio") {
		t.Errorf("figures of a node that tells nothing, or a ratio of nothing:\n%s", text)
	}
}
