package ledger

import (
	"fmt"
	"os"
	"strings"
	"syscall"
)

// holder names the process that has the file locked, as far as this process may see it.
func holder(path string) string {
	const unseen = "another process that is not visible from here (a second rolling/ipam on this host?)"
	info, err := os.Stat(path)
	if err != nil {
		return unseen
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return unseen
	}
	locks, err := os.ReadFile("/proc/locks")
	if err != nil {
		return unseen
	}
	// 1: FLOCK  ADVISORY  WRITE 1234 08:01:123456 0 EOF
	inode := fmt.Sprintf(":%d", stat.Ino)
	for line := range strings.Lines(string(locks)) {
		fields := strings.Fields(line)
		if len(fields) < 6 || fields[1] != "FLOCK" || !strings.HasSuffix(fields[5], inode) || fields[4] == "0" {
			continue
		}
		name, err := os.ReadFile("/proc/" + fields[4] + "/comm")
		if err != nil {
			return "process " + fields[4]
		}
		return fmt.Sprintf("process %s (%s)", fields[4], strings.TrimSpace(string(name)))
	}
	return unseen
}
