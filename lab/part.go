package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/rolling-swarm/rolling/lab/namespace"
	"github.com/rolling-swarm/rolling/lab/parts"
)

const markPart = "ROLLING_LAB_PART="

// StartPart starts a part on the router's address, with the data that it had, and waits until it answers. One
// that runs is left as it is.
func (l *Lab) StartPart(ctx context.Context, name string) error {
	part, site, err := l.part(name)
	if err != nil {
		return err
	}
	unlock, err := l.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if _, on := l.partProcess(name); !on {
		if err := l.launch(ctx, part, site); err != nil {
			return fmt.Errorf("start part %s: %w", name, err)
		}
	}
	return l.waitPart(ctx, part, site)
}

func (l *Lab) launch(ctx context.Context, part parts.Part, site parts.Site) error {
	if err := l.machine().Install(ctx, part.Packages...); err != nil {
		return err
	}
	if err := l.endMarked(ctx, markPart+part.Name); err != nil { // of an interrupted start
		return err
	}
	if err := os.MkdirAll(site.Folder, 0o755); err != nil {
		return err
	}
	program, err := part.Prepare(ctx, site)
	if err != nil {
		return err
	}
	log, err := os.OpenFile(l.folder("parts", part.Name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close() //nolint:errcheck // the child writes it
	cmd := exec.Command(program.Path, program.Args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = site.Folder, log, log
	cmd.Env = l.environment(Router, append(program.Env, markPart+part.Name)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := namespace.Do(namespace.Path(l.space(Router)), cmd.Start); err != nil {
		return err
	}
	go cmd.Wait() //nolint:errcheck // only so that a child of a long-lived test stays no zombie
	return writeProcess(l.folder("parts", part.Name+".pid"), cmd.Process.Pid)
}

func (l *Lab) waitPart(ctx context.Context, part parts.Part, site parts.Site) error {
	ended := errors.New("it has ended")
	err := l.Eventually(ctx, part.Within, "part "+part.Name, func() error {
		if _, on := l.partProcess(part.Name); !on {
			return ended
		}
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		return part.Ready(ctx, site)
	})
	if err != nil {
		text, _ := os.ReadFile(l.folder("parts", part.Name+".log"))
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		return fmt.Errorf("start part %s: %w; its log ends:\n  %s", part.Name, err, strings.Join(lines[max(0, len(lines)-5):], "\n  "))
	}
	return nil
}

// StopPart asks the part to end (SIGTERM) and waits for it; its data stays.
func (l *Lab) StopPart(ctx context.Context, name string) error {
	return l.endPart(ctx, name, syscall.SIGTERM)
}

// KillPart ends the part with SIGKILL; its data stays.
func (l *Lab) KillPart(ctx context.Context, name string) error {
	return l.endPart(ctx, name, syscall.SIGKILL)
}

func (l *Lab) endPart(ctx context.Context, name string, signal syscall.Signal) error {
	part, _, err := l.part(name)
	if err != nil {
		return err
	}
	unlock, err := l.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	p, _ := l.partProcess(name)
	p.signal(signal, signal == syscall.SIGKILL)
	polite, cancel := context.WithTimeout(ctx, part.Within)
	defer cancel()
	late := p.gone(polite)
	if err := l.endMarked(ctx, markPart+name); err != nil { // and what it has left behind
		return fmt.Errorf("stop part %s: %w", name, err)
	}
	if late != nil {
		l.logf("part %s did not stop within %s and was killed", name, part.Within)
	}
	return nil
}

func (l *Lab) partProcess(name string) (process, bool) {
	p, ok := readProcess(l.folder("parts", name+".pid"))
	return p, ok && p.alive()
}

// part finds the part and its place in a lab that is up.
func (l *Lab) part(name string) (parts.Part, parts.Site, error) {
	if l.wrong != nil {
		return parts.Part{}, parts.Site{}, l.wrong
	}
	part, err := parts.Named(name)
	if err != nil {
		return part, parts.Site{}, err
	}
	r, err := l.readRecord()
	if err != nil {
		return part, parts.Site{}, err
	}
	site := parts.Site{Folder: l.folder("parts", name), Router: routerAddr, Cache: l.config.Cache, Dial: l.DialContext(Router)}
	for i, node := range r.nodes() {
		to := &site.Workers
		if i < r.Managers {
			to = &site.Managers
		}
		*to = append(*to, l.Address(node))
	}
	return part, site, nil
}

// RoutesTo is what the part bird was told of an address, and by whom, in its own words.
func (l *Lab) RoutesTo(ctx context.Context, address string) (string, error) {
	return l.Exec(ctx, Router, "birdc", "-r", "-s", parts.BirdSocket(l.folder("parts", "bird")), "show", "route", "for", address, "all")
}

// Routes are the usable routes that the part bird has learnt by BGP: for each prefix the next hops, sorted.
func (l *Lab) Routes(ctx context.Context) (map[netip.Prefix][]netip.Addr, error) {
	if _, on := l.partProcess("bird"); !on {
		return nil, fmt.Errorf("read routes: the part bird is off: lab part start bird")
	}
	out, err := l.Exec(ctx, Router, "birdc", "-r", "-s", parts.BirdSocket(l.folder("parts", "bird")), "show", "route", "where", "source", "=", "RTS_BGP")
	if err != nil {
		return nil, fmt.Errorf("read routes: %w", err)
	}
	return parts.ReadRoutes(out)
}
