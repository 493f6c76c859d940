// Package gotest runs Go's own benchmarks of this checkout and reads what they print. It knows the go command and the
// format of a benchmark's line (golang.org/design/14313-benchmark-format); it refuses to know what a benchmark means.
package gotest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A Line is one benchmark's result: how often it ran, and each value by its unit (ns/op, B/op, and the benchmark's own).
type Line struct {
	Name   string // without the word Benchmark and the number of CPUs
	N      int
	Values map[string]float64
}

// A Run is what to measure.
type Run struct {
	Root    string // the checkout
	Package string // as go test takes it: ./ipam-driver/pool
	Bench   string // regular expression
	Time    string // -benchtime: 1s, 500x
	Tags    string // -tags
}

// Go runs the benchmarks. Their temporary files lie below the checkout's build folder, on the same disk as the
// checkout: a /tmp in memory would make every fsync look free.
func (r Run) Go(ctx context.Context) ([]Line, error) {
	if err := os.MkdirAll(filepath.Join(r.Root, "build"), 0o755); err != nil {
		return nil, fmt.Errorf("benchmarks of %s: %w", r.Package, err)
	}
	scratch, err := os.MkdirTemp(filepath.Join(r.Root, "build"), "bench-scratch-")
	if err != nil {
		return nil, fmt.Errorf("benchmarks of %s: %w", r.Package, err)
	}
	defer os.RemoveAll(scratch) //nolint:errcheck // what stays is in build, which is not kept
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", r.Bench, "-benchtime", r.Time, "-count", "1", "-tags", r.Tags, r.Package)
	cmd.Dir = r.Root
	cmd.Env = append(cmd.Environ(), "TMPDIR="+scratch)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("go test -bench %s %s: %w\n%s%s", r.Bench, r.Package, err, tail(out.String()), tail(errs.String()))
	}
	return Parse(&out, runtime.GOMAXPROCS(0))
}

func tail(text string) string {
	lines := strings.SplitAfter(strings.TrimSpace(text)+"\n", "\n")
	return strings.Join(lines[max(0, len(lines)-12):], "")
}

// result is a benchmark's line: its name, how often it ran, then pairs of value and unit.
var result = regexp.MustCompile(`^Benchmark(\S+)\s+(\d+)\s+(\S.*)$`)

// Parse reads the output of go test -bench. The name's last -N is dropped if N is the number of CPUs. Other lines are
// passed over; a line that begins as a result and is none is an error.
func Parse(from io.Reader, cpus int) ([]Line, error) {
	var lines []Line
	s := bufio.NewScanner(from)
	for s.Scan() {
		m := result.FindStringSubmatch(s.Text())
		if m == nil {
			continue
		}
		l := Line{Name: strings.TrimSuffix(m[1], "-"+strconv.Itoa(cpus)), Values: map[string]float64{}}
		fields := strings.Fields(m[3])
		n, err := strconv.Atoi(m[2])
		if err != nil || len(fields)%2 != 0 {
			return nil, fmt.Errorf("benchmark line %q: want its name, a count, and pairs of value and unit", s.Text())
		}
		l.N = n
		for i := 0; i < len(fields); i += 2 {
			v, err := strconv.ParseFloat(fields[i], 64)
			if err != nil {
				return nil, fmt.Errorf("benchmark line %q: value %q: %w", s.Text(), fields[i], err)
			}
			l.Values[fields[i+1]] = v
		}
		lines = append(lines, l)
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("read benchmarks: %w", err)
	}
	if len(lines) == 0 {
		return nil, errors.New("no benchmark ran: has it another name by now?")
	}
	return lines, nil
}

// Values are one benchmark's values in a unit, one a run.
func Values(lines []Line, name, unit string) ([]float64, error) {
	var values []float64
	for _, l := range lines {
		if v, ok := l.Values[unit]; ok && l.Name == name {
			values = append(values, v)
		}
	}
	if len(values) == 0 {
		return nil, fmt.Errorf("benchmark %s says nothing in %s: has it another name by now?", name, unit)
	}
	return values, nil
}
