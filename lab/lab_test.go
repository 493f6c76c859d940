package lab

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/swarm"
)

func TestNames(t *testing.T) {
	for _, row := range []struct {
		name, lab string
		ok        bool
	}{
		{"a plain name is taken", "lab", true},
		{"digits and dashes are taken", "t-4711-2", true},
		{"an empty name is refused", "", false},
		{"a name that leads out of the state folder is refused", "../etc", false},
		{"a name with a dot is refused, since it ends the lab's part of a namespace's name", "a.b", false},
		{"a name that would make a socket's path too long is refused", strings.Repeat("a", 33), false},
	} {
		t.Run(row.name, func(t *testing.T) {
			l := Open(row.lab)
			if ok := l.wrong == nil; ok != row.ok {
				t.Errorf("taken: %t, want %t (%v)", ok, row.ok, l.wrong)
			}
			if row.ok {
				return
			}
			if err := l.Up(t.Context(), Options{}); err == nil || !strings.Contains(err.Error(), "want 1 to 32") {
				t.Errorf("up under that name: %v", err)
			}
			if err := l.Down(t.Context()); err == nil || !strings.Contains(err.Error(), "want 1 to 32") {
				t.Errorf("down under that name: %v", err)
			}
		})
	}
	longest := Open(strings.Repeat("a", 32)).socket("n200")
	if len(longest) > 107 {
		t.Errorf("the longest socket's path has %d bytes, the kernel takes 107", len(longest))
	}
	if Open("a").spacePrefix() == Open("a-b").spacePrefix()[:len(Open("a").spacePrefix())] {
		t.Error("the namespaces of lab a-b would go down with lab a")
	}
}

func TestAddress(t *testing.T) {
	for node, want := range map[string]string{
		"router": "10.99.0.1", "n1": "10.99.0.21", "n12": "10.99.0.32", "n200": "10.99.0.220",
		"n0": "invalid IP", "n201": "invalid IP", "n01": "invalid IP", "n": "invalid IP", "node1": "invalid IP", "n-1": "invalid IP", "": "invalid IP",
	} {
		if got := Open("lab").Address(node).String(); got != want {
			t.Errorf("%q is at %s, want %s", node, got, want)
		}
	}
}

func TestSettle(t *testing.T) {
	old := &record{Managers: 3, Workers: 1, Engine: "trixie"}
	for _, row := range []struct {
		name string
		ask  Options
		old  *record
		want record
		err  string
	}{
		{name: "a new lab has three managers and the newest engine", want: record{Managers: 3, Engine: "forky"}},
		{name: "a new lab is what is asked for", ask: Options{Managers: 1, Workers: 2, Engine: "bookworm"}, want: record{Managers: 1, Workers: 2, Engine: "bookworm"}},
		{name: "a lab that is there stays as it is", old: old, want: *old},
		{name: "a lab may get workers", ask: Options{Workers: 2}, old: old, want: record{Managers: 3, Workers: 2, Engine: "trixie"}},
		{name: "a lab without workers may get managers", ask: Options{Managers: 5}, old: &record{Managers: 3, Engine: "forky"}, want: record{Managers: 5, Engine: "forky"}},
		{name: "a worker does not become a manager", ask: Options{Managers: 4}, old: old, err: "lab down first"},
		{name: "no node is taken away", ask: Options{Managers: 1}, old: &record{Managers: 3, Engine: "forky"}, err: "lab down first"},
		{name: "an engine is not exchanged", ask: Options{Engine: "forky"}, old: old, err: "runs engine trixie"},
		{name: "more nodes than addresses are refused", ask: Options{Managers: 3, Workers: 198}, err: "at most 200"},
		{name: "fewer than no workers are refused", ask: Options{Workers: -1}, err: "-1 workers"},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, err := settle(row.ask, row.old)
			switch {
			case row.err == "" && err != nil:
				t.Error(err)
			case row.err != "" && (err == nil || !strings.Contains(err.Error(), row.err)):
				t.Errorf("error is %v, want one with %q", err, row.err)
			case row.err == "" && got != row.want:
				t.Errorf("got %+v, want %+v", got, row.want)
			}
		})
	}
}

func TestPartitionRules(t *testing.T) {
	const head = "table bridge partition\ndelete table bridge partition\ntable bridge partition {\n"
	for _, row := range []struct {
		name   string
		groups [][]string
		want   string
	}{
		{"two groups hear nothing of each other, both ways", [][]string{{"n1", "n2"}, {"n3"}}, head +
			"\tchain forward {\n\t\ttype filter hook forward priority 0\n" +
			"\t\tiifname { \"n1\", \"n2\" } oifname { \"n3\" } drop\n\t\tiifname { \"n3\" } oifname { \"n1\", \"n2\" } drop\n\t}\n}\n"},
		{"the router is no port of the switch but the switch itself", [][]string{{"n1"}, {"router"}}, head +
			"\tchain input {\n\t\ttype filter hook input priority 0\n\t\tiifname { \"n1\" } drop\n\t}\n" +
			"\tchain output {\n\t\ttype filter hook output priority 0\n\t\toifname { \"n1\" } drop\n\t}\n}\n"},
		{"the router stays with its group", [][]string{{"n1", "router"}, {"n2"}}, head +
			"\tchain forward {\n\t\ttype filter hook forward priority 0\n" +
			"\t\tiifname { \"n1\" } oifname { \"n2\" } drop\n\t\tiifname { \"n2\" } oifname { \"n1\" } drop\n\t}\n" +
			"\tchain input {\n\t\ttype filter hook input priority 0\n\t\tiifname { \"n2\" } drop\n\t}\n" +
			"\tchain output {\n\t\ttype filter hook output priority 0\n\t\toifname { \"n2\" } drop\n\t}\n}\n"},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, err := partitionRules(row.groups)
			if err != nil {
				t.Fatal(err)
			}
			if got != row.want {
				t.Errorf("got\n%s\nwant\n%s", got, row.want)
			}
		})
	}
	for name, groups := range map[string][][]string{"one group": {{"n1", "n2"}}, "a node in two groups": {{"n1"}, {"n1", "n2"}}, "none": nil} {
		if rules, err := partitionRules(groups); err == nil {
			t.Errorf("%s: no error but\n%s", name, rules)
		}
	}
}

func TestProcessesAreKnownForGood(t *testing.T) {
	self, err := processOf(os.Getpid())
	if err != nil || !self.alive() {
		t.Fatalf("this process is not alive: %v", err)
	}
	if (process{PID: self.PID, Start: self.Start + "0"}).alive() {
		t.Error("another process that had our number before us is held for alive")
	}
	cmd := exec.Command("sleep", "100")
	cmd.Env = Open("lab-test").environment("n1", "X=y")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	child, err := processOf(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if found := marked(markLab+"lab-test", markNode+"n1"); !slices.Contains(found, child) {
		t.Errorf("found %v by its marks, want %v", found, child)
	}
	for _, marks := range [][]string{{markLab + "lab-tes"}, {markLab + "lab-test2"}, {markLab + "lab-test", markNode + "n2"}} {
		if found := marked(marks...); slices.Contains(found, child) {
			t.Errorf("%v finds a process of another lab or node", marks)
		}
	}
	cmd.Process.Kill()
	if err := child.gone(t.Context()); err != nil { // a zombie until Wait
		t.Error(err)
	}
	cmd.Wait()
}

func TestRuns(t *testing.T) {
	task := func(node, image string, state, desired swarm.TaskState, trouble string) swarm.Task {
		return swarm.Task{NodeID: node, DesiredState: desired, Status: swarm.TaskStatus{State: state, Err: trouble},
			Spec: swarm.TaskSpec{ContainerSpec: &swarm.ContainerSpec{Image: image}}}
	}
	tasks := []swarm.Task{
		task("a", "new", swarm.TaskStateRunning, swarm.TaskStateRunning, ""),
		task("a", "new", swarm.TaskStateRunning, swarm.TaskStateRunning, ""), // two on one node count once
		task("b", "old", swarm.TaskStateRunning, swarm.TaskStateShutdown, ""),
		task("b", "new", swarm.TaskStateRejected, swarm.TaskStateRunning, "no such plugin"),
	}
	if err := runs(tasks, "new", 2); err == nil || err.Error() != "new runs on 1 of 2 nodes: no such plugin" {
		t.Errorf("got %v", err)
	}
	if err := runs(tasks, "new", 1); err != nil {
		t.Error(err)
	}
}

func TestBundles(t *testing.T) {
	folder := t.TempDir()
	if _, err := bundles(folder); err == nil || !strings.Contains(err.Error(), "make plugins") {
		t.Errorf("of an empty folder: %v", err)
	}
	for name, text := range map[string]string{
		"ipam": `{"env":[{"name":"ROLLING_LOG_LEVEL","value":"info"},{"name":"ROLLING_BUILD","value":"abc"}]}`,
		"net":  `{"env":null}`,
	} {
		if err := os.MkdirAll(folder+"/"+name, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(folder+"/"+name+"/config.json", []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := bundles(folder)
	if err != nil || len(got) != 2 || got["rolling/ipam:latest"] != "abc" || got["rolling/net:latest"] != "" {
		t.Errorf("got %v, %v", got, err)
	}
}
