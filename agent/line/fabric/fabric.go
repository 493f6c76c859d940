// Package fabric reads a node's routes: from the network plugin's own page, and, while that does not answer, from the
// kernel, which keeps them without it. It also reads how the plugin does, and tells it of a drain. It knows the plugin's
// pages, and route protocol 82; it decides nothing.
package fabric

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/internal/wire"
)

const (
	// answerWithin leaves time for the kernel within the line's own limit.
	answerWithin = 3 * time.Second
	// maxPage bounds the plugin's page: some 60 bytes a route, 20,000 routes, and as much for the endpoints.
	maxPage = 16 << 20
)

// Reader reads the routes of this node.
type Reader struct {
	client *http.Client
	kernel func() ([]netlink.Route, error)
}

// New makes a Reader that asks the plugin on that socket: net/net.sock in Rolling's folder of state.
func New(socket string) *Reader {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}
	return &Reader{
		client: &http.Client{Timeout: answerWithin, Transport: &http.Transport{DisableKeepAlives: true, DialContext: dial}},
		kernel: ofKernel,
	}
}

// Routes reads them, sorted by prefix.
func (r *Reader) Routes(ctx context.Context) (wire.Routes, error) {
	page, err := r.page(ctx)
	if err == nil {
		return sorted(wire.Routes{Source: "plugin", Routes: page.routes()}), nil
	}
	have, fault := r.kernel()
	if fault != nil {
		return wire.Routes{}, fmt.Errorf("read the node's routes: %w", errors.Join(err, fault))
	}
	return sorted(wire.Routes{Source: "kernel", Routes: read(have)}), nil
}

func sorted(r wire.Routes) wire.Routes {
	slices.SortFunc(r.Routes, func(a, b wire.Route) int { return a.Prefix.Compare(b.Prefix) })
	return r
}

// page is what is read of the network plugin's /debug/state.
type page struct {
	Ready      bool              `json:"ready"`
	Refused    string            `json:"refused"`
	Problems   map[string]string `json:"problems"`
	Membership struct {
		Self    netip.Addr `json:"self"`
		Manager bool       `json:"manager"`
	} `json:"membership"`
	Pools  []netip.Prefix `json:"pools"`
	Uplink struct {
		MTU   int      `json:"mtu"`
		Names []string `json:"names"`
	} `json:"uplink"`
	Settled  bool `json:"settled"`
	FastPath struct {
		Path string `json:"path"`
		Idle string `json:"idle"`
	} `json:"fastPath"`
	Neighbours []wire.Neighbour `json:"neighbours"`
	Fabric     struct {
		Held    int  `json:"held"`
		Own     int  `json:"own"`
		Drained bool `json:"drained"`
	} `json:"fabric"`
	Networks []struct {
		ID      string `json:"id"`
		Options struct {
			Project     string `json:"project"`
			Environment string `json:"environment"`
			Open        bool   `json:"open"`
		} `json:"options"`
	} `json:"networks"`
	Awaited   []string `json:"awaited"`
	Endpoints []struct {
		ID      string     `json:"id"`
		Network string     `json:"network"`
		Address netip.Addr `json:"address"`
		Six     netip.Addr `json:"address6"`
		Phase   string     `json:"phase"`
		MTU     int        `json:"mtu"`
		Since   time.Time  `json:"joinedAt"`
	} `json:"endpoints"`
	Routes    map[string]netip.Addr `json:"routes"` // next hop by prefix
	Isolation *wire.Access          `json:"isolation"`
}

func (r *Reader) page(ctx context.Context) (page, error) {
	var p page
	return p, r.read(ctx, "/debug/state", &p)
}

func (r *Reader) read(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://net"+path, nil)
	if err != nil {
		return err
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return fmt.Errorf("ask the network plugin: %w", err)
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("ask the network plugin: it answers %s", resp.Status)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxPage)).Decode(into); err != nil {
		return fmt.Errorf("read the network plugin's state: %w", err)
	}
	return nil
}

// joined is the phase of an endpoint whose address is announced.
const joined = "joined"

func (p page) routes() []wire.Route {
	all := []wire.Route{}
	for _, e := range p.Endpoints {
		if e.Phase != joined || slices.Contains(p.Awaited, e.ID) || !e.Address.IsValid() {
			continue
		}
		for _, a := range []netip.Addr{e.Address, e.Six} {
			route := wire.Route{Prefix: netip.PrefixFrom(a, a.BitLen()), NextHop: p.Membership.Self, Origin: wire.Local, Since: e.Since}
			for _, n := range p.Networks {
				if n.ID == e.Network {
					route.Project, route.Environment = n.Options.Project, n.Options.Environment
				}
			}
			if a.IsValid() {
				all = append(all, route)
			}
		}
	}
	for text, via := range p.Routes {
		if prefix, err := netip.ParsePrefix(text); err == nil {
			all = append(all, wire.Route{Prefix: prefix, NextHop: via, Origin: wire.Learnt})
		}
	}
	return all
}

func ofKernel() ([]netlink.Route, error) {
	filter := &netlink.Route{Protocol: contract.RouteProtocol, Table: unix.RT_TABLE_MAIN}
	have, err := netlink.RouteListFiltered(netlink.FAMILY_ALL, filter, netlink.RT_FILTER_PROTOCOL|netlink.RT_FILTER_TABLE)
	if err != nil {
		return nil, fmt.Errorf("list the kernel's routes of protocol %d: %w", contract.RouteProtocol, err)
	}
	return have, nil
}

// read: a route with a next hop was learnt, one into a link is of this node's own container.
func read(have []netlink.Route) []wire.Route {
	all := []wire.Route{}
	for _, r := range have {
		if r.Dst == nil || r.Type != unix.RTN_UNSPEC && r.Type != unix.RTN_UNICAST {
			continue // a border's pool is unreachable there, but for the addresses in it that are somewhere
		}
		address, ok := netip.AddrFromSlice(r.Dst.IP)
		ones, _ := r.Dst.Mask.Size()
		if !ok {
			continue
		}
		route := wire.Route{Prefix: netip.PrefixFrom(address.Unmap(), ones), Origin: wire.Local}
		if via, ok := netip.AddrFromSlice(r.Gw); ok {
			route.NextHop, route.Origin = via.Unmap(), wire.Learnt
		}
		all = append(all, route)
	}
	return all
}
