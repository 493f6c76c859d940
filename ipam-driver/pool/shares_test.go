package pool

import (
	"net/netip"
	"testing"
	"time"
)

func zeroAddr() netip.Addr { return netip.Addr{} }

func TestANetworkOfBlocksTakesBlockAfterBlockUpToItsQuota(t *testing.T) {
	d := newDesk(t)
	plain := d.pool("10.1.0.0/28")
	d.gets(plain, "", "10.1.0.0/32")
	p := d.pool("10.1.0.0/28", "rolling.block", "30", "rolling.quota", "8", "rolling.project", "orders")
	for _, a := range []string{"4", "5", "6", "7"} {
		d.gets(p, "", "10.1.0."+a+"/32")
	}
	d.gets(plain, "", "10.1.0.1/32")
	d.gets(plain, "", "10.1.0.2/32")
	d.gets(plain, "", "10.1.0.3/32")
	d.gets(p, "", "10.1.0.8/32")
	d.gets(plain, "", "10.1.0.12/32")
	for _, a := range []string{"9", "10", "11"} {
		d.gets(p, "", "10.1.0."+a+"/32")
	}
	d.restart()
	d.refused(p, "", "8 of quota 8 leased: raise the quota")
	d.release(p, "10.1.0.5")
	d.refused(p, "", "no available addresses: 2 of 2 blocks used, 7 of 8 addresses used, 1 rest (the first is free in 1m0s)")
	if err := d.book.check(); err != nil {
		t.Fatal(err)
	}
}

func TestIdleBlocksAreOpenedAgainAndANetworkKeepsOne(t *testing.T) {
	d := newDesk(t)
	p := d.pool("10.1.0.0/28", "rolling.block", "30")
	for range 10 {
		if _, err := d.ask(p, ""); err != nil {
			t.Fatal(err)
		}
	}
	for i := range uint32(10) {
		d.release(p, fromNumber(10<<24|1<<16|i).String())
	}
	d.pass(2 * time.Minute)
	d.kept.keep(d.book.Tidy(d.now))
	d.restart()
	if got := d.book.Shares(d.now)[0].Blocks; len(got) != 1 || got[0].String() != "10.1.0.0/30" {
		t.Fatalf("blocks %v", got)
	}
	other := d.pool("10.1.0.0/28", "rolling.project", "b")
	d.gets(other, "", "10.1.0.4/32")
	if err := d.book.check(); err != nil {
		t.Fatal(err)
	}
}

func TestAReplayFindsItsBlocksAgain(t *testing.T) {
	d := newDesk(t)
	p := d.pool("10.1.0.0/28", "rolling.block", "30")
	d.gateway(p, "169.254.1.5", "169.254.1.5/32")
	d.gets(p, "10.1.0.9", "10.1.0.9/32")
	other := d.pool("10.1.0.0/28", "rolling.project", "b")
	for _, a := range []string{"0", "1", "2", "3", "4", "5", "6", "7", "12"} {
		d.gets(other, "", "10.1.0."+a+"/32")
	}
}

func TestAnExactRangeKeepsAddressesWithTheirSlots(t *testing.T) {
	d := newDesk(t)
	p := d.pool("10.1.0.0/24", "rolling.range", "10.1.0.10-10.1.0.11")
	d.gets(p, "", "10.1.0.10/32")
	d.gets(p, "", "10.1.0.11/32")
	d.refused(p, "", "no available addresses: 2 of 2 addresses used")
	d.release(p, "10.1.0.10")
	d.gets(p, "", "10.1.0.10/32") // stop-first: the successor asks at once
	other := d.pool("10.1.0.0/24")
	for i := range uint32(254) {
		got, err := d.ask(other, "")
		if err != nil || got == "10.1.0.10/32" || got == "10.1.0.11/32" {
			t.Fatalf("address %d: %s, %v", i, got, err)
		}
	}
}

func TestAnExactRangeWithAQuarantineOfItsOwnObeysIt(t *testing.T) {
	d := newDesk(t)
	p := d.pool("10.1.0.0/24", "rolling.range", "10.1.0.10", "rolling.quarantine", "30s")
	d.gets(p, "", "10.1.0.10/32")
	d.release(p, "10.1.0.10")
	d.refused(p, "", "1 rest (the first is free in 30s)")
	d.pass(30 * time.Second)
	d.gets(p, "", "10.1.0.10/32")
}

func TestDockersIPRangeBoundsTheChoiceAndNotTheNamed(t *testing.T) {
	d := newDesk(t)
	p := d.network(d.terms(Global, "10.1.0.0/24", "10.1.0.128/30")).Key
	d.gets(p, "", "10.1.0.128/32")
	d.gets(p, "10.1.0.7", "10.1.0.7/32")
	d.gets(p, "", "10.1.0.129/32")
}

func TestARangeThatIsGivenUpIsOpenToOthers(t *testing.T) {
	d := newDesk(t)
	p := d.pool("10.1.0.0/30", "rolling.range", "10.1.0.0-10.1.0.2")
	d.gets(p, "", "10.1.0.0/32")
	d.release(p, "10.1.0.0")
	d.release(p, "169.254.1.1")
	c, err := d.book.ReleasePool(d.now, p)
	if err != nil {
		t.Fatal(err)
	}
	d.kept.keep(c)
	other := d.pool("10.1.0.0/30")
	d.gets(other, "", "10.1.0.3/32")
	d.pass(2 * time.Minute)
	d.kept.keep(d.book.Tidy(d.now))
	for _, a := range []string{"10.1.0.0/32", "10.1.0.1/32", "10.1.0.2/32"} {
		d.gets(other, "", a)
	}
}

func TestANodesOwnNetworksAreServedAndKeepOffTheSwarmsLeases(t *testing.T) {
	d := newDesk(t)
	global := d.pool("10.1.0.0/29")
	d.gets(global, "", "10.1.0.0/32")
	d.gets(global, "", "10.1.0.1/32")
	own := d.network(d.terms(Local, "10.1.0.0/29", "", "rolling.project", "bridge"))
	if own.Gateway.IsValid() {
		t.Fatalf("a gateway was offered on a node: %s", own.Gateway)
	}
	d.gateway(own.Key, "", "10.1.0.2/29")
	d.gets(own.Key, "", "10.1.0.3/29")
	d.gets(own.Key, "10.1.0.5", "10.1.0.5/29")
	d.pass(time.Minute)
	d.refused(own.Key, "10.1.0.5", "in use")
	d.gets(own.Key, "", "10.1.0.4/29")
	d.gets(own.Key, "", "10.1.0.6/29")
	d.refused(own.Key, "", "no available addresses")
}

func TestTheLocalSpaceTakesAnyAddressAndFreesNothingGlobal(t *testing.T) {
	d := newDesk(t)
	global := d.pool("10.1.0.0/29")
	d.gets(global, "", "10.1.0.0/32")
	local := d.network(d.terms(Local, "10.1.0.0/29", "")).Key
	d.gateway(local, "169.254.1.1", "169.254.1.1/32")
	for range 3 {
		d.gets(local, "10.1.0.0", "10.1.0.0/32")
		d.gets(local, "10.1.0.6", "10.1.0.6/32")
	}
	for range 2 {
		d.release(local, "10.1.0.0")
		d.release(local, "169.254.1.1")
	}
	d.refused(global, "10.1.0.0", "in use")
	if g := d.network(d.terms(Global, "10.2.0.0/29", "")); g.Gateway.String() != "169.254.1.2/32" {
		t.Fatalf("the node's release freed the gateway: %s", g.Gateway)
	}
}

func TestARouterInsideTheSubnetIsSharedByItsNetworks(t *testing.T) {
	d := newDesk(t)
	p := d.pool("10.1.0.0/29")
	d.gateway(p, "10.1.0.1", "10.1.0.1/29")
	d.pool("10.1.0.0/29")
	d.gateway(p, "10.1.0.1", "10.1.0.1/29")
	d.release(p, "10.1.0.1") // one of the two networks is gone
	d.gets(p, "", "10.1.0.2/29")
	d.pass(time.Hour)
	for _, a := range []string{"10.1.0.3/29", "10.1.0.4/29", "10.1.0.5/29", "10.1.0.6/29"} {
		d.gets(p, "", a)
	}
	d.refused(p, "", "no available addresses")
}

func TestAPoolInUseRefusesAnOverlapAndAMemoryOfOneDoesNot(t *testing.T) {
	d := newDesk(t)
	d.pool("10.1.0.0/16")
	if _, _, err := d.book.RequestPool(d.now, d.terms(Global, "10.1.7.0/24", "")); err == nil || !contains(err.Error(), "overlaps pool 10.1.0.0/16") {
		t.Fatalf("got %v", err)
	}
	d.kept.keep(d.book.Introduce()) // a new leader: what it does not ask for may be gone
	p := d.pool("10.1.7.0/24")
	d.gets(p, "", "10.1.7.0/32")
}

func TestAnOldPoolAndAnewOneThatOverlapShareNoAddress(t *testing.T) {
	d := newDesk(t)
	old := d.pool("10.1.0.0/29")
	d.gets(old, "", "10.1.0.0/32")
	d.kept.keep(d.book.Introduce())
	p := d.pool("10.1.0.0/30")
	d.gets(p, "", "10.1.0.1/32")
	d.gets(old, "", "10.1.0.2/32")
	d.gets(p, "", "10.1.0.3/32")
}
