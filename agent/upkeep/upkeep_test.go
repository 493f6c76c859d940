package upkeep

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rolling-swarm/rolling/agent/bundle"
)

// fake is an engine whose plugins are values. It can be away, and refuse steps.
type fake struct {
	mu      sync.Mutex
	plugins map[string]bundle.Installed
	away    bool
	used    bool              // a container uses every plugin
	refuse  map[string]string // "create rolling/net:latest" → the engine's words
	calls   []string
	tell    func()
	gone    chan struct{}
}

func newFake() *fake {
	return &fake{plugins: map[string]bundle.Installed{}, refuse: map[string]string{}, gone: make(chan struct{})}
}

var errAway = errors.New("connection refused")

func (f *fake) Installed(_ context.Context, alias string) (bundle.Installed, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.away {
		return bundle.Installed{}, errAway
	}
	return f.plugins[alias], nil
}

func (f *fake) Do(_ context.Context, b bundle.Bundle, s bundle.Step) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	call := string(s.Verb) + " " + b.Alias
	f.calls = append(f.calls, call)
	if f.away {
		return errAway
	}
	if words := f.refuse[call]; words != "" {
		return errors.New(words)
	}
	if s.Verb == bundle.Retire && f.used {
		return fmt.Errorf("retire: %w", bundle.ErrInUse)
	}
	have := f.plugins[b.Alias]
	switch s.Verb {
	case bundle.Create:
		have = bundle.Installed{Present: true, Build: b.Build, Values: b.Defaults, Frame: b.Frame}
	case bundle.Enable:
		have.Enabled = true
	case bundle.Disable:
		have.Enabled = false
	case bundle.Remove, bundle.Retire:
		have = bundle.Installed{}
	}
	f.plugins[b.Alias] = have
	return nil
}

func (f *fake) Watch(ctx context.Context, changed func()) error {
	f.mu.Lock()
	away, gone := f.away, f.gone
	f.tell = changed
	f.mu.Unlock()
	if away {
		return errAway
	}
	changed()
	select {
	case <-gone:
		return errAway
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *fake) setAway(away bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if away && !f.away {
		close(f.gone)
		f.gone = make(chan struct{})
	}
	f.away = away
}

func (f *fake) change(alias string, how func(*bundle.Installed), tell bool) {
	f.mu.Lock()
	p := f.plugins[alias]
	how(&p)
	f.plugins[alias] = p
	f.mu.Unlock()
	if tell {
		f.tell()
	}
}

func (f *fake) made() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	calls := f.calls
	f.calls = nil
	return calls
}

const (
	ipam = "rolling/ipam:latest"
	net  = "rolling/net:latest"

	patience = 5 * time.Second
)

// lines is a log that may be read while it is written.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// keeping runs an Upkeep of two plugins until the test's end.
func keeping(t *testing.T, f *fake) (*Upkeep, *lines) {
	t.Helper()
	log := &lines{}
	u := New(Parts{
		Engine: f, Every: 10 * time.Second, Now: time.Now, Patience: patience,
		Wants: []bundle.Want{{Bundle: bundle.Bundle{Alias: ipam, Build: "b1"}}, {Bundle: bundle.Bundle{Alias: net, Build: "b1"}}},
		Alone: func(context.Context) (func(), error) { return func() {}, nil },
		Log:   slog.New(slog.NewTextHandler(log, nil)),
	})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- u.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	synctest.Wait()
	return u, log
}

func ready(t *testing.T, u *Upkeep, want bool, when string) {
	t.Helper()
	if problems := u.State().Problems(); (len(problems) == 0) != want {
		t.Errorf("%s: ready is %t: %v", when, !want, problems)
	}
}

func same(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("the engine was called for\n%v\nwant\n%v", strings.Join(got, ", "), strings.Join(want, ", "))
	}
}

func TestAFreshNodeGetsItsPluginsAndIsThenLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		u, _ := keeping(t, f)
		same(t, f.made(), "create "+ipam, "enable "+ipam, "create "+net, "enable "+net)
		ready(t, u, true, "after the first look")
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		same(t, f.made())
	})
}

func TestAPluginChangedByHandComesBack(t *testing.T) {
	for _, told := range []bool{true, false} {
		t.Run(fmt.Sprintf("told by the engine: %t", told), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				u, log := keeping(t, f)
				f.made()
				f.change(net, func(p *bundle.Installed) { p.Enabled = false }, told)
				f.change(ipam, func(p *bundle.Installed) { *p = bundle.Installed{} }, told)
				if !told {
					time.Sleep(10 * time.Second) // it is seen at the next look
				}
				synctest.Wait()
				same(t, f.made(), "create "+ipam, "enable "+ipam)
				ready(t, u, false, "while one is left to whoever disabled it")
				time.Sleep(patience)
				synctest.Wait()
				same(t, f.made(), "enable "+net)
				ready(t, u, true, "at the end")
				if !strings.Contains(log.String(), "plugin="+net+" cause=disabled") {
					t.Errorf("the log does not say what was done:\n%s", log.String())
				}
			})
		})
	}
}

func TestWhatTheEngineRefusesIsTriedEverMoreSeldomAndTheOthersGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.refuse["create "+ipam] = "invalid config"
		u, log := keeping(t, f)
		same(t, f.made(), "create "+ipam, "create "+net, "enable "+net)
		if got := u.State().Problems(); len(got) != 1 || !strings.Contains(got[0], ipam) || !strings.Contains(got[0], "invalid config") {
			t.Errorf("readiness says %v", got)
		}
		if !strings.Contains(log.String(), "invalid config") {
			t.Errorf("the log says only\n%s", log.String())
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if tries := len(f.made()); tries < 10 || tries > 25 {
			t.Errorf("%d tries in an hour, want one about every five minutes", tries)
		}
		f.mu.Lock()
		delete(f.refuse, "create "+ipam)
		f.mu.Unlock()
		time.Sleep(6 * time.Minute)
		synctest.Wait()
		ready(t, u, true, "when the engine takes it")
	})
}

func TestAnEngineThatIsAwayIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.setAway(true)
		u, log := keeping(t, f)
		ready(t, u, false, "without an engine")
		time.Sleep(time.Hour)
		if n := strings.Count(log.String(), "\n"); n != 1 {
			t.Errorf("an hour without an engine made %d lines:\n%s", n, log.String())
		}
		f.setAway(false)
		time.Sleep(11 * time.Second)
		synctest.Wait()
		ready(t, u, true, "with the engine back")
		f.made()

		f.setAway(true)
		synctest.Wait()
		ready(t, u, false, "when it went away again")
		f.change(net, func(p *bundle.Installed) { p.Enabled = false }, false)
		f.setAway(false)
		time.Sleep(time.Second)
		synctest.Wait()
		same(t, f.made(), "enable "+net) // a second after it is back, not at the next look
		ready(t, u, true, "at the end")
	})
}

// slow stops the agent while a plugin is between its removal and its creation.
type slow struct {
	*fake
	stop func()
}

func (s slow) Do(ctx context.Context, b bundle.Bundle, step bundle.Step) error {
	if step.Verb == bundle.Remove {
		s.stop()
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.fake.Do(ctx, b, step)
}

func TestAStopDoesNotLeaveTheNodeWithoutAPluginThatItHad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.plugins[ipam] = bundle.Installed{Present: true, Enabled: true, Build: "b0"}
		f.plugins[net] = bundle.Installed{Present: true, Enabled: true, Build: "b0"}
		ctx, stop := context.WithCancel(t.Context())
		u := New(Parts{
			Engine: slow{f, stop}, Every: 10 * time.Second, Now: time.Now, Log: slog.New(slog.DiscardHandler),
			Wants: []bundle.Want{{Bundle: bundle.Bundle{Alias: ipam, Build: "b1"}}, {Bundle: bundle.Bundle{Alias: net, Build: "b1"}}},
			Alone: func(context.Context) (func(), error) { return func() {}, nil },
		})
		if err := u.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if p := f.plugins[ipam]; !p.Enabled || p.Build != "b1" {
			t.Errorf("the upgrade under way was left at %+v", p)
		}
		if p := f.plugins[net]; !p.Enabled || p.Build != "b0" {
			t.Errorf("an upgrade was begun after the stop: %+v", p)
		}
	})
}

func TestOnceWaitsForTheEngineAndTriesAFewTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.setAway(true)
		u := New(Parts{
			Engine: f, Now: time.Now, Log: slog.New(slog.DiscardHandler),
			Wants: []bundle.Want{{Bundle: bundle.Bundle{Alias: net, Build: "b1"}}},
			Alone: func(context.Context) (func(), error) { return func() {}, nil },
		})
		go func() {
			time.Sleep(20 * time.Second)
			f.setAway(false)
		}()
		if err := u.Once(t.Context()); err != nil {
			t.Error(err)
		}
		same(t, f.made(), "create "+net, "enable "+net)
		f.change(net, func(p *bundle.Installed) { p.Enabled = false }, false)
		f.refuse["enable "+net] = "it died"
		begun := time.Now()
		if err := u.Once(t.Context()); err == nil || !strings.Contains(err.Error(), "it died") {
			t.Errorf("got %v", err)
		}
		same(t, f.made(), "enable "+net, "enable "+net, "enable "+net)
		if took := time.Since(begun); took > time.Minute {
			t.Errorf("a refusal was waited on for %s", took)
		}
		f.refuse["enable "+net] = ""
		short, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		f.setAway(true)
		if err := u.Once(short); !errors.Is(err, errAway) {
			t.Errorf("an engine that stays away gave %v", err)
		}
	})
}

func TestAPluginInUseWaitsAndIsReadyMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const log = "rolling/log:latest"
		f := newFake()
		f.used = true
		f.plugins[log] = bundle.Installed{Present: true, Enabled: true, Build: "b0", Frame: "f0"}
		u := New(Parts{
			Engine: f, Every: 10 * time.Second, Now: time.Now, Log: slog.New(slog.DiscardHandler),
			Wants: []bundle.Want{{Bundle: bundle.Bundle{Alias: log, Build: "b1", Frame: "f1"}}},
			Alone: func(context.Context) (func(), error) { return func() {}, nil },
		})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- u.Run(ctx) }()
		time.Sleep(50 * time.Second)
		synctest.Wait()
		ready(t, u, true, "while a container uses it")
		if p := u.State().Plugins[0]; !strings.Contains(p.Waits, "f0 is installed, f1 is wanted") || p.Failed != 0 {
			t.Errorf("it stands at %+v", p)
		}
		same(t, f.made(), "rehearse "+log, "retire "+log)
		f.mu.Lock()
		f.used = false
		f.mu.Unlock()
		time.Sleep(30 * time.Second)
		synctest.Wait()
		same(t, f.made(), "rehearse "+log, "retire "+log, "lay "+log, "create "+log, "enable "+log, "await "+log)
		if p := u.State().Plugins[0]; p.Waits != "" || !p.Ready || p.Installed.Frame != "f1" {
			t.Errorf("with nobody using it, it stands at %+v", p)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
