package engine

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/moby/moby/api/types/swarm"

	"github.com/rolling-swarm/rolling/internal/wire"
	"github.com/rolling-swarm/rolling/manager/cluster"
	"github.com/rolling-swarm/rolling/manager/plan"
)

// hearEvery is how often the leader's plugins are asked whether they refuse what is being made.
const hearEvery = 300 * time.Millisecond

// refused is a plugin's own word on why a network cannot be.
type refused struct{ words string }

func (r *refused) Error() string { return r.words }

// Is makes it a refusal of the Swarm's: the plugins speak for it.
func (r *refused) Is(target error) bool { return target == cluster.ErrRefused }

// apply carries out a step of a rollout.
func (e *Engine) apply(ctx context.Context, s plan.Step) (cluster.Applied, error) {
	if n, ok := s.(plan.CreateNetwork); ok && ours(n.Spec) && n.Spec.IPAMOptions != nil && len(n.Spec.IPAMOptions.Configs) == 1 {
		return e.makeNetwork(ctx, n)
	}
	return e.options.Cluster.Apply(ctx, s)
}

// makeNetwork has a network made, and hears meanwhile whether the leader's plugins refuse it: Swarm tells nobody, and would
// ask them again for ever.
func (e *Engine) makeNetwork(ctx context.Context, n plan.CreateNetwork) (cluster.Applied, error) {
	before := e.heardBefore(ctx)
	heard, stop := context.WithCancelCause(ctx)
	over := make(chan struct{})
	go func() {
		defer close(over)
		e.hear(heard, n.Spec, before, stop)
	}()
	done, err := e.options.Cluster.Apply(heard, n)
	stop(nil)
	<-over
	if err == nil {
		return done, nil
	}
	if after, late := e.ledger(ctx, false, netip.Addr{}); late == nil {
		if no := refusalOf(n.Spec, before, after); no != nil {
			return done, no
		}
	}
	return done, err
}

// sure is more than the clocks of a Swarm's managers differ by.
const sure = 2 * time.Second

// past is what the leader's plugins refused before something was asked for.
type past struct {
	wire.Addresses
	since time.Time // set where the plugins could not be asked then: what they refused earlier is passed over by its time
}

func (e *Engine) heardBefore(ctx context.Context) past {
	begun := e.now()
	known, err := e.ledger(ctx, false, netip.Addr{})
	if err != nil { // the line to the leader's agent may come up meanwhile
		return past{since: begun.Add(-sure)}
	}
	return past{Addresses: known}
}

// hear stops the making of a network that a plugin refuses.
func (e *Engine) hear(ctx context.Context, n swarm.NetworkSpec, before past, stop context.CancelCauseFunc) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(hearEvery):
		}
		now, err := e.ledger(ctx, false, netip.Addr{})
		if err != nil {
			continue // a new leader, or none for a while
		}
		if no := refusalOf(n, before, now); no != nil {
			stop(no)
			return
		}
	}
}

// refusalOf finds what the plugins said no to since; nil if nothing. What they are asked bears no name: a subnet, and options.
func refusalOf(n swarm.NetworkSpec, before past, now wire.Addresses) error {
	subnet := n.IPAMOptions.Configs[0].Subnet.String()
	var last uint64
	for _, r := range before.Refusals {
		last = max(last, r.Seq)
	}
	for _, r := range slices.Backward(now.Refusals) {
		if r.Seq > last && !r.At.Before(before.since) && r.Call == "RequestPool" && r.Subnet == subnet && maps.Equal(r.Options, n.IPAMOptions.Driver.Options) {
			return &refused{fmt.Sprintf("the IPAM plugin refuses it: %s", r.Why)}
		}
	}
	for _, r := range slices.Backward(now.Networks) {
		old := slices.ContainsFunc(before.Networks, func(o wire.NetworkRefusal) bool { return o.Network == r.Network })
		if !old && !r.At.Before(before.since) && r.Subnet == subnet {
			return &refused{fmt.Sprintf("the network plugin refuses it: %s", r.Why)}
		}
	}
	return nil
}
