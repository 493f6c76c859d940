package driver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/internal/allotment"
	"github.com/rolling-swarm/rolling/internal/socket"
	"github.com/rolling-swarm/rolling/ipam-driver/ledger"
	"github.com/rolling-swarm/rolling/ipam-driver/pool"
)

// rig is a driver behind real sockets, with a ledger in memory and a clock that tests move.
type rig struct {
	t      *testing.T
	driver *Driver
	ledger *ledger.Memory
	eyes   *fakeEyes
	engine *http.Client
	desk   *http.Client
	mu     sync.Mutex // guards now
	now    time.Time
}

func (r *rig) clock() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now
}

func (r *rig) pass(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = r.now.Add(d)
}

// fakeEyes show what the test says is in use.
type fakeEyes struct {
	mu    sync.Mutex // guards all below
	leads bool
	err   error
	view  pool.View
	here  pool.View
	plans []allotment.Copy
	hang  bool // an engine that takes questions and does not answer them
	asked int
	clock func() time.Time
}

func (e *fakeEyes) set(f func(*fakeEyes)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f(e)
}

func (e *fakeEyes) Leads(ctx context.Context) (bool, error) {
	e.mu.Lock()
	hang := e.hang
	e.mu.Unlock()
	if hang {
		<-ctx.Done()
		return false, ctx.Err()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.leads, e.err
}

func (e *fakeEyes) Look(context.Context) (pool.View, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.asked++
	v := e.view
	v.Space, v.Began = pool.Global, e.clock()
	return v, e.err
}

func (e *fakeEyes) Here(context.Context) (pool.View, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	v := e.here
	v.Space, v.Began = pool.Local, e.clock()
	return v, e.err
}

func (e *fakeEyes) Settled(context.Context) ([]allotment.Copy, bool, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.plans, e.plans != nil, e.err
}

func over(socket string) *http.Client {
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
}

func newRig(t *testing.T, change ...func(*Parts)) *rig {
	t.Helper()
	r := &rig{t: t, ledger: ledger.NewMemory(), now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	r.eyes = &fakeEyes{clock: r.clock}
	parts := Parts{
		Open:  func() (Opened, error) { return Opened{Ledger: r.ledger, Book: pool.New(pool.DefaultPolicy())}, nil },
		Aside: func() []string { return nil },
		Eyes:  r.eyes, Clock: r.clock, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Build: "b1",
	}
	for _, f := range change {
		f(&parts)
	}
	r.driver = New(parts)
	r.driver.deafUntil = time.Now().Add(time.Hour) // but for tests of that, no call waits for a view
	folder := t.TempDir()
	r.engine, r.desk = over(filepath.Join(folder, "p", "ipam.sock")), over(filepath.Join(folder, "s", "ipam.sock"))
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	for path, mux := range map[string]http.Handler{"p": r.driver.Mux(), "s": r.driver.Desk()} {
		l, err := socket.Listen(filepath.Join(folder, path, "ipam.sock"))
		if err != nil {
			t.Fatal(err)
		}
		group.Go(func() {
			if err := Serve(ctx, l, mux); err != nil {
				t.Error(err)
			}
		})
	}
	group.Go(func() {
		if err := r.driver.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		r.engine.CloseIdleConnections()
		r.desk.CloseIdleConnections()
		cancel()
		group.Wait()
	})
	return r
}

// answer is what came back: the body's fields, or the Err in them.
type answer map[string]any

func (a answer) err() string { s, _ := a["Err"].(string); return s }

func (r *rig) raw(path string, body []byte) (answer, int) {
	r.t.Helper()
	resp, err := r.engine.Post("http://plugin"+path, "application/json", bytes.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	a := answer{}
	if err := json.NewDecoder(resp.Body).Decode(&a); err != nil {
		r.t.Fatalf("%s: %v", path, err)
	}
	if want := "application/vnd.docker.plugins.v1.1+json"; resp.Header.Get("Content-Type") != want {
		r.t.Fatalf("%s: content type %q", path, resp.Header.Get("Content-Type"))
	}
	return a, resp.StatusCode
}

func (r *rig) call(name string, body map[string]any) answer {
	r.t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		r.t.Fatal(err)
	}
	a, status := r.raw("/IpamDriver."+name, b)
	if (a.err() != "") != (status != http.StatusOK) {
		r.t.Fatalf("%s: status %d with %v", name, status, a)
	}
	return a
}

func (r *rig) pool(space, subnet string, options map[string]string) string {
	r.t.Helper()
	a := r.call("RequestPool", map[string]any{"AddressSpace": space, "Pool": subnet, "SubPool": "", "Options": options, "V6": false})
	if a.err() != "" {
		r.t.Fatal(a.err())
	}
	return a["PoolID"].(string)
}

func (r *rig) address(key, named string) answer {
	r.t.Helper()
	return r.call("RequestAddress", map[string]any{"PoolID": key, "Address": named, "Options": nil})
}

func (r *rig) gets(key, named, want string) {
	r.t.Helper()
	if a := r.address(key, named); a["Address"] != want {
		r.t.Fatalf("asked %q of %s: got %v, want %s", named, key, a, want)
	}
}

func (r *rig) release(key, addr string) answer {
	r.t.Helper()
	return r.call("ReleaseAddress", map[string]any{"PoolID": key, "Address": addr})
}

func (r *rig) page(path string) (string, int) {
	r.t.Helper()
	resp, err := r.desk.Get("http://plugin" + path)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return string(b), resp.StatusCode
}

// eventually polls: the driver asks the engine in the background.
func (r *rig) eventually(what string, f func() error) {
	r.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func holds(text string, parts ...string) error {
	for _, p := range parts {
		if !strings.Contains(text, p) {
			return errors.New("lacks " + p + " in " + text)
		}
	}
	return nil
}
