//go:build lab

package zookeeper

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/rolling-swarm/rolling/agent/member"
	"github.com/rolling-swarm/rolling/lab/parts"
	"github.com/rolling-swarm/rolling/lab/parts/alone"
)

func startServer(t *testing.T) *alone.Part {
	t.Helper()
	p := alone.New(t, "zookeeper")
	p.Start()
	return p
}

// client is a connection of the test's own, as another user of the same ZooKeeper has one.
func client(t *testing.T, p *alone.Part) *zk.Conn {
	t.Helper()
	c, _, err := zk.Connect([]string{parts.ZooKeeperAddress(p.Site)}, 4*time.Second, zk.WithLogger(quiet{quietLog()}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// read lists the members' records, "" for what cannot be read yet.
func read(c *zk.Conn, path string) []string {
	names, _, err := c.Children(path)
	if err != nil {
		return []string{err.Error()}
	}
	var all []string
	for _, n := range names {
		data, _, err := c.Get(path + "/" + n)
		if err != nil {
			return []string{err.Error()}
		}
		all = append(all, string(data))
	}
	return all
}

func run(t *testing.T, p *alone.Part, auth string) *Register {
	t.Helper()
	r, err := New([]string{parts.ZooKeeperAddress(p.Site)}, auth, quietLog())
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = r.Run(t.Context()) }()
	t.Cleanup(func() { <-done })
	return r
}

func now(d member.Decision) member.Decision { d.At = time.Now(); return d }

func TestRealTree(t *testing.T) {
	p := startServer(t)
	for _, auth := range []string{"", "rolling:secret"} {
		tree, err := connect(t.Context(), []string{parts.ZooKeeperAddress(p.Site)}, auth, quietLog())
		if err != nil {
			t.Fatal(err)
		}
		testTree(t, tree)
		tree.Close()
		c := client(t, p)
		names, _, _ := c.Children("/t")
		denied := false
		for _, n := range append(names, "") {
			err := c.Delete(strings.TrimSuffix("/t/"+n, "/"), -1)
			denied = denied || errors.Is(err, zk.ErrNoAuth)
		}
		if denied != (auth != "") {
			t.Errorf("with the credentials %q, a stranger was denied: %v", auth, denied)
		}
	}
}

func TestRealMembersLiveThroughFaults(t *testing.T) {
	p := alone.New(t, "zookeeper") // away at the start
	r := run(t, p, "")
	d := now(wanted("10.0.0.1", "10.0.0.2"))
	r.Set(d)
	eventually(t, "its absence is seen", func() bool { return r.Standing()[0].Error != "" })
	p.Start()
	c := client(t, p)
	eventually(t, "members", func() bool { return hosts(read(c, ordersPath)) == "10.0.0.1 10.0.0.2" })

	foreign := `{"serviceEndpoint":{"host":"10.9.9.9","port":1},"additionalEndpoints":{},"status":"ALIVE"}`
	if _, err := c.Create(ordersPath+"/member_", []byte(foreign), zk.FlagEphemeral|zk.FlagSequence, zk.WorldACL(zk.PermAll)); err != nil {
		t.Fatal(err)
	}
	p.Kill()
	r.Set(now(wanted("10.0.0.2", "10.0.0.3"))) // decided while it is away
	p.Start()
	eventually(t, "the newest members, and the foreign one", func() bool {
		return hosts(read(c, ordersPath)) == "10.0.0.2 10.0.0.3 10.9.9.9"
	})

	names, _, err := c.Children(ordersPath)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names { // somebody clears our nodes
		if data, _, _ := c.Get(ordersPath + "/" + n); ours(string(data), "s1") {
			if err := c.Delete(ordersPath+"/"+n, -1); err != nil {
				t.Fatal(err)
			}
		}
	}
	eventually(t, "they are made again", func() bool { return hosts(read(c, ordersPath)) == "10.0.0.2 10.0.0.3 10.9.9.9" })

	gone := now(wanted())
	gone.Paths = nil
	r.Set(gone)
	eventually(t, "only the foreign one is left", func() bool { return hosts(read(c, ordersPath)) == "10.9.9.9" })
}

func TestRealWriteLatency(t *testing.T) {
	p := startServer(t)
	tree, err := connect(t.Context(), []string{parts.ZooKeeperAddress(p.Site)}, "", quietLog())
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	var a agent
	for _, count := range []int{3, 300} {
		var all []string
		for i := range count {
			all = append(all, fmt.Sprintf("10.0.%d.%d", i/250, i%250+1))
		}
		before := time.Now()
		if err := a.follow(tree, wanted(all...), time.Now()); err != nil {
			t.Fatal(err)
		}
		first := time.Since(before)
		before = time.Now()
		if err := a.follow(tree, wanted(all[1:]...), time.Now()); err != nil {
			t.Fatal(err)
		}
		t.Logf("%d members: all joined in %v, the next change (shards moved: all anew) took %v", count, first, time.Since(before))
		before = time.Now()
		if err := reconcile(tree, &a.turn, wanted(all[1:]...), time.Now()); err != nil {
			t.Fatal(err)
		}
		t.Logf("%d members: a look at a set in step took %v", count, time.Since(before))
		if err := a.follow(tree, wanted(), time.Now()); err != nil {
			t.Fatal(err)
		}
	}
}

// probe is the lines of a running finagle client.
type probe struct {
	mu    sync.Mutex
	last  map[string]time.Time // guarded by mu: when a body was last seen
	first map[string]time.Time // guarded by mu
	bad   []string             // guarded by mu: failures after the first success
	good  int                  // guarded by mu
}

func startProbe(t *testing.T, destination string) *probe {
	t.Helper()
	alone.Install(t, parts.FinaglePackages()...)
	program, err := parts.Finagle(t.Context(), alone.Cache(t))
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(program.Path, append(program.Args, destination, "300", "10")...)
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = command.Process.Signal(os.Kill); _ = command.Wait() })
	p := &probe{last: map[string]time.Time{}, first: map[string]time.Time{}}
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			p.take(lines.Text())
		}
	}()
	return p
}

func (p *probe) take(line string) {
	ms, body, _ := strings.Cut(line, " ")
	at, _ := strconv.ParseInt(ms, 10, 64)
	p.mu.Lock()
	defer p.mu.Unlock()
	if strings.HasPrefix(body, "ERR") {
		if p.good > 0 {
			p.bad = append(p.bad, line)
		}
		return
	}
	p.good++
	if p.first[body].IsZero() {
		p.first[body] = time.UnixMilli(at)
	}
	p.last[body] = time.UnixMilli(at)
}

func (p *probe) seen(body string) (first, last time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.first[body], p.last[body]
}

// service is an endpoint that answers with its port.
func service(t *testing.T, shard int) (member.Instance, string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, strconv.Itoa(port)) })}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return member.Instance{Host: "127.0.0.1", Port: uint16(port), Shard: &shard,
		Metadata: map[string]string{"rolling.project": "orders", "rolling.service": "orders_web", "rolling.release": "r1"}}, strconv.Itoa(port)
}

// TestRealFinagle lets a finagle client read our ServerSet while members come and go.
func TestRealFinagle(t *testing.T) { finagleFollows(t, "zk") }

func finagleFollows(t *testing.T, resolver string) {
	t.Helper()
	p := startServer(t)
	r := run(t, p, "rolling:secret") // finagle has no credentials, and must be able to read all the same
	one, bodyOne := service(t, 0)
	two, bodyTwo := service(t, 1)
	three, bodyThree := service(t, 2)
	set := func(members ...member.Instance) {
		d := now(wanted())
		d.Paths = map[string][]member.Instance{ordersPath: members}
		r.Set(d)
		eventually(t, "in step", func() bool { s := r.Standing()[0]; return s.InStep && s.Version >= d.At.UnixMicro() })
	}
	set(one, two)
	probe := startProbe(t, resolver+"!"+parts.ZooKeeperAddress(p.Site)+"!"+ordersPath)
	for _, body := range []string{bodyOne, bodyTwo} {
		eventually(t, "requests to "+body, func() bool { first, _ := probe.seen(body); return !first.IsZero() })
	}
	joined := time.Now()
	set(one, two, three)
	eventually(t, "requests to the third", func() bool { first, _ := probe.seen(bodyThree); return !first.IsZero() })
	first, _ := probe.seen(bodyThree)
	left := time.Now()
	set(two, three)
	eventually(t, "no requests to the first for 3 s", func() bool {
		_, last := probe.seen(bodyOne)
		return time.Since(last) > 3*time.Second && time.Since(left) > 5*time.Second
	})
	_, last := probe.seen(bodyOne)
	probe.mu.Lock()
	defer probe.mu.Unlock()
	t.Logf("%s: joined → first request %v, left → last request %v, %d good, %d bad", resolver, first.Sub(joined), last.Sub(left), probe.good, len(probe.bad))
	if len(probe.bad) > 0 || probe.good < 100 {
		t.Errorf("%d good; bad: %v", probe.good, probe.bad)
	}
}

// TestRealTwoAgentsDoNotFight lets a deposed leader and the new one work on one ZooKeeper.
func TestRealTwoAgentsDoNotFight(t *testing.T) {
	p := startServer(t)
	old, young := run(t, p, ""), run(t, p, "")
	d := wanted("10.0.0.1")
	d.At = time.Now().Add(-time.Minute)
	old.Set(d)
	eventually(t, "the old one's members", func() bool { return old.Standing()[0].InStep })
	e := now(wanted("10.0.0.2"))
	e.By = "n2"
	young.Set(e)
	eventually(t, "the young one's members", func() bool { return young.Standing()[0].InStep })
	old.set(&d) // the same decision once more, as after a lost connection
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	c := client(t, p)
	for ctx.Err() == nil {
		if got := hosts(read(c, ordersPath)); got != "10.0.0.2" {
			t.Fatalf("got %q", got)
		}
		time.Sleep(50 * time.Millisecond)
	}
	if s := old.Standing()[0]; s.InStep || !strings.Contains(s.Error, "agent of n2") {
		t.Errorf("the old one says %+v", s)
	}
}
