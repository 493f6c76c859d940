// Package fastpath carries permitted packets between containers past the firewall's chains: by two tc programs (bpf),
// by chains of nftables at the interfaces' entrance (nft), or not at all (plain). It knows what each of them needs of
// the kernel, finds out by trying, and makes them hold what topology says; on each of them a container can send only
// from addresses and the MAC of its own. It decides nothing: whatever topology does not name goes the ordinary way, and so does everything
// when a path dies. It knows no Swarm, no BGP and no file, and writes no iptables rule: on plain, somebody else has to check sources.
package fastpath

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/rolling-swarm/rolling/internal/listing"
	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// Wish is what the settings ask for.
type Wish string

// Auto takes the first that works, in the order of the others.
const (
	Auto Wish = "auto"
	BPF  Wish = "bpf"
	NFT  Wish = "nft"
	Off  Wish = "off"
)

// Wishes are all words that the setting may have.
func Wishes() []Wish { return []Wish{Auto, BPF, NFT, Off} }

// lane is one way of carrying.
type lane interface {
	set(topology.Fast) error
	learn(map[netip.Addr]topology.Group) error
	report(*topology.FastReport)
}

// Path is the way that was chosen. One caller at a time.
type Path struct {
	name    string
	wish    Wish
	lane    lane
	refused map[string]string
	sweep   func() error // what an earlier run may have left of other ways; until it succeeds
	uplinks []string     // of the last Set
	doubt   bool         // it failed
}

// Settings are what to try.
type Settings struct {
	Wish Wish
	// Most bounds the addresses that the bpf path knows, for tests; 0 is the default.
	Most uint32
}

// Open tries what the wish allows, in the network namespace of the calling thread, also when other threads call later.
// There is always a path: where nothing loads it is plain, and the report says why. The tries leave nothing behind.
func Open(s Settings) (*Path, error) {
	nl, err := listing.Open()
	if err != nil {
		return nil, err
	}
	p := &Path{name: topology.Plain, wish: s.Wish, refused: map[string]string{}}
	lanes := []struct {
		name string
		open func() (lane, error)
	}{
		{string(BPF), func() (lane, error) { return tryBPF(nl, cmp.Or(s.Most, mostAddresses)) }},
		{string(NFT), func() (lane, error) { return tryNFT(nl) }},
	}
	for _, l := range lanes {
		if s.Wish != Auto && s.Wish != Wish(l.name) {
			p.refused[l.name] = "the setting says " + string(s.Wish)
			continue
		}
		if p.lane, err = l.open(); err == nil {
			p.name = l.name
			break
		}
		p.lane, p.refused[l.name] = nil, err.Error()
	}
	p.sweep = sweeper(nl, p.name)
	return p, nil
}

func tryBPF(nl *listing.Handle, most uint32) (lane, error) {
	if err := probeBPF(); err != nil {
		return nil, err
	}
	return openBPF(nl, most)
}

func tryNFT(nl *listing.Handle) (lane, error) {
	if err := probeNFT(); err != nil {
		return nil, err
	}
	return openNFT(nl)
}

// Name is bpf, nft or plain.
func (p *Path) Name() string { return p.name }

// Yields says that the path stands aside where administrators have rules of their own before ours: who named a path in
// the settings wants it all the same.
func (p *Path) Yields() bool { return p.wish == Auto && p.lane != nil }

// Set makes the path hold exactly this. Said twice it changes nothing, but mends what somebody else broke, unless it says
// which links to look at.
func (p *Path) Set(f topology.Fast) error {
	if p.doubt || p.sweep != nil || !slices.Equal(f.Uplinks, p.uplinks) {
		f.Touched = nil
	}
	p.uplinks, p.doubt = f.Uplinks, false
	if p.lane != nil {
		err := p.lane.set(f)
		if err != nil && f.Touched != nil { // something else was touched, too
			f.Touched = nil
			err = p.lane.set(f)
		}
		if err != nil {
			p.doubt = true
			return fmt.Errorf("fast path %s: %w", p.name, err)
		}
	}
	if p.sweep == nil {
		return nil
	}
	if err := p.sweep(); err != nil {
		return fmt.Errorf("remove what another fast path left: %w", err)
	}
	p.sweep = nil
	return nil
}

// Learn takes single changes of other nodes' containers between two Sets; group zero takes an address out.
func (p *Path) Learn(far map[netip.Addr]topology.Group) error {
	if p.lane == nil || len(far) == 0 {
		return nil
	}
	if err := p.lane.learn(far); err != nil {
		return fmt.Errorf("fast path %s: %w", p.name, err)
	}
	return nil
}

// Report tells how it does.
func (p *Path) Report() topology.FastReport {
	r := topology.FastReport{Path: p.name, Wanted: string(p.wish), Refused: maps.Clone(p.refused)}
	if p.lane != nil {
		p.lane.report(&r)
	}
	return r
}

// sweeper takes away what the ways other than this one may have left. Where the kernel knows no nftables, that is nothing.
func sweeper(nl *listing.Handle, stays string) func() error {
	var tables *nft
	if stays != string(NFT) {
		if n, err := openNFT(nl); err == nil {
			tables = n
		}
	}
	return func() error {
		var problems []error
		if stays != string(BPF) {
			links, err := nl.LinkList()
			if err != nil {
				return fmt.Errorf("list the host's links: %w", err)
			}
			problems = append(problems, (&seats{nl: nl}).sit(links, nil)...)
		}
		if tables != nil {
			if left, _, err := tables.look(); err == nil {
				problems = append(problems, tables.remove(left))
			}
		}
		err := errors.Join(problems...)
		if err == nil && tables != nil {
			tables.close()
		}
		return err
	}
}
