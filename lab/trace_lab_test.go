//go:build lab

package lab

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What a lab could leave on the machine, each as a list of lines.
func traces(t *testing.T, name string) map[string][]string {
	t.Helper()
	read := func(cmd ...string) []string {
		out, err := exec.Command(cmd[0], cmd[1:]...).Output()
		if err != nil {
			t.Fatalf("%v: %v", cmd, err)
		}
		return strings.Split(strings.TrimSpace(string(out)), "\n")
	}
	found := map[string][]string{
		"mounts":            read("cat", "/proc/mounts"),
		"named namespaces":  read("sh", "-c", "ls /run/netns 2>/dev/null || true"),
		"links":             read("sh", "-c", "ip -o link | sed 's/^[0-9]*: //; s/ .*//'"),
		"cgroups":           read("sh", "-c", "find /sys/fs/cgroup -mindepth 1 -type d | grep rlab- || true"),
		"nftables rules":    read("nft", "-s", "list", "ruleset"),
		"iptables rules":    read("sh", "-c", "iptables-legacy-save -M /bin/true 2>/dev/null | grep -v '^[#:]' || true"),
		"forwarding switch": read("sysctl", "net.ipv4.ip_forward"),
		"state folder":      read("sh", "-c", "ls /var/lib/rolling-lab 2>/dev/null || true"),
	}
	for _, p := range marked(markLab + name) {
		found["processes"] = append(found["processes"], fmt.Sprintf("%d %v", p.PID, environOf(p.PID)))
	}
	return found
}

// left is what is there now and was not before, but for what bears the name of somebody else: a lab of another
// name, or another test's network namespace.
func left(before, after map[string][]string, name string) []string {
	own := []string{prefix + name, stateRoot + "/" + name}
	var more []string
	for _, kind := range slices.Sorted(maps.Keys(after)) {
		for _, line := range after[kind] {
			named := kind == "named namespaces" || kind == "state folder" || strings.Contains(line, prefix) ||
				strings.Contains(line, stateRoot) || strings.Contains(line, "/run/netns/")
			others := named && line != name && !slices.ContainsFunc(own, func(o string) bool { return strings.Contains(line, o) })
			if line != "" && !slices.Contains(before[kind], line) && !others {
				more = append(more, kind+": "+line)
			}
		}
	}
	return more
}

func mustLeaveNoTrace(ctx context.Context, t *testing.T, l *Lab, before map[string][]string) {
	t.Helper()
	// Others may use this machine at the same time: what is not ours goes away by itself.
	err := l.Eventually(ctx, 10*time.Second, "the machine to be as it was", func() error {
		if more := left(before, traces(t, l.Name()), l.Name()); len(more) > 0 {
			return fmt.Errorf("left behind:\n  %s", strings.Join(more, "\n  "))
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestDownLeavesNoTraceOfRunningContainers(t *testing.T) {
	t.Parallel()
	l := Open(fmt.Sprintf("trace-%d", os.Getpid()))
	before := traces(t, l.Name())
	t.Cleanup(func() { l.Down(context.Background()) })
	ctx := t.Context()
	must(t, l.Up(ctx, Options{Managers: 1, Workers: 1, Log: t.Logf}))
	must(t, l.LoadShell(ctx))
	must(t, l.StartPart(ctx, "registry"))
	must(t, l.Partition(ctx, []string{"n1"}, []string{"n2"}))
	must(t, l.Heal(ctx))
	must(t, l.Cut(ctx, "n2"))
	must(t, l.Join(ctx, "n2"))
	for _, node := range l.Nodes() {
		_, err := l.Docker(ctx, node, "run", "-d", "--init", "-p", "8080:80", "-m", "64m", ShellImage, "sleep", "1000")
		must(t, err)
	}
	must(t, l.Eventually(ctx, 30*time.Second, "both nodes in the Swarm", func() error { return l.waitReady(ctx, record{Managers: 1, Workers: 1}) }))
	_, err := l.Docker(ctx, "n1", "service", "create", "-d", "--no-resolve-image", "--replicas", "4", "--name", "web", "-p", "9090:80", ShellImage, "sleep", "1000")
	must(t, err)
	must(t, l.Eventually(ctx, 60*time.Second, "four tasks", func() error {
		out, err := l.Docker(ctx, "n1", "service", "ls", "--format", "{{.Replicas}}")
		if err == nil && strings.TrimSpace(out) != "4/4" {
			err = fmt.Errorf("%s run", strings.TrimSpace(out))
		}
		return err
	}))
	if more := left(before, traces(t, l.Name()), l.Name()); len(more) < 20 {
		t.Fatalf("the check sees too little of a running lab to prove anything: %q", more)
	}
	started := time.Now()
	must(t, l.Down(ctx))
	t.Logf("down with 6 containers took %.1f s", time.Since(started).Seconds())
	mustLeaveNoTrace(ctx, t, l, before)
	must(t, l.Down(ctx)) // of nothing
}

func TestAnUpKilledHalfWayIsRepairedOrRemoved(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "lab")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", binary, "./cmd/lab")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	l := Open(fmt.Sprintf("half-%d", os.Getpid()))
	before := traces(t, l.Name())
	t.Cleanup(func() { l.Down(context.Background()) })
	interrupted := func(t *testing.T, after time.Duration) {
		t.Helper()
		cmd := exec.Command(binary, "up", "--name", l.Name(), "--managers", "2", "--workers", "1")
		must(t, cmd.Start())
		time.Sleep(after)
		cmd.Process.Signal(syscall.SIGKILL)
		cmd.Wait()
	}
	// From the first namespace to the last join, whatever of it the machine's speed makes of these.
	for _, after := range []time.Duration{15, 30, 60, 120, 250, 500, 900, 1300, 1700} {
		after *= time.Millisecond
		t.Run(fmt.Sprintf("removed after %s", after), func(t *testing.T) {
			interrupted(t, after)
			must(t, l.Down(t.Context()))
			mustLeaveNoTrace(t.Context(), t, l, before)
		})
		t.Run(fmt.Sprintf("repaired after %s", after), func(t *testing.T) {
			interrupted(t, after)
			must(t, l.Up(t.Context(), Options{Managers: 2, Workers: 1, Log: t.Logf}))
			if _, err := l.Leader(t.Context()); err != nil {
				t.Error(err)
			}
			must(t, l.Down(t.Context()))
			mustLeaveNoTrace(t.Context(), t, l, before)
		})
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
