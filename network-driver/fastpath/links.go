package fastpath

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"

	"github.com/rolling-swarm/rolling/internal/listing"
)

// links are the host's interfaces as they were seen last.
type links struct {
	ends map[string]*netlink.LinkAttrs
	some bool // only the touched ones were looked at
}

// look asks the kernel for the touched links, or for all if it is not said which those are, or none was ever seen. It
// gives those that are there.
func (k *links) look(nl *listing.Handle, touched []string) ([]netlink.Link, error) {
	k.some = touched != nil && k.ends != nil
	if !k.some {
		all, err := nl.LinkList()
		if err != nil {
			return nil, fmt.Errorf("list the host's links: %w", err)
		}
		k.ends = map[string]*netlink.LinkAttrs{}
		for _, l := range all {
			k.ends[l.Attrs().Name] = l.Attrs()
		}
		return all, nil
	}
	var found []netlink.Link
	for _, name := range touched {
		delete(k.ends, name)
		l, err := nl.LinkByName(name)
		var missing netlink.LinkNotFoundError
		if errors.As(err, &missing) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("find link %s: %w", name, err)
		}
		k.ends[name] = l.Attrs()
		found = append(found, l)
	}
	return found, nil
}
