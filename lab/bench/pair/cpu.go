package pair

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// processTime is the CPU time of this process, with the softirqs that ran in its place.
func processTime() time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t) != nil {
		return 0 // every Linux has this clock
	}
	return time.Duration(t.Nano())
}

// softirqs are the kernel's threads that do what no process had the time for, by the file that tells their CPU time.
type softirqs []string

// softirqThreads is empty where the machine's own threads cannot be seen.
func softirqThreads() (softirqs, error) {
	names, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		return nil, err
	}
	var found softirqs
	for _, name := range names {
		if text, err := os.ReadFile(name); err == nil && bytes.HasPrefix(text, []byte("ksoftirqd/")) { // processes end at any time
			found = append(found, filepath.Join(filepath.Dir(name), "schedstat"))
		}
	}
	return found, nil
}

func (s softirqs) used() (time.Duration, error) {
	var sum time.Duration
	for _, name := range s {
		text, err := os.ReadFile(name)
		if err != nil {
			return 0, fmt.Errorf("CPU time of a softirq thread: %w", err)
		}
		first, _, _ := bytes.Cut(text, []byte(" "))
		n, err := strconv.ParseInt(string(first), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("CPU time of a softirq thread: %s: %w", name, err)
		}
		sum += time.Duration(n)
	}
	return sum, nil
}
