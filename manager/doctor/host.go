package doctor

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/rolling-swarm/rolling/internal/wire"
)

func forwarding(p Picture) []Finding {
	var found []Finding
	for _, n := range p.told() {
		if !n.Facts.Host.Forwarding && n.Facts.Host.Fault == "" {
			found = append(found, Finding{Node: n.Name, Text: "its kernel does not forward packets: containers reach nobody",
				Remedy: "`sysctl -w net.ipv4.ip_forward=1`, and find what turned it off (a file in /etc/sysctl.d?)"})
		}
	}
	return found
}

func firewalls(p Picture) []Finding {
	var found []Finding
	for _, n := range p.driven() {
		f := n.Facts.Driver.Firewall
		switch {
		case len(n.Facts.Driver.Pools) == 0 || f == nil:
			continue // nothing is forwarded there
		case f.Problem != "":
			found = append(found, Finding{Severity: Notice, Node: n.Name, Text: "its firewall is not known: " + f.Problem, Remedy: "bring rolling/net to the release of the others"})
			continue
		case f.Policy != "ACCEPT" && !f.Open:
			found = append(found, Finding{Node: n.Name, Text: "FORWARD has the policy " + f.Policy + ", and the rules that accept the pools are not there or not reached",
				Remedy: "rolling/net sets them into DOCKER-USER every few seconds: look what removes them, or the jump from FORWARD to DOCKER-USER (a firewall that reloads?); restarting the engine makes Docker's chains anew"})
		}
		for _, r := range f.Before {
			finding := Finding{Severity: Notice, Node: n.Name, Text: "a rule of somebody else's is met before Rolling's: " + r, Remedy: "nothing, if that is meant; else remove it, or put it behind the jump to ROLLING-FORWARD"}
			if fields := strings.Fields(r); len(fields) > 2 && fields[2] == "-j" { // for everything
				finding.Severity, finding.Remedy = Wrong, "nothing is forwarded: remove it, or put it behind the jump to ROLLING-FORWARD"
			}
			found = append(found, finding)
		}
	}
	return found
}

// strict is the kernel's check that drops a packet whose answer would leave by another interface.
const strict = 1

// sources: with one way in and out, even the strict check lets everything pass that is right.
func sources(p Picture) []Finding {
	var found []Finding
	for _, n := range p.driven() {
		ways := n.Facts.Driver.Uplinks
		if len(ways) < 2 {
			continue
		}
		for _, l := range n.Facts.Host.Links {
			if l.Source == strict && slices.Contains(ways, l.Name) {
				found = append(found, Finding{Node: n.Name,
					Text:   fmt.Sprintf("%s drops packets whose answers leave by another interface (rp_filter=1), and packets may come by %s", l.Name, strings.Join(ways, " and ")),
					Remedy: fmt.Sprintf("`sysctl -w net.ipv4.conf.all.rp_filter=2 net.ipv4.conf.%s.rp_filter=2`, and the same in /etc/sysctl.d", l.Name)})
			}
		}
	}
	return found
}

func mtus(p Picture) []Finding {
	var all []int
	for _, n := range p.driven() {
		if n.Facts.Driver.MTU > 0 {
			all = append(all, n.Facts.Driver.MTU)
		}
	}
	usual := most(all)
	var found []Finding
	for _, n := range p.driven() {
		d := n.Facts.Driver
		if d.MTU == 0 {
			continue
		}
		if d.MTU != usual {
			found = append(found, Finding{Node: n.Name, Text: fmt.Sprintf("its uplink has MTU %d, on most nodes it is %d: large packets between them may be lost", d.MTU, usual),
				Remedy: fmt.Sprintf("give the uplink (%s) MTU %d, or all nodes the same; then restart what runs there", strings.Join(d.Uplinks, ", "), usual)})
		}
		for _, w := range p.Networks {
			if w.MTU > d.MTU {
				found = append(found, Finding{Node: n.Name, Text: fmt.Sprintf("network %s asks for MTU %d, and the uplink carries %d: larger packets are lost", w.Name, w.MTU, d.MTU),
					Remedy: "make the network anew with a smaller rolling.mtu or none, or give the uplink more"})
			}
		}
		larger := 0
		for _, e := range d.Endpoints {
			if e.MTU > d.MTU {
				larger++
			}
		}
		if larger > 0 {
			found = append(found, Finding{Node: n.Name, Text: fmt.Sprintf("%d containers have a larger MTU than the uplink's %d, which has become smaller since they started", larger, d.MTU),
				Remedy: "give the uplink its MTU back, or restart them: `docker service update --force SERVICE`"})
		}
	}
	return found
}

// overlaps: what is directly at a node is asked for there, and never by a route. A route by way of a router is in nobody's
// way as long as it is wider than one address, since containers' own routes are the narrowest.
func overlaps(p Picture) []Finding {
	var found []Finding
	for _, n := range p.told() {
		for _, w := range p.Networks {
			said := map[netip.Prefix]bool{}
			say := func(what netip.Prefix, where, remedy string) {
				if what.Masked().Overlaps(w.Subnet) && !said[what.Masked()] {
					said[what.Masked()] = true
					found = append(found, Finding{Node: n.Name, Text: fmt.Sprintf("the subnet %s of network %s overlaps %s, %s", w.Subnet, w.Name, what.Masked(), where), Remedy: remedy})
				}
			}
			for _, l := range n.Facts.Host.Links {
				for _, a := range l.Addresses {
					if !a.Addr().IsLinkLocalUnicast() {
						say(a, "the network of the node's interface "+l.Name, "give the network another subnet, or that interface (for Docker's own bridges: bip and default-address-pools of the engine)")
					}
				}
			}
			for _, r := range n.Facts.Host.Routes {
				if r.Prefix.Bits() > 0 && (!r.Via.IsValid() || r.Prefix.IsSingleIP()) {
					say(r.Prefix, "to which the node has a route of its own"+by(r), "give the network another subnet, or remove the route (`ip route get` and `ip route show "+r.Prefix.String()+"` tell more)")
				}
			}
		}
	}
	return found
}

func by(r wire.HostRoute) string {
	text := ""
	if r.Via.IsValid() {
		text += " by " + r.Via.String()
	}
	if r.Link != "" {
		text += " on " + r.Link
	}
	return text
}
