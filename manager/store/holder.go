package store

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// holder names the process that has a file locked, from what the kernel tells of locks.
func holder(path string) string {
	const unknown = "another process holds it (in another container, or on another machine that mounts the folder)"
	i, err := os.Stat(path)
	if err != nil {
		return unknown
	}
	stat, ok := i.Sys().(*syscall.Stat_t)
	if !ok {
		return unknown
	}
	locks, err := os.Open("/proc/locks")
	if err != nil {
		return unknown
	}
	defer locks.Close() //nolint:errcheck // it was only read
	end := fmt.Sprintf(":%d", stat.Ino)
	for lines := bufio.NewScanner(locks); lines.Scan(); {
		// 1: FLOCK  ADVISORY  WRITE 1234 fe:01:131090 0 EOF
		f := strings.Fields(lines.Text())
		if len(f) > 5 && f[1] == "FLOCK" && strings.HasSuffix(f[5], end) {
			return "process " + f[4] + command(f[4]) + " holds it"
		}
	}
	return unknown
}

func command(pid string) string {
	line, err := os.ReadFile("/proc/" + pid + "/cmdline")
	if err != nil || len(line) == 0 {
		return ""
	}
	return " (" + string(bytes.TrimSpace(bytes.ReplaceAll(line, []byte{0}, []byte{' '}))) + ")"
}
