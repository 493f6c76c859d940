// Package alone runs one part by itself on a loopback address, for tests of an edge against the real thing that need no
// Swarm. It knows the parts and processes; it makes no lab, no namespace and no Swarm.
package alone

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/lab"
	"github.com/rolling-swarm/rolling/lab/debian"
	"github.com/rolling-swarm/rolling/lab/parts"
)

// A Part that runs alone, for as long as the test lasts.
type Part struct {
	parts.Part
	Site parts.Site

	t  testing.TB
	mu sync.Mutex
	on *exec.Cmd // guarded by mu: nil while it is off
	// ended is closed when the process on has been waited for; guarded by mu.
	ended chan struct{}
}

// Cache is where downloads are kept between runs.
func Cache(t testing.TB) string {
	t.Helper()
	config, err := lab.ReadConfig()
	if err != nil {
		t.Fatal(err)
	}
	return config.Cache
}

// Install installs Debian's packages where they are missing.
func Install(t testing.TB, packages ...string) {
	t.Helper()
	if err := (debian.Machine{Cache: Cache(t), Log: t.Logf}).Install(t.Context(), packages...); err != nil {
		t.Fatal(err)
	}
}

// New prepares the part, without starting it.
func New(t testing.TB, name string) *Part {
	t.Helper()
	part, err := parts.Named(name)
	if err != nil {
		t.Fatal(err)
	}
	Install(t, part.Packages...)
	var dialer net.Dialer
	p := &Part{Part: part, t: t, Site: parts.Site{Folder: t.TempDir(), Router: address(), Cache: Cache(t), Dial: dialer.DialContext}}
	t.Cleanup(p.Kill)
	return p
}

// address gives a loopback address of the process's own, so that the parts' fixed ports are free on it.
func address() netip.Addr {
	pid := os.Getpid()
	return netip.AddrFrom4([4]byte{127, byte(64 + pid>>14&63), byte(pid >> 7 & 127), byte(1 + pid&127)})
}

// Start starts the part, with the data that it had, and waits until it answers.
func (p *Part) Start() {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 5*time.Minute)
	defer cancel()
	program, err := p.Prepare(ctx, p.Site)
	if err != nil {
		p.t.Fatal(err)
	}
	log, err := os.OpenFile(filepath.Join(p.Site.Folder, "output.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = log.Close() }() // the process has its own copy
	command := exec.Command(program.Path, program.Args...)
	command.Dir, command.Stdout, command.Stderr = p.Site.Folder, log, log
	command.Env = append(os.Environ(), program.Env...)
	// Its own process group, so that Kill reaches the workers that a master leaves behind.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := command.Start(); err != nil {
		p.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = command.Wait(); close(ended) }()
	p.mu.Lock()
	p.on, p.ended = command, ended
	p.mu.Unlock()
	if err := p.answers(ctx, ended); err != nil {
		text, _ := os.ReadFile(filepath.Join(p.Site.Folder, "output.log"))
		p.t.Fatalf("start %s: %v; its output:\n%s", p.Name, err, text)
	}
}

func (p *Part) answers(ctx context.Context, ended chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, p.Within)
	defer cancel()
	for {
		err := p.asked(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ended:
			return fmt.Errorf("it has ended: %w", err)
		case <-ctx.Done():
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// asked asks once. A part that has just begun to listen may take a connection and never answer it (ZooKeeper, for
// one), so that a question has a bound of its own.
func (p *Part) asked(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return p.Ready(ctx, p.Site)
}

// Kill ends the part and all of its processes by SIGKILL; its data stays.
func (p *Part) Kill() { p.end(syscall.SIGKILL) }

// Stop asks the part to end by SIGTERM and waits for it; its data stays.
func (p *Part) Stop() { p.end(syscall.SIGTERM) }

func (p *Part) end(signal syscall.Signal) {
	p.mu.Lock()
	command, ended := p.on, p.ended
	p.on = nil
	p.mu.Unlock()
	if command == nil {
		return
	}
	_ = syscall.Kill(-command.Process.Pid, signal)
	select {
	case <-ended:
	case <-time.After(p.Within):
		_ = syscall.Kill(-command.Process.Pid, syscall.SIGKILL)
		<-ended
	}
}

// Pid is the process's ID, 0 while it is off.
func (p *Part) Pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.on == nil {
		return 0
	}
	return p.on.Process.Pid
}

// Read gives a file of the part's folder.
func (p *Part) Read(name string) string {
	p.t.Helper()
	text, err := os.ReadFile(filepath.Join(p.Site.Folder, name))
	if err != nil {
		p.t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}
