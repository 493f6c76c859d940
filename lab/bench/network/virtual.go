package network

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/lab/bench/figure"
	"github.com/rolling-swarm/rolling/lab/bench/pair"
	"github.com/rolling-swarm/rolling/lab/bench/site"
)

const (
	direct      = "direct" // to the backend's own address
	byVirtual   = "vip"
	virtualPort = 7998 // the same backend serves both
)

// virtual measures what a service's virtual address costs, beside its one container's own address, from the same client.
func (b *bench) virtual(ctx context.Context) ([]figure.Figure, error) {
	const service = "bench-vip"
	if err := b.Start(ctx, site.Service{Name: service, Network: "bench-" + ours, Replicas: 1, Node: b.server, Virtual: true}); err != nil {
		return nil, err
	}
	tasks, _, err := b.Running(ctx, service, 1, runWithin)
	if err != nil {
		return nil, err
	}
	modes, err := b.virtualModes(ctx, service, tasks[0])
	if err != nil {
		return nil, err
	}
	job := pair.Job{Modes: modes, Rounds: b.set.Rounds, Warmup: warmup, Chunk: b.set.Chunk << 20, Pings: b.set.Pings, Congestion: b.set.Congestion}
	var figures []figure.Figure
	for _, c := range []struct {
		one          bool
		suffix, note string
	}{{false, "", "client and server on a CPU each"}, {true, ".1cpu", "client and server on one CPU"}} {
		job.OneCPU = c.one
		result, err := pair.Run(ctx, job)
		if err != nil {
			return figures, fmt.Errorf("%s: %w", c.note, err)
		}
		more, err := virtualFigures(result, c.suffix, c.note)
		figures = append(figures, more...)
		if err != nil {
			return figures, err
		}
	}
	return figures, b.Remove(ctx, service)
}

func virtualFigures(r pair.Result, suffix, note string) ([]figure.Figure, error) {
	own, err := r.Of(byVirtual)
	if err != nil {
		return nil, err
	}
	peer, err := r.Of(direct)
	if err != nil {
		return nil, err
	}
	note += ", " + r.Congestion + ", two containers on two nodes"
	through, err := figure.Paired("net.vip_throughput"+suffix, "Gbit/s", own.Gbit, direct, peer.Gbit, note)
	if err != nil {
		return nil, err
	}
	trip, err := figure.Paired("net.vip_rtt"+suffix, "us", own.P50, direct, peer.P50, note)
	return []figure.Figure{through, trip}, err
}

func (b *bench) virtualModes(ctx context.Context, service string, server site.Task) ([]pair.Mode, error) {
	client, err := b.idleTask(ctx, ours, b.client)
	if err != nil {
		return nil, err
	}
	from, err := b.Lab.ContainerNetwork(b.client, client.Container) //nolint:contextcheck // it has a time limit of its own
	if err != nil {
		return nil, err
	}
	to, err := b.Lab.ContainerNetwork(b.server, server.Container) //nolint:contextcheck // the same
	if err != nil {
		return nil, err
	}
	text, err := b.Lab.Docker(ctx, b.client, "service", "inspect", "-f", "{{(index .Endpoint.VirtualIPs 0).Addr}}", service)
	if err != nil {
		return nil, err
	}
	p, err := netip.ParsePrefix(strings.TrimSpace(text))
	if err != nil {
		return nil, fmt.Errorf("virtual address of %s: %w", service, err)
	}
	err = b.Lab.Eventually(ctx, runWithin, p.Addr().String()+" served to containers of "+b.client, func() error { return b.served(ctx, p.Addr()) })
	at := server.Address.String()
	return []pair.Mode{
		{Name: direct, Client: from, Server: to, Listen: join(at, port), Dial: join(at, port)},
		{Name: byVirtual, Client: from, Server: to, Listen: join(at, virtualPort), Dial: join(p.Addr().String(), virtualPort)},
	}, err
}

// served asks the client's node whether calls to the address are spread there.
func (b *bench) served(ctx context.Context, v netip.Addr) error {
	socket, err := b.Lab.Path(b.client, contract.StateRoot+"/net/net.sock")
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://plugin/debug/state", nil)
	if err != nil {
		return err
	}
	answer, err := (&http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}).RoundTrip(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close() //nolint:errcheck // read only
	var state struct {
		Virtual struct {
			Boxes map[string][]struct {
				VIP      netip.Addr
				Backends []netip.Addr
			}
		}
	}
	if err := json.NewDecoder(io.LimitReader(answer.Body, 16<<20)).Decode(&state); err != nil {
		return fmt.Errorf("the plugin's state: %w", err)
	}
	for _, all := range state.Virtual.Boxes {
		for _, s := range all {
			if s.VIP == v && len(s.Backends) > 0 {
				return nil
			}
		}
	}
	return errors.New("it is not")
}
