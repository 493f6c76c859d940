package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// BenchmarkFiveHundred is the program on a node of 500 containers, after twenty rounds: its memory. The files are recorded
// ones: what the kernel does for a reading is not in it.
func BenchmarkFiveHundred(b *testing.B) {
	for b.Loop() {
		n := newNode(b)
		n.many(500)
		n.start("ROLLING_METRICS_LISTEN=127.0.0.1:0")
		eventually(b, "twenty rounds", func() error {
			text, err := n.ask("state/metrics.sock", "/metrics")
			if err != nil {
				return err
			}
			if v := value(text, "rolling_metrics_samples_total"); v < 20*500 {
				time.Sleep(time.Second)
				return fmt.Errorf("%.0f samples", v)
			}
			return nil
		})
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.cmd.Process.Pid))
		if err != nil {
			b.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(status), "VmRSS:")
		kib, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(kib/1024, "MB/rss")
		n.kill()
	}
}

// value finds a figure without labels on a page of Prometheus.
func value(text, name string) float64 {
	_, rest, _ := strings.Cut(text, "\n"+name+" ")
	v, _ := strconv.ParseFloat(strings.TrimSpace(strings.SplitN(rest, "\n", 2)[0]), 64) // 0 is not yet
	return v
}

// many makes that many tasks of one service, each with files of its own.
func (n *node) many(count int) {
	n.t.Helper()
	for i := range count {
		one := fmt.Sprintf("%064x", i+1)
		for from, to := range map[string]string{"cgroup/docker/" + id: "cgroup/docker/" + one, "proc/102": "proc/" + strconv.Itoa(1000+i)} {
			if err := os.CopyFS(filepath.Join(n.folder, to), os.DirFS(filepath.Join(n.folder, from))); err != nil {
				n.t.Fatal(err)
			}
		}
		group := filepath.Join(n.folder, "proc", strconv.Itoa(1000+i), "cgroup")
		if err := os.WriteFile(group, []byte("0::/docker/"+one+"\n"), 0o644); err != nil {
			n.t.Fatal(err)
		}
		n.add(one, fmt.Sprintf("task%021d", i), strconv.Itoa(i+1), 1000+i, time.Now())
	}
}
