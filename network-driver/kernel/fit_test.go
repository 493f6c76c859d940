package kernel

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
)

func TestWhatCannotBeAParentIsRefusedWithAReason(t *testing.T) {
	sys := t.TempDir()
	for _, folder := range []string{"wlan0/wireless", "wlan1/phy80211", "eth0/queues"} {
		if err := os.MkdirAll(filepath.Join(sys, folder), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	ethernet := net.HardwareAddr{2, 0, 0, 0, 0, 1}
	for _, c := range []struct {
		name   string
		attrs  netlink.LinkAttrs
		refuse string
	}{
		{"an Ethernet interface", netlink.LinkAttrs{Name: "eth0", HardwareAddr: ethernet}, ""},
		{"one that has no folder there", netlink.LinkAttrs{Name: "eth9", HardwareAddr: ethernet}, ""},
		{"a wireless one of old", netlink.LinkAttrs{Name: "wlan0", HardwareAddr: ethernet}, "it is wireless"},
		{"a wireless one", netlink.LinkAttrs{Name: "wlan1", HardwareAddr: ethernet}, "it is wireless"},
		{"loopback", netlink.LinkAttrs{Name: "lo", HardwareAddr: make(net.HardwareAddr, 6), Flags: net.FlagLoopback}, "it is the loopback interface"},
		{"a tunnel", netlink.LinkAttrs{Name: "tun0"}, "it is no Ethernet interface"},
	} {
		err := fit(sys, &netlink.Device{LinkAttrs: c.attrs})
		if (err == nil) != (c.refuse == "") || err != nil && !strings.Contains(err.Error(), c.refuse) {
			t.Errorf("%s: %v; want %q", c.name, err, c.refuse)
		}
	}
}

// The keys are those of its private device states.
func TestWhatNetworkManagerManages(t *testing.T) {
	run := t.TempDir()
	devices := filepath.Join(run, "NetworkManager", "devices")
	if err := os.MkdirAll(devices, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"2": "# This is private data of NetworkManager. Do not modify or use\n\n[device]\nconnection-uuid=5c2f0e5a-9c1e-4a51-8f77-3f9a3a0c7b5d\nmanaged=true\nnm-owned=false\n",
		"3": "[device]\nmanaged=false\nnm-owned=false\n",
		"4": "[device]\nnm-owned=false\nroute-metric-default-aspired=100\n",
		"5": "[device]\nconnection-uuid=5c2f0e5a-9c1e-4a51-8f77-3f9a3a0c7b5d\n",
	} {
		if err := os.WriteFile(filepath.Join(devices, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for index, want := range map[int]bool{2: true, 3: false, 4: false, 5: true, 6: false} {
		if got := managed(run, index); got != want {
			t.Errorf("interface %d: managed = %t", index, got)
		}
	}
	if managed(filepath.Join(run, "nowhere"), 2) {
		t.Error("managed without a NetworkManager")
	}
}
