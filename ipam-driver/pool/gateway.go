package pool

import (
	"net/netip"
	"slices"
	"time"

	"github.com/rolling-swarm/rolling/internal/contract"
)

// Every network has a link-local gateway of its own: a container on two networks with one gateway cannot start.

// linkLocal is RFC 3927's prefix; its first and last 256 addresses are reserved by it.
func linkLocal(a netip.Addr) bool { return a.Is4() && a.IsLinkLocalUnicast() }

// metadata reports addresses that clouds answer on: 169.254.169.254 above all, and their neighbours.
func metadata(n uint32) bool { return n>>8 == 169<<16|254<<8|169 || n>>8 == 169<<16|254<<8|170 }

// offer picks the first unused link-local gateway and records it as the network's.
func (b *Book) offer(s *share, now int64) (netip.Addr, error) {
	first := uint32(169<<24 | 254<<16 | 1<<8 | 1)
	if b.blind != 0 { // which are used is not known: far from where they begin, hardly one is
		first += 128<<8 + uint32(now%(64<<8))
	}
	for n := first; n < 169<<24|254<<16|255<<8; n++ {
		a := fromNumber(n)
		if metadata(n) || n&255 == 0 || n&255 == 255 || b.gateways[a] > 0 || s.pool.prefix.Contains(a) {
			continue
		}
		b.gate(s, a, now)
		s.Offer = a.String()
		return a, nil
	}
	return netip.Addr{}, &RefusedError{s.terms.String(), "no link-local gateway is unused: remove a network"}
}

func (s *share) gatewayAt(a netip.Addr) int {
	return slices.IndexFunc(s.Gateways, func(g Gateway) bool { return g.Addr == a })
}

func (b *Book) gate(s *share, a netip.Addr, now int64) {
	if i := s.gatewayAt(a); i >= 0 {
		s.Gateways[i].Touched, s.Gateways[i].missed = now, 0
		return
	}
	s.Gateways = append(s.Gateways, Gateway{Addr: a, Touched: now})
	if s.terms.Space == Global {
		b.gateways[a]++
	}
}

func (b *Book) ungate(s *share, a netip.Addr) bool {
	i := s.gatewayAt(a)
	if i < 0 {
		return false
	}
	s.Gateways = slices.Delete(slices.Clone(s.Gateways), i, i+1)
	if s.terms.Space == Global {
		if b.gateways[a]--; b.gateways[a] <= 0 {
			delete(b.gateways, a)
		}
	}
	return true
}

// RequestGateway answers for a network's gateway. A named one is recorded instead of the one that was offered: it is
// a replay, or the wish of whoever made the network.
func (b *Book) RequestGateway(at time.Time, key Key, named netip.Addr) (netip.Prefix, Change, error) {
	now := millis(at)
	s, c, err := b.recall(key, named, now)
	if err != nil {
		return netip.Prefix{}, c, err
	}
	bits := s.terms.Subnet.Bits()
	switch {
	case s.terms.Gateway.IsValid() && (!named.IsValid() || named == s.terms.Gateway):
		if named.IsValid() && s.Reign != s.Term {
			b.reigns(s, now)
			c.Shares = append(c.Shares, s.record())
		}
		return netip.PrefixFrom(s.terms.Gateway, bits), c, nil
	case !named.IsValid() && s.terms.Space == Local:
		return b.ownGateway(s, now, c)
	case !named.IsValid():
		return b.offeredGateway(s, now, c)
	case s.terms.Subnet.Contains(named):
		return b.insideGateway(s, named, now, c)
	case !linkLocal(named):
		return netip.Prefix{}, c, &RefusedError{s.terms.String(), "gateway " + named.String() + " lies outside it: leave --gateway out on a routed network, or name the router with " + contract.Gateway}
	case metadata(number(named)):
		return netip.Prefix{}, c, &RefusedError{s.terms.String(), "gateway " + named.String() + " belongs to clouds' metadata services: leave --gateway out"}
	}
	if s.Offer != named.String() {
		b.withdrawOffer(s)
	}
	b.gate(s, named, now)
	s.Offer, s.Inside = "", false
	b.reigns(s, now)
	c.Shares = append(c.Shares, s.record())
	return netip.PrefixFrom(named, 32), c, nil
}

// reigns notes that a gateway was named: the Swarm had it from an earlier leader, which may have freed some of the
// addresses that are unknown here. Only who makes a network with a router's address of his own names one, too.
func (b *Book) reigns(s *share, now int64) {
	s.Reign = s.Term
	if s.terms.Space == Global {
		s.Unsure = max(s.Unsure, now+s.rest(b.policy))
	}
}

func (b *Book) withdrawOffer(s *share) {
	if a, err := netip.ParseAddr(s.Offer); err == nil {
		b.ungate(s, a)
	}
	s.Offer = ""
}

func (b *Book) offeredGateway(s *share, now int64, c Change) (netip.Prefix, Change, error) {
	a, err := netip.ParseAddr(s.Offer)
	if err != nil {
		if a, err = b.offer(s, now); err != nil {
			return netip.Prefix{}, c, err
		}
		c.Shares = append(c.Shares, s.record())
	}
	return netip.PrefixFrom(a, 32), c, nil
}

// ownGateway chooses a gateway for one of Docker's own networks on this node: they want it inside the subnet.
func (b *Book) ownGateway(s *share, now int64, c Change) (netip.Prefix, Change, error) {
	s.Inside, s.Own = true, true
	a, ok := b.choose(s, now, &c)
	if !ok {
		return netip.Prefix{}, c, b.full(s, now)
	}
	l := b.take(s, a, now, claim{gateway: true})
	c.Shares = append(c.Shares, s.record())
	c.Leases = append(c.Leases, l.record())
	return netip.PrefixFrom(fromNumber(a), s.terms.Subnet.Bits()), c, nil
}

// insideGateway leases a router's address inside the subnet, once for all networks of the share.
func (b *Book) insideGateway(s *share, named netip.Addr, now int64, c Change) (netip.Prefix, Change, error) {
	a := number(named)
	if l := s.pool.leases[a]; l != nil && l.state == held && !l.gateway && l.current() {
		return netip.Prefix{}, c, b.inUse(s, l, now)
	}
	b.withdrawOffer(s)
	s.Inside = true
	b.reigns(s, now)
	l := b.take(s, a, now, claim{gateway: true, asked: true})
	c.Shares = append(c.Shares, s.record())
	c.Leases = append(c.Leases, l.record())
	return netip.PrefixFrom(named, s.terms.Subnet.Bits()), c, nil
}
