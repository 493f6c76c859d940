package kernel

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/coreos/go-iptables/iptables"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// bridgeJumps lead what a bridge carries from or to a container to the chain that judges, once. At a bridge the kernel
// takes the bridge itself for the interface, so the port is asked for.
func bridgeJumps() [][]string {
	here := topology.HostEnds + "+"
	return [][]string{
		{"FORWARD", "-m", "physdev", "--physdev-in", here, "--physdev-is-bridged", "-j", isolateChain},
		{"FORWARD", "-m", "physdev", "!", "--physdev-in", here, "--physdev-out", here, "--physdev-is-bridged", "-j", isolateChain},
	}
}

func takeJumps(ipt *iptables.IPTables, have map[string][]string, all [][]string) error {
	for _, j := range all {
		if slices.Contains(have[j[0]], strings.Join(j[1:], " ")) {
			if err := ipt.Delete(wallTable, j[0], j[1:]...); err != nil {
				return fmt.Errorf("remove the jump from %s to %s: %w", j[0], isolateChain, err)
			}
		}
	}
	return nil
}

// frames says whether the kernel shows bridged frames to iptables at all, and those of every bridge.
func frames() (possible, all bool) {
	said, err := readSwitch("net/bridge/bridge-nf-call-iptables")
	return err == nil, said == "1"
}

// shown refuses to keep projects apart on a bridge whose frames no firewall sees. Bridges of ours ask for it by
// themselves; those of administrators are never changed.
func shown(bridges []string) error {
	if len(bridges) == 0 {
		return nil
	}
	possible, all := frames()
	if !possible {
		return errors.New("projects cannot be kept apart on the physical network: this node's kernel shows bridged frames to no firewall: load br_netfilter on the node")
	}
	for _, name := range bridges {
		if _, err := net.InterfaceByName(name); err != nil && !all {
			return errors.New("projects cannot be kept apart on a bridge of the node's administrators while net.bridge.bridge-nf-call-iptables is 0: set it to 1, or name another parent")
		}
	}
	return nil
}

// show asks the kernel to show a bridge's frames to iptables, also where it does not for others.
func (s *Segments) show(bridge netlink.Link) error {
	request := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_ACK)
	request.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: {Socket: s.raw}}
	message := nl.NewIfInfomsg(unix.AF_UNSPEC)
	message.Index = int32(bridge.Attrs().Index)
	request.AddData(message)
	about := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	about.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated(bridge.Type()))
	about.AddRtAttr(nl.IFLA_INFO_DATA, nil).AddRtAttr(nl.IFLA_BR_NF_CALL_IPTABLES, nl.Uint8Attr(1))
	request.AddData(about)
	if _, err := request.Execute(unix.NETLINK_ROUTE, 0); err != nil {
		return fmt.Errorf("have the firewall see the frames of %s: %w", bridge.Attrs().Name, err)
	}
	return nil
}
