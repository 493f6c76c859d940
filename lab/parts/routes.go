package parts

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// ReadRoutes reads what `birdc show route` prints: a line with the prefix (or a blank in its place for a further
// path to the same one), the kind of route and its protocol, then a line `via ADDRESS` for each next hop. Paths
// that are not unicast (unreachable, blackhole) have no next hop and do not count.
func ReadRoutes(text string) (map[netip.Prefix][]netip.Addr, error) {
	routes := map[netip.Prefix][]netip.Addr{}
	var at netip.Prefix
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if fields[0] == "via" {
			if !at.IsValid() || len(fields) < 2 {
				return nil, fmt.Errorf("routes of bird: a next hop without a prefix: %q", strings.TrimSpace(line))
			}
			hop, err := netip.ParseAddr(fields[1])
			if err != nil {
				return nil, fmt.Errorf("routes of bird: next hop: %w", err)
			}
			if i, found := slices.BinarySearchFunc(routes[at], hop, netip.Addr.Compare); !found {
				routes[at] = slices.Insert(routes[at], i, hop)
			}
			continue
		}
		if !isBlank(line[0]) && strings.Contains(fields[0], "/") {
			prefix, err := netip.ParsePrefix(fields[0])
			if err != nil {
				return nil, fmt.Errorf("routes of bird: %w", err)
			}
			at = prefix
		}
	}
	return routes, nil
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }
