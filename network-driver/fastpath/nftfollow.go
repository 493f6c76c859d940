package fastpath

import (
	"errors"
	"fmt"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// follow is set for the links that were touched alone: the table, its other chains and the roads to other nodes are what
// they were.
func (n *nft) follow(f topology.Fast) error {
	touched, err := n.links.look(n.nl, f.Touched)
	if err != nil {
		return err
	}
	n.pairs = f.Pairs
	want, at, problems := n.wanted(f)
	n.roads(f, want)
	problems = append(problems, n.put(want))
	for _, l := range touched {
		if name := l.Attrs().Name; at[name] != "" {
			problems = append(problems, n.chainOn(name, at[name]))
		}
	}
	for name := range n.devices {
		if at[name] != "" {
			continue
		}
		delete(n.devices, name)
		problems = append(problems, n.noChainOn(name))
	}
	return few(append(problems, n.keep(want), n.disband(f)))
}

// chainOn gives a link its chain. What a former link of its name left, on kernels that keep it, is replaced in one step.
func (n *nft) chainOn(device, to string) error {
	t := &nftables.Table{Name: n.table, Family: nftables.TableFamilyNetdev}
	if _, err := n.conn.ListChain(t, ofDevice+device); err == nil {
		n.conn.DelChain(&nftables.Chain{Table: t, Name: ofDevice + device})
	}
	n.chain(t, device, to)
	if err := n.conn.Flush(); err != nil {
		return fmt.Errorf("chain of table %s for %s: %w", n.table, device, err)
	}
	n.devices[device] = true
	return nil
}

// noChainOn: most kernels take a chain away with its link.
func (n *nft) noChainOn(device string) error {
	n.conn.DelChain(&nftables.Chain{Table: &nftables.Table{Name: n.table, Family: nftables.TableFamilyNetdev}, Name: ofDevice + device})
	if err := n.conn.Flush(); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove the chain of table %s for %s: %w", n.table, device, err)
	}
	return nil
}

// roads adds the addresses of other nodes by the next hops that they have in the sets. One that has none there is found
// by its route when all is looked at.
func (n *nft) roads(f topology.Fast, want elements) {
	for a, g := range f.Far {
		key := string(a.AsSlice())
		hop, known := n.have[setHops][key]
		out := n.have[setOuts][key]
		if !known || out == "" || want[setHere][key] != "" {
			continue
		}
		want.put(setPeers, []byte(key), chainFor(ofPeers, g))
		want.put(setHops, []byte(key), []byte(hop))
		want.put(setOuts, []byte(key), []byte(out))
		n.admit(want, a, g)
	}
}
