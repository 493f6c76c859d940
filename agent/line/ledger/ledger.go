// Package ledger asks a node's IPAM plugin what it knows of addresses, and tells it what people decide: that a rest is
// over, and that named pools are to be read now; and the network plugin, which networks it refused. It knows the plugins'
// own pages; it decides nothing.
package ledger

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
	"strings"
	"time"

	"github.com/rolling-swarm/rolling/internal/wire"
)

const (
	answerWithin = 4 * time.Second
	// maxPage bounds the plugin's page: some 500 bytes a lease, 65,536 leases.
	maxPage = 48 << 20
	// maxLeases bounds the answer on the line, some 250 bytes each: the rest is cut off, and the answer says so.
	maxLeases = 20_000
)

// Plugin is the IPAM plugin of this node, with the network plugin beside it.
type Plugin struct{ client, net *http.Client }

// New makes a Plugin that is asked on these sockets: ipam/ipam.sock and net/net.sock in Rolling's folder of state.
func New(ipam, net string) *Plugin { return &Plugin{client(ipam), client(net)} }

func client(socket string) *http.Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}
	return &http.Client{Timeout: answerWithin, Transport: &http.Transport{DisableKeepAlives: true, DialContext: dial}}
}

// Addresses reads what the plugin knows: all leases, those of one address, or none.
func (p *Plugin) Addresses(ctx context.Context, leases bool, one netip.Addr) (wire.Addresses, error) {
	var a wire.Addresses
	resp, err := p.ask(ctx, http.MethodGet, "/debug/state")
	if err != nil {
		return a, err
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxPage)).Decode(&a); err != nil {
		return a, fmt.Errorf("read the IPAM plugin's state: %w", err)
	}
	a.Shares = slices.DeleteFunc(a.Shares, func(s wire.AddressShare) bool { return s.Space != "global" })
	a.Leases = slices.DeleteFunc(a.Leases, func(l wire.AddressLease) bool { return !leases && l.Address != one })
	if n := len(a.Leases); n > maxLeases {
		a.Leases = a.Leases[:maxLeases]
		a.Warnings = append(a.Warnings, fmt.Sprintf("only the first %d of %d leases are told", maxLeases, n))
	}
	a.Networks = p.refused(ctx)
	return a, nil
}

// refused are the networks that the network plugin said no to. Without it, or with an older one, there is nothing to tell:
// that it is away is told elsewhere.
func (p *Plugin) refused(ctx context.Context) (all []wire.NetworkRefusal) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://net/debug/refusals", nil)
	if err != nil {
		return nil
	}
	resp, err := p.net.Do(req)
	if err != nil {
		return nil
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	if resp.StatusCode != http.StatusOK || json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&all) != nil {
		return nil
	}
	return all
}

// Free ends the rest of an address. Sure: somebody answers for its last holder being dead.
func (p *Plugin) Free(ctx context.Context, a netip.Addr, sure bool) error {
	path := "/addresses/" + a.String() + "/free"
	if sure {
		path += "?force=true"
	}
	return p.tell(ctx, path)
}

// ReadSettled has named pools and reservations read soon.
func (p *Plugin) ReadSettled(ctx context.Context) error { return p.tell(ctx, "/settled/read") }

func (p *Plugin) tell(ctx context.Context, path string) error {
	resp, err := p.ask(ctx, http.MethodPost, path)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

func (p *Plugin) ask(ctx context.Context, method, path string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://ipam"+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the IPAM plugin: %w", err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	why := errors.New(strings.TrimSpace(string(text)))
	_ = resp.Body.Close() // what it said has been read
	if resp.StatusCode == http.StatusConflict {
		return nil, fmt.Errorf("%w: %w", wire.ErrRefused, why)
	}
	return nil, fmt.Errorf("ask the IPAM plugin: it answers %s: %w", resp.Status, why)
}
