package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/internal/worker"
)

const (
	// look is how often the folder is read: an upgrade may wait so long.
	look = 250 * time.Millisecond
	// listensWithin: a program listens at once, before any network; the engine waits as long for a plugin.
	listensWithin = 10 * time.Second
	// endWithin: the engine gives the whole plugin ten seconds.
	endWithin = 8 * time.Second
	// longest pause before a program that ends again and again is started again.
	longest = 5 * time.Second
	// settled: who has run so long is started at once when it ends.
	settled = 30 * time.Second
)

// A launcher is used by one goroutine.
type launcher struct {
	folder, socket, builtIn string
	environment             []string
	scratch                 string        // for the copies that run
	listens                 time.Duration // a program that takes longer does not work
	log                     *slog.Logger

	now     choice // what runs or should run
	order   worker.Order
	problem string
}

// A choice is a program that may be run.
type choice struct {
	name, build string // "" for the one that came along
	path        string
	settings    map[string]string
}

// Run runs the child until the context ends, then ends it.
func (l *launcher) Run(ctx context.Context) error {
	runtime.LockOSThread() // a child dies with the thread that started it, see start
	defer runtime.UnlockOSThread()
	l.clear()
	l.now = l.came()
	l.takeOrder(nil)
	pause := time.Duration(0)
	for ctx.Err() == nil {
		c, err := l.start(l.now)
		if err != nil && l.now.name == "" {
			return err
		}
		if err != nil {
			l.problem, l.now = err.Error(), l.came()
			continue
		}
		began := time.Now()
		l.stay(ctx, c)
		if pause = min(2*pause+look/4, longest); time.Since(began) > settled {
			pause = 0
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
	return nil
}

// came is the program that came along with the plugin.
func (l *launcher) came() choice { return choice{path: l.builtIn} }

// clear removes the copies of an earlier run.
func (l *launcher) clear() {
	copies, _ := filepath.Glob(filepath.Join(l.scratch, "worker-*"))
	for _, c := range copies {
		_ = os.Remove(c) // only room on the disk
	}
}

// stay keeps a child, and those that follow it by order, until one ends by itself or the context ends.
func (l *launcher) stay(ctx context.Context, c *child) {
	l.say()
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			c.end(endWithin)
			return
		case <-c.ended:
			l.log.Warn("the program has ended and is started again", "program", l.now.path, "cause", c.cause())
			return
		case <-tick.C:
		}
		if next := l.takeOrder(c); next != nil {
			c = next
		}
	}
}

// takeOrder looks for an order, and gives the child that runs after it: nil if nothing has changed. Without a child
// (nothing runs yet) it only chooses.
func (l *launcher) takeOrder(c *child) *child {
	order, err := worker.Ordered(l.folder)
	if err != nil || order == l.order {
		return nil // a folder that cannot be read now is read again soon
	}
	l.order, l.problem = order, ""
	next, err := l.fetch(order.Name)
	switch {
	case err != nil:
		l.problem = err.Error()
	case next.name == l.now.name:
	case c == nil:
		l.now = next
	default:
		c = l.change(c, next)
		l.say()
		return c
	}
	if c != nil {
		l.say()
	}
	return nil
}

func (l *launcher) fetch(name string) (choice, error) {
	if name == l.now.name {
		return l.now, nil
	}
	path := filepath.Join(l.scratch, "worker-"+name)
	w, err := worker.Fetch(l.folder, name, path)
	return choice{name: name, build: w.Build, path: path, settings: w.Settings}, err
}

// change ends the child and starts the next program. One that does not listen soon is given up for the one before.
func (l *launcher) change(c *child, next choice) *child {
	before := l.now
	began := time.Now()
	c.end(endWithin)
	n, err := l.start(next)
	if err == nil {
		err = n.proven(l.socket, l.listens)
	}
	if err == nil {
		l.now = next
		if before.name != "" {
			_ = os.Remove(before.path) // only room on the disk
		}
		l.log.Info("changed the program", "build", next.build, "took", time.Since(began).Round(time.Millisecond).String())
		return n
	}
	l.problem = fmt.Sprintf("build %s does not work, the one before runs on: %v", next.build, err)
	l.log.Error("cannot change the program", "cause", l.problem)
	if n != nil {
		n.end(0)
	}
	_ = os.Remove(next.path)
	if n, err = l.start(before); err != nil {
		l.log.Error("cannot start the program that ran before", "cause", err)
		return &child{ended: closed()} // Run tries again
	}
	return n
}

// say leaves word for the agent.
func (l *launcher) say() {
	s := worker.Status{Running: l.now.name, Build: l.now.build, Settings: l.now.settings, Order: l.order, Problem: l.problem}
	if err := worker.WriteStatus(l.folder, s); err != nil {
		l.log.Error("cannot tell how it stands", "cause", err)
	}
}

// A child is a process of a program.
type child struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has been waited for
	err   error         // readable then
}

func closed() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

func (l *launcher) start(what choice) (*child, error) {
	cmd := exec.Command(what.path)
	cmd.Stdout, cmd.Stderr, cmd.Dir = os.Stdout, os.Stderr, "/"
	cmd.Env = environment(l.environment, what)
	// Outside of a plugin there is no process namespace that ends with us.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", what.path, err)
	}
	c := &child{cmd: cmd, ended: make(chan struct{})}
	go func() {
		c.err = cmd.Wait()
		close(c.ended)
	}()
	return c, nil
}

// environment: the later of two settings counts.
func environment(ours []string, what choice) []string {
	env := append([]string{}, ours...)
	for name, value := range what.settings {
		env = append(env, name+"="+value)
	}
	if what.build != "" {
		env = append(env, contract.BuildVariable+"="+what.build)
	}
	return env
}

func (c *child) cause() string {
	if c.err == nil {
		return "exit status 0"
	}
	return c.err.Error()
}

// end asks the child to end, and kills it after a while.
func (c *child) end(within time.Duration) {
	if c.cmd == nil {
		return
	}
	if within > 0 {
		_ = c.cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
	}
	select {
	case <-c.ended:
	case <-time.After(within):
		_ = c.cmd.Process.Kill()
		<-c.ended
	}
}

// proven waits until the child takes connections.
func (c *child) proven(socket string, within time.Duration) error {
	deadline := time.After(within)
	for {
		conn, err := net.DialTimeout("unix", socket, time.Second)
		if err == nil {
			_ = conn.Close()
			return nil
		}
		select {
		case <-c.ended:
			return errors.New("it ended: " + c.cause())
		case <-deadline:
			return fmt.Errorf("it does not listen within %s: %s", within, strings.TrimPrefix(err.Error(), "dial unix "))
		case <-time.After(20 * time.Millisecond):
		}
	}
}
