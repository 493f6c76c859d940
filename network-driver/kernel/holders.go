package kernel

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// holders names, in words, who has a port of the node: for each socket its address and its program.
func holders(key doorHold) string {
	var found []*netlink.Socket
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		list := netlink.SocketDiagTCP
		if key.Proto == "udp" {
			list = netlink.SocketDiagUDP
		}
		all, err := list(family)
		if err != nil {
			continue // the words get fewer, the refusal stays
		}
		found = append(found, slices.DeleteFunc(all, func(s *netlink.Socket) bool { return s.ID.SourcePort != key.HostPort })...)
	}
	programs := programsOf(found)
	var words []string
	for _, s := range found {
		words = append(words, holder(key.Proto, s, programs[s.INode]))
	}
	slices.Sort(words)
	if words = slices.Compact(words); len(words) == 0 {
		return "a program of the node that does not listen on it, or by another container's published port (ss -lnp tells more)"
	}
	return strings.Join(words[:min(len(words), 3)], "; ")
}

// holder is one socket in words.
func holder(proto string, s *netlink.Socket, program string) string {
	at := netip.AddrPortFrom(addrOf(s.ID.Source), s.ID.SourcePort)
	if program == "" {
		program = fmt.Sprintf("a program of user %d", s.UID)
	}
	switch {
	case proto == "udp" || s.State == tcpListen:
		return fmt.Sprintf("%s, which has %s", program, at)
	case s.State == tcpTimeWait:
		return fmt.Sprintf("a connection of %s that ended less than a minute ago", at)
	}
	return fmt.Sprintf("%s, which has a connection from %s to %s", program, at, netip.AddrPortFrom(addrOf(s.ID.Destination), s.ID.DestinationPort))
}

// States of TCP, as the kernel numbers them.
const (
	tcpTimeWait = 6
	tcpListen   = 10
)

// programsOf names the processes that have the sockets open, by inode. Those of other users are seen only with
// CAP_SYS_PTRACE, and none outside the process's own PID namespace.
func programsOf(sockets []*netlink.Socket) map[uint32]string {
	wanted := map[string]uint32{}
	for _, s := range sockets {
		if s.INode != 0 {
			wanted[fmt.Sprintf("socket:[%d]", s.INode)] = s.INode
		}
	}
	found := map[uint32]string{}
	descriptors, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return found
	}
	for _, path := range descriptors {
		to, err := os.Readlink(path)
		inode, is := wanted[to]
		if err != nil || !is {
			continue
		}
		process := filepath.Dir(filepath.Dir(path))
		name, err := os.ReadFile(filepath.Join(process, "comm"))
		if err == nil {
			found[inode] = fmt.Sprintf("%s (process %s)", strings.TrimSpace(string(name)), filepath.Base(process))
		}
	}
	return found
}
