package cgroup

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rolling-swarm/rolling/exporter/sample"
)

var (
	first  = "c1" + strings.Repeat("0", 62)
	second = "c2" + strings.Repeat("0", 62)
)

func tree(version string) Tree {
	return Tree{Groups: "testdata/" + version + "/cgroup", Proc: "testdata/" + version + "/proc"}
}

func text(r sample.Reading) string {
	c := r.Counts
	s := fmt.Sprintf("cpu=%d periods=%d throttled=%d/%d oom=%d memory=%d/%d/%d pids=%d", c[sample.CPU], c[sample.Periods], c[sample.ThrottledPeriods], c[sample.ThrottledTime],
		c[sample.OOMKills], r.Memory, r.WorkingSet, r.MemoryLimit, r.PIDs)
	for _, p := range r.Disks {
		s += fmt.Sprintf(" %s=%v", p.Name, p.Values[:sample.DiskValues])
	}
	for _, p := range r.Links {
		s += fmt.Sprintf(" %s=%v", p.Name, p.Values)
	}
	return s
}

func TestRecordedTreesAreRead(t *testing.T) {
	const unified = "cpu=5138247000 periods=410 throttled=37/1512345000 oom=1 memory=104857600/52428800/%s pids=17 8:0=[1048576 2097152 10 20] 253:1=[5 6 7 8]"
	const links = " eth0=[1504123456 20 1 2 126 3 4 5] eth1=[7 1 0 0 8 1 0 0]"
	for _, c := range []struct {
		name    string
		version string
		pid     int
		id      string
		own     bool
		want    string
	}{
		{"version 1, as on a node of the lab", "v1", 100, first, true,
			"cpu=8216516544 periods=409 throttled=406/28280684377 oom=3 memory=339968/299968/67108864 pids=1 8:0=[4096 8192 1 2] 253:0=[1 2 0 0] eth0=[1504 20 0 0 126 3 0 0]"},
		{"version 2 under systemd", "v2", 100, first, true, fmt.Sprintf(unified, "268435456") + links},
		{"version 2, a container that has groups of its own", "v2", 101, first, true, fmt.Sprintf(unified, "268435456") + links},
		{"version 2 by the engine's own hand, without a limit", "v2", 102, second, true, fmt.Sprintf(unified, "0") + links},
		{"version 2, seen from another namespace", "v2", 103, second, true, fmt.Sprintf(unified, "0") + links},
		{"the network of the node is not the container's", "v2", 102, second, false, fmt.Sprintf(unified, "0")},
	} {
		t.Run(c.name, func(t *testing.T) {
			g, err := tree(c.version).Open(&sample.Container{ID: c.id, PID: c.pid, OwnNetwork: c.own})
			if err != nil {
				t.Fatal(err)
			}
			defer g.Close()
			for range 3 {
				r, err := g.Read()
				if err != nil {
					t.Fatal(err)
				}
				if got := text(r); got != c.want {
					t.Fatalf("got\n%s\nwant\n%s", got, c.want)
				}
			}
		})
	}
}

func TestOpenRefusesWhatIsNotTheContainer(t *testing.T) {
	for _, c := range []struct {
		name, version, id string
		pid               int
		want              string
	}{
		{"no process", "v2", first, 0, "has no process"},
		{"a process that is gone", "v2", first, 999, "no such file"},
		{"a number that another's process has got", "v2", second, 100, "does not bear the container's id"},
		{"the same with version 1", "v1", second, 100, "does not bear the container's id"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g, err := tree(c.version).Open(&sample.Container{ID: c.id, PID: c.pid})
			if err == nil {
				g.Close()
				t.Fatal("opened")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Error(err)
			}
		})
	}
}

func TestFilesThatAKernelLacksAreNoTroubleButTheChiefOnes(t *testing.T) {
	for _, c := range []struct {
		version, without string
		opens            bool
	}{
		{"v2", "io.stat", true}, {"v2", "pids.current", true}, {"v2", "memory.events", true}, {"v2", "cpu.stat", false}, {"v2", "memory.current", false},
		{"v1", "memory.oom_control", true}, {"v1", "blkio.throttle.io_serviced", true}, {"v1", "cpuacct.usage", false}, {"v1", "memory.stat", false},
	} {
		t.Run(c.version+" "+c.without, func(t *testing.T) {
			folder := t.TempDir()
			if err := os.CopyFS(folder, os.DirFS("testdata/"+c.version)); err != nil {
				t.Fatal(err)
			}
			err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
				if err == nil && d.Name() == c.without {
					err = os.Remove(path)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			g, err := Tree{filepath.Join(folder, "cgroup"), filepath.Join(folder, "proc")}.Open(&sample.Container{ID: first, PID: 100, OwnNetwork: true})
			if (err == nil) != c.opens {
				t.Fatalf("opens: %v", err)
			}
			if err == nil {
				g.Close()
			}
		})
	}
}

// TestAFileLongerThanOnePageIsReadWhole: the kernel hands out long files in pieces.
func TestAFileLongerThanOnePageIsReadWhole(t *testing.T) {
	folder := t.TempDir()
	if err := os.CopyFS(folder, os.DirFS("testdata/v2")); err != nil {
		t.Fatal(err)
	}
	var disks strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&disks, "8:%d rbytes=%d wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n", i, i)
	}
	if err := os.WriteFile(filepath.Join(folder, "cgroup/docker", second, "io.stat"), []byte(disks.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	g, err := Tree{filepath.Join(folder, "cgroup"), filepath.Join(folder, "proc")}.Open(&sample.Container{ID: second, PID: 102})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	r, err := g.Read()
	if err != nil || len(r.Disks) != 1000 || r.Disks[999].Values[0] != 999 {
		t.Errorf("%d disks, %v", len(r.Disks), err)
	}
}

func TestReadingTheSameAgainMakesNoGarbage(t *testing.T) {
	g, err := tree("v2").Open(&sample.Container{ID: first, PID: 100, OwnNetwork: true})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if n := testing.AllocsPerRun(100, func() {
		if _, err := g.Read(); err != nil {
			t.Fatal(err)
		}
	}); n > 2 {
		t.Errorf("%.0f allocations a reading", n)
	}
}

func BenchmarkRead(b *testing.B) {
	g, err := tree("v2").Open(&sample.Container{ID: first, PID: 100, OwnNetwork: true})
	if err != nil {
		b.Fatal(err)
	}
	defer g.Close()
	for b.Loop() {
		if _, err := g.Read(); err != nil {
			b.Fatal(err)
		}
	}
}

func FuzzParse(f *testing.F) {
	err := filepath.WalkDir("testdata", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.Contains(path, "fuzz") {
			return err
		}
		text, err := os.ReadFile(path)
		f.Add(text)
		return err
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte("8:0 Read 18446744073709551616\neth0:\n::/\n4:a,b:/x\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, w := range append(unifiedFiles(), controllerFiles()...) {
			g, r := &Group{}, sample.Reading{}
			w.read(g, &r, text)
			once := fmt.Sprint(r, g.disks)
			g.disks, r = g.disks[:0], sample.Reading{}
			w.read(g, &r, text)
			if again := fmt.Sprint(r, g.disks); again != once {
				t.Fatalf("%s: %s, then %s", w.name, once, again)
			}
		}
		for _, p := range netdev(nil, text) {
			if p.Name == "" || p.Name == "lo" {
				t.Fatalf("an interface is called %q", p.Name)
			}
		}
		for _, path := range groups(text) {
			own, err := within(path, first)
			if err == nil && !strings.Contains(own[strings.LastIndexByte(own, '/')+1:], first) {
				t.Fatalf("%q of %q is not the container's", own, path)
			}
		}
	})
}
