package cluster

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/moby/moby/api/types/swarm"
	"github.com/moby/moby/client"

	"github.com/rolling-swarm/rolling/internal/allotment"
)

// keptConfigs is how many Configs with named pools and reservations stay: the newest, and some to look back at.
const keptConfigs = 5

// Settled lists every Config with named pools and reservations.
func (s *Swarm) Settled(ctx context.Context) ([]allotment.Copy, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	all, err := s.settled(ctx)
	var copies []allotment.Copy
	for _, c := range all {
		n, _ := allotment.Number(c.Spec.Name)
		copies = append(copies, allotment.Copy{Number: n, Text: c.Spec.Data})
	}
	return copies, err
}

// settled are the Configs, the highest number first.
func (s *Swarm) settled(ctx context.Context) ([]swarm.Config, error) {
	got, err := s.api.ConfigList(ctx, client.ConfigListOptions{Filters: make(client.Filters).Add("name", allotment.ConfigPrefix)})
	if err != nil {
		return nil, asked(err, "configs "+allotment.ConfigPrefix+"*")
	}
	all := slices.DeleteFunc(got.Items, func(c swarm.Config) bool { _, ours := allotment.Number(c.Spec.Name); return !ours })
	slices.SortFunc(all, func(a, b swarm.Config) int {
		n, _ := allotment.Number(a.Spec.Name)
		m, _ := allotment.Number(b.Spec.Name)
		return cmp.Compare(m, n)
	})
	return all, nil
}

// Settle lays down a newer one. ErrConflict: somebody else took that number meanwhile. Old ones that are in nobody's way are
// taken away; where that fails, they stay.
func (s *Swarm) Settle(ctx context.Context, number uint64, text []byte) error {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	name := allotment.ConfigName(number)
	spec := swarm.ConfigSpec{Annotations: swarm.Annotations{Name: name}, Data: text}
	if _, err := s.api.ConfigCreate(ctx, client.ConfigCreateOptions{Spec: spec}); err != nil {
		return fmt.Errorf("config %s: %w", name, sorted(created(err)))
	}
	all, err := s.settled(ctx)
	if err != nil {
		return nil //nolint:nilerr // it is laid down; tidying can wait
	}
	for _, old := range all[min(len(all), keptConfigs):] {
		_, _ = s.api.ConfigRemove(ctx, old.ID, client.ConfigRemoveOptions{}) // the next change tries again
	}
	return nil
}
