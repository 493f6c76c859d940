package lab

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/rolling-swarm/rolling/lab/namespace"
)

//go:embed init.sh
var initScript string

//go:embed engine.sh
var engineScript string

// engineWithin bounds a node's boot until its engine answers: 1 s on an idle machine.
const engineWithin = 60 * time.Second

// On says whether the node runs.
func (l *Lab) On(node string) bool {
	_, on := l.init(node)
	return on
}

// init is the node's PID 1.
func (l *Lab) init(node string) (process, bool) {
	p, ok := readProcess(l.folder(node, "pid"))
	return p, ok && p.alive()
}

// boot starts the node if it is off, from whatever state an earlier run left it in.
func (l *Lab) boot(ctx context.Context, node, engine string) error {
	if l.On(node) {
		return nil
	}
	if err := l.stopNode(ctx, node); err != nil {
		return err
	}
	for _, d := range []string{"up", "work", "root", "host", "data"} {
		if err := os.MkdirAll(l.folder(node, d), 0o755); err != nil {
			return fmt.Errorf("boot %s: %w", node, err)
		}
	}
	if err := os.MkdirAll(l.folder("shared"), 0o755); err != nil {
		return fmt.Errorf("boot %s: %w", node, err)
	}
	if err := l.plug(node); err != nil {
		return err
	}
	leaves, err := l.makeCgroups(node)
	if err != nil {
		return err
	}
	if err := l.startInit(node, engine, leaves); err != nil {
		return fmt.Errorf("boot %s: %w", node, err)
	}
	return nil
}

// startInit starts PID 1 in namespaces of its own. It outlives this process.
func (l *Lab) startInit(node, engine string, leaves []string) error {
	for file, text := range map[string]string{l.folder(node, "init.sh"): initScript, l.folder(node, "host", "engine.sh"): engineScript} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			return err
		}
	}
	log, err := os.Create(l.folder(node, "init.log"))
	if err != nil {
		return err
	}
	defer log.Close() //nolint:errcheck // the child writes it
	cmd := exec.Command("/bin/bash", l.folder(node, "init.sh"))
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = l.environment(node, "LAB_NODE="+node, "LAB_ENGINE="+engine, "LAB_BASE="+l.folder(node), "LAB_SHARED="+l.folder("shared"),
		"LAB_ROUTER="+routerAddr.String(), "LAB_ADDRESS="+l.Address(node).String(), "LAB_CGROUP="+l.cgroup(node),
		"LAB_LEAVES="+strings.Join(leaves, " "))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true,
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC | syscall.CLONE_NEWPID}
	if err := namespace.Do(namespace.Path(l.space(node)), cmd.Start); err != nil {
		return err
	}
	go cmd.Wait() //nolint:errcheck // only so that a child of a long-lived test stays no zombie
	return writeProcess(l.folder(node, "pid"), cmd.Process.Pid)
}

// waitEngine waits until the node's engine answers.
func (l *Lab) waitEngine(ctx context.Context, node string) error {
	ctx, cancel := context.WithTimeout(ctx, engineWithin)
	defer cancel()
	for {
		if !l.On(node) {
			return fmt.Errorf("%s ended while it booted: %s", node, l.lastWords(node))
		}
		err := l.ping(ctx, node)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the engine of %s does not answer after %s: %w: %s", node, engineWithin, err, l.lastWords(node))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// lastWords are the ends of the node's logs, for an error's text.
func (l *Lab) lastWords(node string) string {
	var b strings.Builder
	for _, file := range []string{l.folder(node, "init.log"), l.folder(node, "host", "dockerd.log")} {
		text, err := os.ReadFile(file)
		if err != nil || len(text) == 0 {
			continue
		}
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		fmt.Fprintf(&b, "\n  %s:\n    %s", file, strings.Join(lines[max(0, len(lines)-5):], "\n    "))
	}
	return b.String()
}

// Start boots a node that is off, with the disk that it had, and waits for its engine.
func (l *Lab) Start(ctx context.Context, node string) error {
	if err := l.known(node); err != nil {
		return err
	}
	unlock, err := l.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	r, err := l.readRecord()
	if err != nil {
		return err
	}
	engine, err := l.machine().Engine(ctx, r.suiteOf(node))
	if err != nil {
		return err
	}
	if err := l.boot(ctx, node, engine); err != nil {
		return err
	}
	return l.waitEngine(ctx, node)
}

// Kill is a power loss: silence on the cable, and every process of the node is gone. Its disk stays.
func (l *Lab) Kill(ctx context.Context, node string) error {
	if err := l.known(node); err != nil {
		return err
	}
	unlock, err := l.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	return l.stopNode(ctx, node)
}

// stopNode ends what there is of the node, in whatever half-made state, but for its disk.
func (l *Lab) stopNode(ctx context.Context, node string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := l.unplug(node); err != nil {
		return err
	}
	if err := l.endMarked(ctx, markNode+node); err != nil {
		return fmt.Errorf("stop %s: %w", node, err)
	}
	_ = os.Remove(l.folder(node, "pid"))
	_ = os.Remove(l.socket(node))
	return removeCgroups(ctx, l.cgroup(node))
}

// endMarked kills the lab's processes that bear the mark, until none is left. With a node's PID 1 the kernel
// ends all in its PID namespace.
func (l *Lab) endMarked(ctx context.Context, mark string) error {
	for {
		found := marked(l.mark(), mark)
		if len(found) == 0 {
			return nil
		}
		for _, p := range found {
			p.signal(syscall.SIGKILL, false)
		}
		var errs []error
		for _, p := range found {
			errs = append(errs, p.gone(ctx))
		}
		if err := errors.Join(errs...); err != nil {
			return err
		}
	}
}

// KillEngine crashes the node's engine; the node's PID 1 starts it again after a second, as systemd would.
func (l *Lab) KillEngine(ctx context.Context, node string) error {
	if _, err := l.Exec(ctx, node, "sh", "-c", "kill -9 $(cat /run/docker.pid)"); err != nil {
		return fmt.Errorf("kill the engine of %s: %w", node, err)
	}
	return nil
}
