package lab

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// The labs of tests bear these prefixes; a person's lab should not.
const (
	testPrefix   = "t-"
	sharedPrefix = "s-"
)

// upWithin covers a debootstrap on a slow mirror and a build from cold caches.
const upWithin = 25 * time.Minute

// Up makes a lab for one test, and takes it down when the test ends. If the test failed, the engines' logs are
// kept in build/lab-logs/TEST of the checkout.
func Up(t testing.TB, o Options) *Lab {
	t.Helper()
	sweepOrphans()
	if o.Name == "" {
		o.Name = fmt.Sprintf("%s%d-%d", testPrefix, os.Getpid(), count.next())
	}
	if o.Log == nil {
		o.Log = t.Logf
	}
	l := Open(o.Name)
	t.Cleanup(func() {
		l.Log = nil
		l.keepLogs(t)
		ctx, cancel := context.WithTimeout(context.Background(), 2*downWithin)
		defer cancel()
		if err := l.Down(ctx); err != nil {
			t.Error(err)
		}
	})
	if err := l.upForTest(o); err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *Lab) upForTest(o Options) error {
	ctx, cancel := context.WithTimeout(context.Background(), upWithin)
	defer cancel()
	self, err := processOf(os.Getpid())
	if err != nil {
		return err
	}
	return l.up(ctx, o, &self)
}

// counter numbers the labs of one process.
type counter struct {
	mu sync.Mutex // guards n
	n  int
}

func (c *counter) next() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	return c.n
}

// A test process has one set of labs; these two are its record of them.
var (
	count  counter
	common shared
)

type shared struct {
	mu  sync.Mutex // guards the rest, and is held while the lab is made
	lab *Lab
	err error
}

// Shared gives the lab that the tests of this process have in common: three managers with this checkout
// installed. It is for tests that do it no harm. TestMain has to call CloseShared at the end.
func Shared(t testing.TB) *Lab {
	t.Helper()
	common.mu.Lock()
	defer common.mu.Unlock()
	if common.lab == nil {
		sweepOrphans()
		common.lab = Open(fmt.Sprintf("%s%d", sharedPrefix, os.Getpid()))
		common.err = common.lab.upForTest(Options{Managers: 3, Install: true, Log: t.Logf})
		common.lab.Log = nil // t ends before the lab does
	}
	if common.err != nil {
		common.lab.keepLogs(t)
		t.Fatalf("shared lab: %v", common.err)
	}
	l := common.lab
	t.Cleanup(func() { l.keepLogs(t) })
	return l
}

// CloseShared takes the shared lab down, if a test has made it.
func CloseShared() error {
	common.mu.Lock()
	defer common.mu.Unlock()
	if common.lab == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*downWithin)
	defer cancel()
	err := common.lab.Down(ctx)
	common.lab, common.err = nil, nil
	return err
}

func (l *Lab) keepLogs(t testing.TB) {
	if !t.Failed() {
		return
	}
	root, err := Checkout()
	if err != nil {
		t.Log(err)
		return
	}
	folder := filepath.Join(root, "build", "lab-logs", strings.ReplaceAll(t.Name(), "/", "-"))
	if err := l.SaveLogs(folder); err != nil {
		t.Log(err)
		return
	}
	t.Logf("logs of the lab's nodes are kept in %s", folder)
}

// sweepOrphans takes down the labs of test processes that were killed before they could.
func sweepOrphans() {
	names, err := Names()
	if err != nil {
		return
	}
	for _, name := range names {
		l := Open(name)
		if r, err := l.readRecord(); err == nil && r.Owner != nil && !r.Owner.alive() {
			ctx, cancel := context.WithTimeout(context.Background(), downWithin)
			_ = l.Down(ctx) // the next test process tries again
			cancel()
		}
	}
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // read only
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		_ = out.Close()
		return err
	}
	return out.Close()
}
