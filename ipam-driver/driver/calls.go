package driver

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/docker/go-plugins-helpers/ipam"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/ipam-driver/pool"
)

// The address spaces' names. The engine asks for them and says them back.
const (
	globalSpace = "rolling.global"
	localSpace  = "rolling.local"
)

// What the engine's options say.
const (
	addressType = "RequestAddressType"
	gatewayType = "com.docker.network.gateway"
)

var _ ipam.Ipam = (*Driver)(nil)

// GetCapabilities is what an engine asks when its allocator begins: a new leader's replay may follow.
func (d *Driver) GetCapabilities() (*ipam.CapabilitiesResponse, error) {
	select {
	case <-d.ready:
		kept, err := d.decide(func(b *pool.Book) (pool.Change, error) { return b.Introduce(), nil })
		if err != nil {
			return nil, err
		}
		d.told("GetCapabilities", kept)
	default: // the engine is on its way up and waits for us: it need not wait for the ledger
		d.notes.Lock()
		d.introduced = true
		d.notes.Unlock()
	}
	return &ipam.CapabilitiesResponse{RequiresMACAddress: false}, nil
}

// GetDefaultAddressSpaces names the two spaces.
func (d *Driver) GetDefaultAddressSpaces() (*ipam.AddressSpacesResponse, error) {
	return &ipam.AddressSpacesResponse{LocalDefaultAddressSpace: localSpace, GlobalDefaultAddressSpace: globalSpace}, nil
}

func space(name string) (pool.Space, error) {
	switch name {
	case globalSpace:
		return pool.Global, nil
	case localSpace:
		return pool.Local, nil
	}
	return 0, fmt.Errorf("address space %q: want %s or %s", name, globalSpace, localSpace)
}

// RequestPool notes a network, and offers a gateway of its own in the global space.
func (d *Driver) RequestPool(r *ipam.RequestPoolRequest) (*ipam.RequestPoolResponse, error) {
	in, err := space(r.AddressSpace)
	if err != nil {
		return nil, err
	}
	byName := r.Pool == "" && r.Options[contract.Pool] != "" && !r.V6
	var terms pool.Terms
	if !byName {
		if terms, err = pool.ReadTerms(in, r.Pool, r.SubPool, r.V6, r.Options); err != nil {
			return nil, err
		}
	}
	var g pool.Grant
	kept, err := d.decide(func(b *pool.Book) (c pool.Change, err error) {
		if byName {
			if terms, err = named(b, in, r); err != nil {
				return c, err
			}
		}
		g, c, err = b.RequestPool(d.parts.Clock(), terms)
		return c, err
	})
	if err != nil {
		return nil, err
	}
	d.told("RequestPool "+string(g.Key), kept)
	d.poke()
	data := map[string]string{}
	if g.Gateway.IsValid() {
		data[gatewayType] = g.Gateway.String()
	}
	d.parts.Log.Info("pool requested", "pool", g.Key, "gateway", data[gatewayType])
	return &ipam.RequestPoolResponse{PoolID: string(g.Key), Pool: g.Subnet.String(), Data: data}, nil
}

// named are the terms of a network that names its pool in place of a subnet.
func named(b *pool.Book, in pool.Space, r *ipam.RequestPoolRequest) (pool.Terms, error) {
	subnet, err := b.Subnet(in, r.Options)
	if err != nil {
		return pool.Terms{}, err
	}
	return pool.ReadTerms(in, subnet, r.SubPool, r.V6, r.Options)
}

// ReleasePool notes that a network is gone. It frees no address.
func (d *Driver) ReleasePool(r *ipam.ReleasePoolRequest) error {
	kept, err := d.decide(func(b *pool.Book) (pool.Change, error) {
		return b.ReleasePool(d.parts.Clock(), pool.Key(r.PoolID))
	})
	if err != nil {
		return err
	}
	d.told("ReleasePool "+r.PoolID, kept)
	d.poke()
	d.parts.Log.Info("pool released", "pool", r.PoolID)
	return nil
}

// errBodyless: an engine (28.5.2) whose call was cut off by the plugin's end sends it again to the next process, and has
// read its body to the end by then. Which address of which pool was asked for, nobody can tell.
var errBodyless = errors.New("the call names no pool: the engine repeats a call that a plugin's end cut off without its body: Swarm asks again when something is released, or within 5 minutes")

// RequestAddress gives the named address, or the next one.
func (d *Driver) RequestAddress(r *ipam.RequestAddressRequest) (*ipam.RequestAddressResponse, error) {
	if r.PoolID == "" {
		return nil, errBodyless
	}
	named, err := address(r.Address)
	if err != nil {
		return nil, err
	}
	key, gateway := pool.Key(r.PoolID), r.Options[addressType] == gatewayType
	var got netip.Prefix
	take := func(b *pool.Book) (c pool.Change, err error) {
		if gateway {
			got, c, err = b.RequestGateway(d.parts.Clock(), key, named)
		} else {
			got, c, err = b.RequestAddress(d.parts.Clock(), key, named)
		}
		return c, err
	}
	deadline := time.Now().Add(decideWithin)
	if !named.IsValid() && !gateway {
		d.hearFirst(key)
	}
	kept, err := d.decideBy(deadline, take)
	var full *pool.FullError
	if errors.As(err, &full) && full.Lost > 0 && time.Until(deadline) > lookNowWithin && d.lookNow() {
		kept, err = d.decideBy(deadline, take)
	}
	if err != nil {
		return nil, err
	}
	if kept != nil && !named.IsValid() && !gateway {
		d.undo(key, got.Addr())
		return nil, fmt.Errorf("%s: no address is given that could be forgotten: %w", key, kept)
	}
	d.told("RequestAddress "+got.String(), kept)
	d.poke()
	d.parts.Log.Debug("address given", "pool", key, "address", got, "named", named.IsValid(), "gateway", gateway)
	return &ipam.RequestAddressResponse{Address: got.String(), Data: map[string]string{}}, nil
}

// undo takes an address back that the engine is not told of.
func (d *Driver) undo(key pool.Key, a netip.Addr) {
	_, _ = d.take(func(b *pool.Book) (pool.Change, error) { return b.Undo(key, a), nil }) // it follows the failed change to disk
}

// ReleaseAddress lets an address rest. Without a pool it is an IPv6 address, derived and never leased.
func (d *Driver) ReleaseAddress(r *ipam.ReleaseAddressRequest) error {
	if r.PoolID == "" || r.Address == "" {
		d.strangeV6.Add(1)
		return nil
	}
	named, err := address(r.Address)
	if err != nil {
		return err
	}
	kept, err := d.decide(func(b *pool.Book) (pool.Change, error) {
		return b.ReleaseAddress(d.parts.Clock(), pool.Key(r.PoolID), named)
	})
	if err != nil {
		return err
	}
	d.told("ReleaseAddress "+r.Address, kept)
	d.poke()
	d.parts.Log.Debug("address released", "pool", r.PoolID, "address", r.Address)
	return nil
}

// address reads an IPv4 address, with or without a prefix length; none is none.
func address(text string) (netip.Addr, error) {
	if text == "" {
		return netip.Addr{}, nil
	}
	a, err := netip.ParseAddr(text)
	if err != nil {
		p, bad := netip.ParsePrefix(text)
		if bad != nil {
			return netip.Addr{}, fmt.Errorf("address %q: want an IPv4 address as 10.201.3.7: %w", text, err)
		}
		a = p.Addr()
	}
	if a = a.Unmap(); !a.Is4() {
		return netip.Addr{}, fmt.Errorf("address %s: IPv6 addresses are derived from the IPv4 ones, not leased: name an IPv4 address, or none", a)
	}
	return a, nil
}
