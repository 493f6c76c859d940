package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Probe is one thing that a lab needs, or that a test may want, of this machine's kernel.
type Probe struct {
	Name   string
	For    string
	Needed bool // a lab cannot run without it
	OK     bool
	Result string // "yes", "no", or what was found
}

// try is a probe made by commands, run in one throwaway network namespace, in this order.
type try struct {
	name, purpose string
	needed        bool
	command       string
}

func tries() []try {
	return []try{
		{"veth", "the nodes' cables", true, "ip link add v0 type veth peer name v1"},
		{"bridge", "the LAN", true, "ip link add b0 type bridge"},
		{"iptables (nft)", "the engine, network policy", false, "iptables-nft -t nat -A OUTPUT -j ACCEPT"},
		{"iptables (legacy)", "hosts with old iptables", false, "iptables-legacy -t nat -A OUTPUT -j ACCEPT"},
		{"conntrack", "the engine, network policy", false, "iptables -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT"},
		{"nft bridge", "lab partition", false, "nft add table bridge t"},
		{"nft netdev ingress", "the fast path", false, "nft 'add table netdev t; add chain netdev t c { type filter hook ingress device v0 priority 0; }'"},
		{"nft numgen", "virtual addresses", false, "nft 'add table ip t; add chain ip t p { type nat hook prerouting priority -100; }; add rule ip t p dnat to numgen inc mod 2 map { 0 : 10.0.0.1, 1 : 10.0.0.2 }'"},
		{"nft jhash", "virtual addresses", false, "nft 'add table ip t; add chain ip t q { type nat hook prerouting priority -100; }; add rule ip t q dnat to jhash ip saddr . tcp sport mod 2 map { 0 : 10.0.0.1, 1 : 10.0.0.2 }'"},
		{"nft flowtable", "–", false, "nft 'add table inet f; add flowtable inet f ft { hook ingress priority 0; devices = { v0 }; }'"},
		{"tc clsact", "the BPF fast path", false, "tc qdisc add dev v0 clsact"},
		{"tc netem", "lab slow", false, "tc qdisc add dev v0 root netem delay 1ms"},
		{"tc tbf", "slow links in tests", false, "tc qdisc replace dev v0 root tbf rate 10mbit burst 10kb latency 10ms"},
		{"vxlan", "Docker's overlay networks", false, "ip link add x0 type vxlan id 7 dstport 4789"},
		{"macvlan", "l2 mode", false, "ip link add m0 link v0 type macvlan"},
		{"vlan", "l2 mode on a tagged network", false, "ip link add link v0 name v0.5 type vlan id 5"},
		{"dummy", "–", false, "ip link add d0 type dummy"},
		{"multipath routes", "addresses announced by several nodes", false,
			"ip addr add 10.7.0.1/24 dev v1 && ip link set v1 up && ip link set v0 up && ip route add 10.9.9.9/32 nexthop via 10.7.0.2 nexthop via 10.7.0.3"},
	}
}

// Doctor looks at what this machine offers. It changes nothing and installs nothing: a command that is missing
// is a probe that says so.
func Doctor(ctx context.Context) ([]Probe, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("doctor: root is needed")
	}
	found := []Probe{
		{Name: "kernel", For: "–", OK: true, Result: kernel()},
		{Name: "cgroup", For: "limits and metrics of containers", Needed: true, OK: len(hierarchies()) > 0, Result: cgroupVersion()},
		file("overlayfs", "the nodes' disks", true, "/proc/filesystems", "\toverlay\n"),
		file("BTF", "BPF programs", false, "/sys/kernel/btf/vmlinux", ""),
		file("IPVS", "Docker's own virtual addresses", false, "/proc/net/ip_vs", ""),
	}
	done := make(chan error)
	go func() {
		// Never unlocked: the throwaway namespace ends with this thread.
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("doctor: make a network namespace: %w: a lab cannot run here", err)
			return
		}
		for _, t := range tries() {
			found = append(found, t.run(ctx))
		}
		done <- nil
	}()
	return found, <-done
}

func (t try) run(ctx context.Context) Probe {
	p := Probe{Name: t.name, For: t.purpose, Needed: t.needed, Result: "no"}
	tool := strings.Fields(t.command)[0]
	if _, err := exec.LookPath(tool); err != nil {
		p.Result = "not tried: " + tool + " is not installed"
		p.Needed = false
		return p
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", t.command)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if cmd.Run() == nil {
		p.OK, p.Result = true, "yes"
	}
	return p
}

// file is a probe that wants a file to be there and, if text is not empty, to hold it.
func file(name, purpose string, needed bool, path, text string) Probe {
	p := Probe{Name: name, For: purpose, Needed: needed, Result: "no"}
	_, err := os.Stat(path)
	if err == nil && text != "" {
		content, readErr := os.ReadFile(path)
		if err = readErr; err == nil && !strings.Contains(string(content), text) {
			err = errors.New("absent")
		}
	}
	if err == nil {
		p.OK, p.Result = true, "yes"
	}
	return p
}

func kernel() string {
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "unknown"
	}
	return fmt.Sprintf("%s, %d CPUs", strings.TrimSpace(string(release)), runtime.NumCPU())
}

func cgroupVersion() string {
	found := hierarchies()
	switch {
	case len(found) == 0:
		return "none mounted under " + cgroupRoot
	case len(found) == 1 && found[0] == cgroupRoot:
		return "v2"
	}
	return fmt.Sprintf("v1, %d trees", len(found))
}
