package pool

import (
	"net/netip"
	"testing"
	"time"
)

// desk drives a book the way the door does: every change goes to a ledger, and the book can be read back from it.
type desk struct {
	t    *testing.T
	book *Book
	kept Records
	now  time.Time
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	return &desk{t: t, book: New(DefaultPolicy()), now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
}

// keep lays a change into records as a ledger does.
func (r *Records) keep(c Change) {
	if c.Meta != nil {
		r.Meta = *c.Meta
	}
	for _, s := range c.Shares {
		r.dropShare(s.ID)
		r.Shares = append(r.Shares, s)
	}
	for _, l := range c.Leases {
		r.dropLease(l)
		r.Leases = append(r.Leases, l)
	}
	for _, l := range c.GoneLeases {
		r.dropLease(l)
	}
	for _, id := range c.GoneShares {
		r.dropShare(id)
	}
	if c.Plan != nil {
		r.Plan = c.Plan
	}
}

func (r *Records) dropShare(id uint32) {
	for i, s := range r.Shares {
		if s.ID == id {
			r.Shares = append(r.Shares[:i:i], r.Shares[i+1:]...)
			return
		}
	}
}

func (r *Records) dropLease(l LeaseRecord) {
	for i, m := range r.Leases {
		if m.Pool == l.Pool && m.Addr == l.Addr {
			r.Leases = append(r.Leases[:i:i], r.Leases[i+1:]...)
			return
		}
	}
}

func (d *desk) pass(by time.Duration) { d.now = d.now.Add(by) }

func (d *desk) restart() {
	d.t.Helper()
	b, c, err := Restore(d.now, d.book.policy, d.kept)
	if err != nil {
		d.t.Fatal(err)
	}
	d.kept.keep(c)
	d.book = b
}

func (d *desk) terms(space Space, subnet, ipRange string, options ...string) Terms {
	d.t.Helper()
	m := map[string]string{"com.docker.network.ipam.serial": "true"}
	for i := 0; i+1 < len(options); i += 2 {
		m[options[i]] = options[i+1]
	}
	t, err := ReadTerms(space, subnet, ipRange, false, m)
	if err != nil {
		d.t.Fatal(err)
	}
	return t
}

func (d *desk) network(t Terms) Grant {
	d.t.Helper()
	g, c, err := d.book.RequestPool(d.now, t)
	if err != nil {
		d.t.Fatal(err)
	}
	d.kept.keep(c)
	return g
}

func (d *desk) pool(subnet string, options ...string) Key {
	d.t.Helper()
	return d.network(d.terms(Global, subnet, "", options...)).Key
}

func (d *desk) ask(key Key, addr string) (string, error) {
	d.t.Helper()
	var a netip.Addr
	if addr != "" {
		a = netip.MustParseAddr(addr)
	}
	p, c, err := d.book.RequestAddress(d.now, key, a)
	d.kept.keep(c)
	if err != nil {
		return "", err
	}
	return p.String(), nil
}

func (d *desk) gets(key Key, addr, want string) {
	d.t.Helper()
	if got, err := d.ask(key, addr); err != nil || got != want {
		d.t.Fatalf("asked %q of %s: got %s, %v; want %s", addr, key, got, err, want)
	}
}

func (d *desk) refused(key Key, addr, want string) {
	d.t.Helper()
	before := d.dump()
	got, err := d.ask(key, addr)
	if err == nil || !contains(err.Error(), want) {
		d.t.Fatalf("asked %q of %s: got %s, %v; want an error with %q", addr, key, got, err, want)
	}
	if after := d.dump(); after != before {
		d.t.Fatalf("a refused call changed the book:\n%s\nwas\n%s", after, before)
	}
}

func (d *desk) release(key Key, addr string) {
	d.t.Helper()
	c, err := d.book.ReleaseAddress(d.now, key, netip.MustParseAddr(addr))
	if err != nil {
		d.t.Fatal(err)
	}
	d.kept.keep(c)
}

func (d *desk) gateway(key Key, addr, want string) {
	d.t.Helper()
	var a netip.Addr
	if addr != "" {
		a = netip.MustParseAddr(addr)
	}
	p, c, err := d.book.RequestGateway(d.now, key, a)
	d.kept.keep(c)
	if err != nil || p.String() != want {
		d.t.Fatalf("gateway %q of %s: got %s, %v; want %s", addr, key, p, err, want)
	}
}

func (d *desk) observe(v View) Seen {
	d.t.Helper()
	v.Began = d.now
	if v.Space == 0 {
		v.Space = Global
	}
	c, seen := d.book.Observe(d.now, v)
	d.kept.keep(c)
	return seen
}
