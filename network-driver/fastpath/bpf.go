package fastpath

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/rlimit"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/rolling-swarm/rolling/internal/listing"
	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// bpf is the fast path by two tc programs. Its maps are empty when it begins, even if an earlier process of this plugin
// left programs on the interfaces: those go on with the maps that they have, and each is replaced in one step by one of
// ours once our maps are full. So nothing need be pinned, and a kill leaves nothing but what works.
type bpf struct {
	seats
	links   links
	places  *table[placeKey, place]
	sources *table[sourceKey, sender]
	pairs   *table[topology.Pair, uint32]
	counts  *ebpf.Map
	out     *ebpf.Program // on the host ends
	in      *ebpf.Program // on the uplinks
}

// placeKey is an IPv4 address as it stands in a packet.
type placeKey [4]byte

// place is where an address is: behind a link of this node, or (Ifindex 0) on another node.
type place struct {
	Ifindex uint32
	Group   topology.Group
	MAC     [6]byte
	HostMAC [6]byte
}

// sourceKey is a link and an address that its container may send from.
type sourceKey struct {
	Ifindex uint32
	Address placeKey
}

type sender struct {
	Group topology.Group
	MAC   [6]byte
	_     [2]byte
}

// mostAddresses bounds each map. What does not fit goes the ordinary way, and the report says so.
const mostAddresses = 1 << 16

// openBPF loads maps and programs, and attaches nothing.
func openBPF(nl *listing.Handle, most uint32) (*bpf, error) {
	// Before Linux 5.11 maps count as locked memory. Where the limit may not be raised, the load says so.
	_ = rlimit.RemoveMemlock()
	b := &bpf{seats: seats{nl: nl}}
	if err := b.load(most); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

func (b *bpf) load(most uint32) (err error) {
	if b.places, err = newTable[placeKey, place]("rolling_places", most); err != nil {
		return err
	}
	if b.sources, err = newTable[sourceKey, sender]("rolling_sources", most); err != nil {
		return err
	}
	if b.pairs, err = newTable[topology.Pair, uint32]("rolling_pairs", most); err != nil {
		return err
	}
	b.counts, err = ebpf.NewMap(&ebpf.MapSpec{Name: "rolling_counts", Type: ebpf.PerCPUArray, KeySize: 4, ValueSize: 8, MaxEntries: counters})
	if err != nil {
		return fmt.Errorf("make the map of counters: %w", err)
	}
	t := tables{places: b.places.m.FD(), sources: b.sources.m.FD(), pairs: b.pairs.m.FD(), counts: b.counts.FD()}
	if b.out, err = ebpf.NewProgram(&ebpf.ProgramSpec{Name: "rolling_out", Type: ebpf.SchedCLS, License: "GPL", Instructions: fromContainer(t)}); err != nil {
		return fmt.Errorf("load the containers' program: %w", err)
	}
	if b.in, err = ebpf.NewProgram(&ebpf.ProgramSpec{Name: "rolling_in", Type: ebpf.SchedCLS, License: "GPL", Instructions: fromUplink(t)}); err != nil {
		return fmt.Errorf("load the uplinks' program: %w", err)
	}
	return nil
}

func (b *bpf) close() {
	for _, p := range []*ebpf.Program{b.out, b.in} {
		_ = p.Close() // what is attached stays
	}
	b.places.close()
	b.sources.close()
	b.pairs.close()
	_ = b.counts.Close()
}

// probeBPF tries everything in a network namespace that ends with the try: load, attach, and a packet with a false source,
// which must be dropped.
func probeBPF() error {
	return apart(func() error {
		nl, err := listing.Open()
		if err != nil {
			return err
		}
		defer nl.Close()
		b, err := openBPF(nl, 1)
		if err != nil {
			return err
		}
		defer b.close()
		lo, err := nl.LinkByName("lo")
		if err != nil {
			return fmt.Errorf("find lo: %w", err)
		}
		if err := b.attach(lo.Attrs().Index, b.in); err != nil {
			return err
		}
		verdict, err := b.out.Run(&ebpf.RunOptions{Data: probePacket()})
		if err == nil && verdict != shot {
			err = fmt.Errorf("the verdict on a false source is %d, want %d", verdict, shot)
		}
		if err != nil {
			return fmt.Errorf("try the containers' program: %w", err)
		}
		return nil
	})
}

// probePacket is IPv4, with nothing in it.
func probePacket() []byte {
	p := make([]byte, ip6End)
	binary.BigEndian.PutUint16(p[ethProto:], unix.ETH_P_IP)
	p[ipVersion] = 0x45
	return p
}

// apart runs f on a thread in a network namespace of its own. The thread ends with it, and so does the namespace.
func apart(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("make a network namespace to try it in: %w: the plugin needs CAP_SYS_ADMIN", err)
			return
		}
		done <- f()
	}()
	return <-done
}

// set makes maps and interfaces what they should be: first what is new, then the programs, and only then is taken away
// what is stale, so that a packet under way meets the old state or the new one.
func (b *bpf) set(f topology.Fast) error {
	touched, err := b.links.look(b.nl, f.Touched)
	if err != nil {
		return err
	}
	places, sources, wanted := map[placeKey]place{}, map[sourceKey]sender{}, map[int]*ebpf.Program{}
	var problems []error
	for _, l := range f.Legs {
		end, there := b.links.ends[l.Name]
		if !there {
			continue // its container has ended, or the link is about to be mended
		}
		problems = append(problems, take(l, end, places, sources))
		wanted[end.Index] = b.out
	}
	for a, group := range f.Far {
		if _, here := places[a.As4()]; !here {
			places[a.As4()] = place{Group: group}
		}
	}
	for _, name := range f.Uplinks {
		if up, there := b.links.ends[name]; there {
			wanted[up.Index] = b.in
		}
	}
	pairs := map[topology.Pair]uint32{}
	for _, p := range f.Pairs {
		pairs[p] = 1
	}
	problems = append(problems, b.places.put(places), b.sources.put(sources), b.pairs.put(pairs))
	problems = append(problems, b.seat(touched, wanted)...)
	problems = append(problems, b.pairs.keep(pairs), b.places.keep(places), b.sources.keep(sources))
	return errors.Join(problems...)
}

// seat looks at the links that were touched, or at all.
func (b *bpf) seat(touched []netlink.Link, wanted map[int]*ebpf.Program) []error {
	if !b.links.some {
		return b.sit(touched, wanted)
	}
	return b.sitOnSome(touched, wanted)
}

func take(l topology.Leg, end *netlink.LinkAttrs, places map[placeKey]place, sources map[sourceKey]sender) error {
	mac, err := net.ParseMAC(l.MAC)
	if err != nil || len(mac) != 6 || len(end.HardwareAddr) != 6 {
		return fmt.Errorf("link %s: MAC %q of the container, %q of the host: not those of an Ethernet pair", l.Name, l.MAC, end.HardwareAddr)
	}
	index := uint32(end.Index)
	if l.Group != 0 {
		places[l.Address.As4()] = place{Ifindex: index, Group: l.Group, MAC: [6]byte(mac), HostMAC: [6]byte(end.HardwareAddr)}
	}
	for _, a := range l.Sources {
		sources[sourceKey{index, a.As4()}] = sender{Group: l.Group, MAC: [6]byte(mac)}
	}
	return nil
}

// learn takes single changes of other nodes' containers; a zero group takes an address out.
func (b *bpf) learn(far map[netip.Addr]topology.Group) error {
	var problems []error
	for a, group := range far {
		have, known := b.places.have[a.As4()]
		switch {
		case known && have.Ifindex != 0: // here by now
		case group != 0:
			problems = append(problems, b.places.putOne(a.As4(), place{Group: group}))
		case known:
			problems = append(problems, b.places.drop(a.As4()))
		}
	}
	return few(problems)
}

func (b *bpf) report(r *topology.FastReport) {
	r.Devices, r.Entries, r.Packets = b.devices, len(b.places.have), map[string]uint64{}
	for i, way := range ways() {
		var each []uint64
		if err := b.counts.Lookup(uint32(i), &each); err != nil {
			continue
		}
		for _, n := range each {
			r.Packets[way] += n
		}
	}
}

// ways name the counters, in their order.
func ways() []string {
	return []string{topology.WayOut, topology.WayIn, topology.WayLocal, topology.WayStack, topology.WaySpoofed}
}
