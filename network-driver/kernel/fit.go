package kernel

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
)

// sysNet is where the kernel tells of interfaces what netlink does not.
const sysNet = "/sys/class/net"

// fit refuses an interface that cannot be a port of a bridge, or carry macvlans, before anything is tried with it.
func fit(sys string, parent netlink.Link) error {
	name, attrs := parent.Attrs().Name, parent.Attrs()
	switch {
	case attrs.Flags&net.FlagLoopback != 0:
		return errors.New("it is the loopback interface: name one of a physical network")
	case len(attrs.HardwareAddr) != 6:
		return fmt.Errorf("it is no Ethernet interface (%s): name one of a physical network", parent.Type())
	}
	for _, mark := range []string{"wireless", "phy80211"} {
		if _, err := os.Stat(filepath.Join(sys, name, mark)); err == nil {
			return errors.New("it is wireless: its access point takes frames from no MAC but its own: use a routed network (rolling.mode=routed), or name a wired interface")
		}
	}
	return nil
}

// managed says that NetworkManager has a connection of its own on an interface. Its folder is there only where it runs.
func managed(run string, index int) bool {
	text, err := os.ReadFile(filepath.Join(run, "NetworkManager", "devices", strconv.Itoa(index)))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		if key == "managed" && value == "false" {
			return false
		}
	}
	return strings.Contains(string(text), "connection-uuid=")
}
