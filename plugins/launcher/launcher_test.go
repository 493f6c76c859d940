package main

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/internal/worker"
)

// TestMain is also the program that the launcher runs: it listens where it is told, and says who it is.
func TestMain(m *testing.M) {
	socket := os.Getenv("TEST_SOCKET")
	switch {
	case socket == "":
		os.Exit(m.Run())
	case os.Getenv("TEST_DEAF") != "":
		time.Sleep(time.Minute)
	}
	_ = os.Remove(socket)
	listener, err := net.Listen("unix", socket)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for {
		c, err := listener.Accept()
		if err != nil {
			os.Exit(1)
		}
		fmt.Fprintf(c, "%d %s %s\n", os.Getpid(), os.Getenv("ROLLING_BUILD"), os.Getenv("ROLLING_A"))
		_ = c.Close()
	}
}

type rig struct {
	*testing.T
	folder, socket, program string
	stop                    func()
}

// started runs a launcher until the test's end.
func started(t *testing.T) *rig {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{T: t, folder: filepath.Join(t.TempDir(), "worker"), socket: filepath.Join(t.TempDir(), "s"), program: program}
	if err := os.MkdirAll(r.folder, 0o700); err != nil {
		t.Fatal(err)
	}
	r.start()
	return r
}

func (r *rig) start() {
	r.Helper()
	l := launcher{folder: r.folder, socket: r.socket, builtIn: r.program, scratch: r.TempDir(), listens: 5 * time.Second, log: slog.New(slog.DiscardHandler),
		environment: []string{"TEST_SOCKET=" + r.socket, "ROLLING_BUILD=first", "ROLLING_A=1"}}
	ctx, cancel := context.WithCancel(r.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	var once sync.Once
	r.stop = func() {
		once.Do(func() {
			cancel()
			if err := <-ended; err != nil {
				r.Error(err)
			}
		})
	}
	r.Cleanup(r.stop)
}

// says is what runs now: its process, build and setting.
func (r *rig) says() (pid, rest string) {
	c, err := net.Dial("unix", r.socket)
	if err != nil {
		return "", err.Error()
	}
	defer func() { _ = c.Close() }()
	line, _ := bufio.NewReader(c).ReadString('\n')
	pid, rest, _ = strings.Cut(strings.TrimSpace(line), " ")
	return pid, rest
}

func (r *rig) until(want string) (pid string) {
	r.Helper()
	got := ""
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if pid, got = r.says(); got == want {
			return pid
		}
	}
	r.Fatalf("it says %q, want %q", got, want)
	return ""
}

// settled waits until the launcher has dealt with what was ordered.
func (r *rig) settled() worker.Status {
	r.Helper()
	order, err := worker.Ordered(r.folder)
	if err != nil {
		r.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if s, err := worker.ReadStatus(r.folder); err == nil && s.Order == order {
			return s
		}
	}
	r.Fatalf("the launcher does not deal with %+v", order)
	return worker.Status{}
}

func (r *rig) lay(program, build string, settings map[string]string) string {
	r.Helper()
	name, err := worker.Lay(r.folder, program, build, settings)
	if err != nil {
		r.Fatal(err)
	}
	return name
}

func TestAWorkerTakesOverAndIsThereAgainAfterARestart(t *testing.T) {
	r := started(t)
	first := r.until("first 1")
	name := r.lay(r.program, "second", map[string]string{"ROLLING_A": "2"})
	second := r.until("second 2")
	if s := r.settled(); s.Running != name || s.Build != "second" || s.Problem != "" {
		t.Errorf("it stands at %+v", s)
	}
	if first == second {
		t.Error("it is the same process")
	}
	r.lay(r.program, "second", map[string]string{"ROLLING_A": "2"})
	r.settled()
	if pid, _ := r.says(); pid != second {
		t.Error("the same order again restarted it")
	}
	r.lay(r.program, "second", map[string]string{"ROLLING_A": "3"})
	r.until("second 3")
	r.stop()
	if _, said := r.says(); !strings.Contains(said, "refused") && !strings.Contains(said, "no such file") {
		t.Errorf("after the end: %s", said)
	}
	r.start()
	r.until("second 3")
}

func TestAProgramThatIsKilledComesBack(t *testing.T) {
	r := started(t)
	pid := r.until("first 1")
	var id int
	if _, err := fmt.Sscan(pid, &id); err != nil {
		t.Fatal(err)
	}
	p, err := os.FindProcess(id)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if now, said := r.says(); said == "first 1" && now != pid {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("it did not come back")
		}
	}
}

func TestAWorkerThatDoesNotWorkIsGivenUp(t *testing.T) {
	script := filepath.Join(t.TempDir(), "bad")
	if err := os.WriteFile(script, []byte("#!/bin/false\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, program, want string
		settings            map[string]string
		damage              bool
	}{
		{"it ends at once", script, "it ended: exit status 1", nil, false},
		{"it is damaged", "", "damaged", nil, true},
		{"it does not listen", "", "does not listen", map[string]string{"TEST_DEAF": "1"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := started(t)
			r.until("first 1")
			if c.program == "" {
				c.program = r.program
			}
			if c.damage {
				// Laid while nobody looks, so that the launcher cannot see it whole.
				r.stop()
			}
			name := r.lay(c.program, "second", c.settings)
			if c.damage {
				if err := os.WriteFile(filepath.Join(r.folder, name, "program"), []byte("x"), 0o700); err != nil {
					t.Fatal(err)
				}
				r.start()
			}
			if s := r.settled(); s.Running != "" || !strings.Contains(s.Problem, c.want) {
				t.Errorf("it stands at %+v, want %s", s, c.want)
			}
			r.until("first 1")
		})
	}
}
