// Package nat rewrites virtual addresses to their backends: in each container's own network namespace for what it sends,
// and in the node's for what comes from outside. It knows nftables, namespaces and conntrack; it touches only one table of
// its own name in each, and decides nothing. A flow stays on the backend that it began with, whatever changes later.
package nat

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/rolling-swarm/rolling/network-driver/vip"
)

// tableName is ours alone, in every namespace.
const tableName = "rolling-vip"

// Rules are what stands in the namespaces. One caller at a time.
type Rules struct {
	folder string
	self   *os.File          // the node's own namespace
	done   map[string]string // what was made last, by sandbox
	swept  bool              // namespaces of containers that left us while no process of ours lived were looked through
}

// node is the key of the node's own namespace in done: no sandbox is called so.
const node = ""

// Open works in the network namespace of the calling thread, also when other threads call later. The folder holds the
// containers' namespaces, each under its sandbox's name.
func Open(folder string) (*Rules, error) {
	self, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, fmt.Errorf("open the node's network namespace: %w", err)
	}
	return &Rules{folder: folder, self: self, done: map[string]string{}}, nil
}

// Close gives the node's namespace back; the rules stay.
func (r *Rules) Close() error { return r.self.Close() }

// Set makes the rules exactly these. Where nothing has changed since the last call, only a whole one looks whether
// somebody else did change it.
func (r *Rules) Set(p vip.Plan, whole bool) error {
	problems := []error{r.settle(node, nodeChains(p), whole)}
	boxes := slices.Sorted(maps.Keys(p.Boxes))
	for _, box := range boxes {
		problems = append(problems, r.settle(box, boxChains(p.Boxes[box]), whole))
	}
	for _, box := range slices.Sorted(maps.Keys(r.done)) {
		if _, stays := p.Boxes[box]; !stays && box != node {
			problems = append(problems, r.settle(box, nil, true))
		}
	}
	if !r.swept {
		err := r.sweep(p)
		r.swept = err == nil
		problems = append(problems, err)
	}
	return few(problems)
}

// sweep takes the rules of an earlier process out of namespaces that have none to have.
func (r *Rules) sweep(p vip.Plan) error {
	all, err := os.ReadDir(r.folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the engine has run no container since the node's start
	}
	if err != nil {
		return fmt.Errorf("look through the containers' namespaces: %w", err)
	}
	for _, e := range all {
		if _, stays := p.Boxes[e.Name()]; !stays {
			_ = r.settle(e.Name(), nil, true) // those of other drivers may be anything
		}
	}
	return nil
}

// settle makes one namespace right.
func (r *Rules) settle(box string, want []chain, whole bool) error {
	text := texts(want)
	if before, known := r.done[box]; known && before == text && !whole {
		return nil
	}
	space := r.self
	if box != node {
		f, err := os.Open(filepath.Join(r.folder, box))
		if errors.Is(err, fs.ErrNotExist) {
			delete(r.done, box) // its container has ended, and the namespace with it
			return nil
		}
		if err != nil {
			return fmt.Errorf("sandbox %s: %w", box, err)
		}
		defer f.Close() //nolint:errcheck // read only
		space = f
	}
	if err := visit(int(space.Fd()), want); err != nil {
		delete(r.done, box)
		return fmt.Errorf("virtual addresses in %s: %w", where(box), err)
	}
	r.done[box] = text
	if len(want) == 0 && box != node {
		delete(r.done, box)
	}
	return nil
}

func where(box string) string {
	if box == node {
		return "the node"
	}
	return "sandbox " + box
}

// visit compares what a namespace has with what it should have, and changes it in one step if they differ.
func visit(space int, want []chain) error {
	conn, err := nftables.New(nftables.WithNetNSFd(space), nftables.AsLasting())
	if err != nil {
		if errors.Is(err, unix.EINVAL) {
			err = fmt.Errorf("%w: it is no namespace: the engine's folder must be mounted shared on the node (findmnt -o PROPAGATION)", err)
		}
		return err
	}
	defer conn.CloseLasting() //nolint:errcheck // what was flushed is in the kernel
	have, err := look(conn)
	if err != nil {
		return err
	}
	if have == nil && len(want) == 0 || have != nil && texts(have) == texts(want) {
		return nil
	}
	if err := write(conn, have, want); err != nil {
		return err
	}
	return forget(space, addresses(have), addresses(want))
}

// look reads our table as chains whose rules have only their texts; nil: there is no table.
func look(conn *nftables.Conn) ([]chain, error) {
	tables, err := conn.ListTablesOfFamily(nftables.TableFamilyIPv4)
	if err != nil {
		return nil, fmt.Errorf("list tables: %w", err)
	}
	if !slices.ContainsFunc(tables, func(t *nftables.Table) bool { return t.Name == tableName }) {
		return nil, nil
	}
	all, err := conn.ListChainsOfTableFamily(nftables.TableFamilyIPv4)
	if err != nil {
		return nil, fmt.Errorf("list chains: %w", err)
	}
	have := []chain{}
	for _, c := range all {
		if c.Table.Name != tableName {
			continue
		}
		rules, err := conn.GetRules(&nftables.Table{Name: tableName, Family: nftables.TableFamilyIPv4}, c)
		if err != nil {
			return nil, fmt.Errorf("list chain %s: %w", c.Name, err)
		}
		h := chain{name: c.Name}
		for _, r := range rules {
			h.rules = append(h.rules, rule{text: remark(r)})
		}
		have = append(have, h)
	}
	slices.SortFunc(have, func(a, b chain) int { return strings.Compare(a.name, b.name) })
	return have, nil
}

// addresses are the virtual ones that the rules are about, and their backends where they are known.
func addresses(chains []chain) map[netip.Addr][]netip.Addr {
	all := map[netip.Addr][]netip.Addr{}
	for _, c := range chains {
		for _, r := range c.rules {
			if a, ok := subject(r.text); ok {
				all[a] = append(all[a], r.backends...)
			}
		}
	}
	return all
}

// few keeps the text of five hundred like errors readable.
func few(problems []error) error {
	problems = slices.DeleteFunc(problems, func(err error) bool { return err == nil })
	const shown = 3
	if n := len(problems) - shown; n > 0 {
		problems = append(problems[:shown:shown], fmt.Errorf("and %d more like these", n))
	}
	return errors.Join(problems...)
}
