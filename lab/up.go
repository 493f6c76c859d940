package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/rolling-swarm/rolling/lab/debian"
	"golang.org/x/sync/errgroup"
)

// Options say what a lab should be. Zero fields mean the default, or what the lab already is.
type Options struct {
	Name     string // of the lab that the function Up makes; the method Up knows its own
	Managers int    // 3 unless said
	Workers  int
	Engine   string // forky, trixie, bookworm or mixed; else LAB_SUITE's, or forky
	Install  bool   // builds this checkout and puts it on the Swarm
	Log      func(format string, args ...any)
}

// Up makes the lab, or brings it back to what it should be: it boots nodes that are off, joins cut cables, heals
// a partition, and waits until every node is Ready. What runs is left as it is, so it is safe to repeat, also
// after a run that was ended half-way.
func (l *Lab) Up(ctx context.Context, o Options) error {
	return l.up(ctx, o, nil)
}

func (l *Lab) up(ctx context.Context, o Options, owner *process) error {
	if o.Log != nil {
		l.Log = o.Log
	}
	if err := l.may(o); err != nil {
		return err
	}
	unlock, err := l.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	r, err := l.want(o, owner)
	if err != nil {
		return fmt.Errorf("lab %s: %w", l.name, err)
	}
	engines, err := l.engines(ctx, r)
	if err != nil {
		return err
	}
	if err := l.writeRecord(r); err != nil {
		return err
	}
	return l.raise(ctx, r, engines, o.Install)
}

// raise does the slow steps side by side: the build while nodes boot, images while plugins are loaded and the
// Swarm forms.
func (l *Lab) raise(ctx context.Context, r record, engines map[string]string, install bool) error {
	started := time.Now()
	since := func() float64 { return time.Since(started).Seconds() }
	ctx, cancel := context.WithCancel(ctx)
	built, images := background(install, func() error { return l.stage(ctx) }), background(false, nil)
	defer func() { cancel(); _, _ = built(), images() }() // what is begun ends with us
	if err := l.bootAll(ctx, r, engines); err != nil {
		return err
	}
	l.logf("%d nodes up, engine %s (%s), after %.1f s", len(r.nodes()), l.version(ctx, r), r.Engine, since())
	if err := built(); err != nil {
		return err
	}
	// A node that joins an installed lab gets the images too; its agent then brings the plugins.
	images = background(install || l.installed(), func() error { return l.loadImages(ctx, r) })
	if install {
		if err := l.loadEarly(ctx, r); err != nil {
			return err
		}
	}
	if err := l.formSwarm(ctx, r); err != nil {
		return err
	}
	l.logf("Swarm of %d managers and %d workers ready after %.1f s", r.Managers, r.Workers, since())
	if err := images(); err != nil || !install {
		return err
	}
	if err := l.deploy(ctx, r); err != nil {
		return err
	}
	l.logf("installed after %.1f s", since())
	return nil
}

// background starts f, if wanted, and gives what waits for its end.
func background(wanted bool, f func() error) (wait func() error) {
	if !wanted {
		return func() error { return nil }
	}
	done := make(chan error, 1)
	go func() { done <- f() }()
	return sync.OnceValue(func() error { return <-done })
}

// may refuses what cannot work before anything is made.
func (l *Lab) may(o Options) error {
	switch {
	case l.wrong != nil:
		return l.wrong
	case o.Name != "" && o.Name != l.name:
		return fmt.Errorf("lab %s: asked to come up under the name %s", l.name, o.Name)
	case os.Geteuid() != 0:
		return fmt.Errorf("lab %s: root is needed, since nodes are made of namespaces and mounts", l.name)
	}
	return nil
}

func (l *Lab) want(o Options, owner *process) (record, error) {
	old, err := l.readRecord()
	if errors.Is(err, errNotUp) {
		o.Engine = cmp.Or(o.Engine, l.config.Engine)
		r, err := settle(o, nil)
		r.Owner = owner
		return r, err
	}
	if err != nil {
		return old, err
	}
	return settle(o, &old)
}

func (l *Lab) bootAll(ctx context.Context, r record, engines map[string]string) error {
	if err := l.makeLAN(); err != nil {
		return err
	}
	if err := l.Heal(ctx); err != nil {
		return err
	}
	return each(ctx, r.nodes(), func(ctx context.Context, node string) error {
		if err := l.Join(ctx, node); err != nil {
			return err
		}
		if err := l.boot(ctx, node, engines[r.suiteOf(node)]); err != nil {
			return err
		}
		return l.waitEngine(ctx, node)
	})
}

// each does the same on all nodes at once; the first error ends the others.
func each(ctx context.Context, nodes []string, f func(context.Context, string) error) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, node := range nodes {
		g.Go(func() error { return f(ctx, node) })
	}
	return g.Wait()
}

func (l *Lab) machine() debian.Machine {
	return debian.Machine{Cache: l.config.Cache, Log: l.logf}
}

// lock keeps two commands from changing one lab at a time. It lies in the cache: down leaves nothing under the
// lab's own folder.
func (l *Lab) lock(ctx context.Context) (unlock func(), err error) {
	if l.wrong != nil {
		return nil, l.wrong
	}
	if err := os.MkdirAll(l.config.Cache, 0o755); err != nil {
		return nil, fmt.Errorf("lab %s: make the cache folder: %w (set ROLLING_CACHE to one that can be written)", l.name, err)
	}
	file := l.lockFile()
	soon, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if unlock, err = debian.Lock(soon, file); err == nil || ctx.Err() != nil {
		return unlock, err
	}
	l.logf("another command is at work on lab %s: waiting for it", l.name)
	return debian.Lock(ctx, file)
}

func (l *Lab) lockFile() string { return filepath.Join(l.config.Cache, "lab-"+l.name+".lock") }
