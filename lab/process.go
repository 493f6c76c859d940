package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Every process that the lab starts carries these in its environment, and its children inherit them: what an
// interrupted command started and did not write down is found by them.
const (
	markLab  = "ROLLING_LAB_MARK="
	markNode = "ROLLING_LAB_NODE="
)

// process names a process for good: the kernel gives a number again, but not with the same start.
type process struct {
	PID   int    `json:"pid"`
	Start string `json:"start"` // clock ticks after boot, field 22 of /proc/PID/stat
}

func processOf(pid int) (process, error) {
	start, _, err := stat(pid)
	if err != nil {
		return process{}, fmt.Errorf("look at process %d: %w", pid, err)
	}
	return process{PID: pid, Start: start}, nil
}

// alive: a zombie is dead, since it holds no namespace, file or socket any more.
func (p process) alive() bool {
	if p.PID <= 0 {
		return false
	}
	start, state, err := stat(p.PID)
	return err == nil && start == p.Start && state != "Z" && state != "X"
}

func stat(pid int) (start, state string, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", "", err
	}
	// The command's name is in parentheses and may hold spaces and parentheses itself.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 20 {
		return "", "", fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	return fields[19], fields[0], nil
}

func readProcess(path string) (process, bool) {
	var p process
	text, err := os.ReadFile(path)
	return p, err == nil && json.Unmarshal(text, &p) == nil
}

func writeProcess(path string, pid int) error {
	p, err := processOf(pid)
	if err != nil {
		return err
	}
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return writeFile(path, text)
}

// signal reaches the process if it is still that one; group also reaches what it started in its own group.
func (p process) signal(s syscall.Signal, group bool) {
	if !p.alive() {
		return
	}
	if group {
		_ = syscall.Kill(-p.PID, s) // it may end at this moment: no error
	}
	_ = syscall.Kill(p.PID, s)
}

// gone waits for the process's end.
func (p process) gone(ctx context.Context) error {
	for p.alive() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("process %d does not end: %w", p.PID, ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
	return nil
}

// marked finds the living processes whose environment holds all the marks, but for this process and those
// that it was started by: `lab exec router -- bash` may well run `lab down`.
func marked(marks ...string) []process {
	entries, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		return nil
	}
	own := ancestors()
	var found []process
next:
	for _, e := range entries {
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(e)))
		if err != nil || own[pid] {
			continue
		}
		text, err := os.ReadFile(e)
		if err != nil {
			continue
		}
		for _, m := range marks {
			if !bytes.Contains(append([]byte{0}, text...), []byte("\x00"+m+"\x00")) {
				continue next
			}
		}
		if p, err := processOf(pid); err == nil && p.alive() {
			found = append(found, p)
		}
	}
	return found
}

func environOf(pid int) []string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return nil
	}
	return strings.Split(string(text), "\x00")
}

func ancestors() map[int]bool {
	own := map[int]bool{}
	for pid := os.Getpid(); pid > 0 && !own[pid]; {
		own[pid] = true
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			break
		}
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		if len(fields) < 2 {
			break
		}
		pid, _ = strconv.Atoi(fields[1])
	}
	return own
}

const usualPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

func (l *Lab) mark() string { return markLab + l.name }

// environment is what the lab's own processes get: nothing of the caller's.
func (l *Lab) environment(node string, more ...string) []string {
	return append([]string{
		"PATH=" + usualPath, "HOME=/root", "LC_ALL=C.UTF-8",
		l.mark(), markNode + node,
	}, more...)
}
