//go:build lab

package nginx

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/agent/member"
	"github.com/rolling-swarm/rolling/lab/parts"
	"github.com/rolling-swarm/rolling/lab/parts/alone"
)

// backend is a member that answers with its port and remembers when it was last asked.
type backend struct {
	member.Peer
	server *http.Server
	last   atomic.Int64 // nanoseconds since 1970
	hits   atomic.Int64
}

func startBackend(t *testing.T) *backend {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &backend{Peer: member.Peer{Host: "127.0.0.1", Port: uint16(listener.Addr().(*net.TCPAddr).Port), Weight: 10}}
	b.server = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		b.last.Store(time.Now().UnixNano())
		b.hits.Add(1)
		_, _ = fmt.Fprintln(w, b.Port)
	})}
	go func() { _ = b.server.Serve(listener) }()
	t.Cleanup(func() { _ = b.server.Close() })
	return b
}

func peers(of ...*backend) []member.Peer {
	var all []member.Peer
	for _, b := range of {
		all = append(all, b.Peer)
	}
	return all
}

// get asks nginx for the upstream "orders".
func get(n *alone.Part) (int, string, error) {
	request, err := http.NewRequest(http.MethodGet, "http://"+n.Site.Router.String()+"/", nil)
	if err != nil {
		return 0, "", err
	}
	request.Host = "orders"
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	return response.StatusCode, strings.TrimSpace(string(body)), err
}

func startNginx(t *testing.T) *alone.Part {
	t.Helper()
	n := alone.New(t, "nginx")
	n.Start()
	return n
}

// load sends requests by several clients until stop is called, which answers how many there were and which went wrong.
func load(n *alone.Part, clients int) (stop func() (int, []string)) {
	var wg sync.WaitGroup
	var total atomic.Int64
	var mu sync.Mutex
	var bad []string
	ctx, cancel := context.WithCancel(context.Background())
	for range clients {
		wg.Go(func() {
			for ctx.Err() == nil {
				status, body, err := get(n)
				total.Add(1)
				if status != http.StatusOK {
					mu.Lock()
					bad = append(bad, fmt.Sprintf("%d %.80s %v", status, body, err))
					mu.Unlock()
				}
			}
		})
	}
	return func() (int, []string) { cancel(); wg.Wait(); return int(total.Load()), bad }
}

func TestRealSwapsUnderLoadHarmNoRequest(t *testing.T) {
	n := startNginx(t)
	a, b, c := startBackend(t), startBackend(t), startBackend(t)
	f := start(t, parts.NginxToken, parts.NginxDoor(n.Site))
	f.Set(decision("n1", peers(a, b)...))
	eventually(t, "the first push", inStep(f))
	stop := load(n, 4)
	var took []time.Duration
	var latest time.Duration
	for i := range 100 {
		in, out := peers(a, b), c
		if i%2 == 0 {
			in, out = peers(b, c), a
		}
		before := time.Now()
		writes := f.Standing()[0].Writes
		f.Set(decision("n1", in...))
		eventually(t, "a push", func() bool { return f.Standing()[0].Writes > writes })
		done := time.Now()
		took = append(took, done.Sub(before))
		time.Sleep(20 * time.Millisecond)
		latest = max(latest, time.Unix(0, out.last.Load()).Sub(done))
	}
	total, bad := stop()
	slices.Sort(took)
	t.Logf("%d requests, %d bad; push p50 %v (looked at every 10 ms), last request to a removed member %v after the push",
		total, len(bad), took[len(took)/2], latest)
	if len(bad) > 0 || total < 500 {
		t.Errorf("%d of %d requests went wrong: %v", len(bad), total, bad[:min(5, len(bad))])
	}
	if latest > time.Second {
		t.Errorf("a removed member was still asked %v after the push", latest)
	}
}

func TestRealPushLatency(t *testing.T) {
	n := startNginx(t)
	target := newTarget(place{name: "n", url: parts.NginxDoor(n.Site) + doorPath}, parts.NginxToken, quiet())
	for _, count := range []int{3, 300, 5000} {
		var set []member.Peer
		for i := range count {
			set = append(set, member.Peer{Host: fmt.Sprintf("10.0.%d.%d", i/250, i%250+1), Port: 8080, Weight: 10})
		}
		var took []time.Duration
		for range 50 {
			d := decision("n1", set...)
			target.set(&d)
			before := time.Now()
			if err := target.step(t.Context()); err != nil {
				t.Fatal(err)
			}
			took = append(took, time.Since(before))
		}
		slices.Sort(took)
		t.Logf("push of %d members: p50 %v, p98 %v", count, took[25], took[48])
	}
}

func TestRealRestartServesTheDump(t *testing.T) {
	n := startNginx(t)
	a := startBackend(t)
	f := start(t, parts.NginxToken, parts.NginxDoor(n.Site))
	f.Set(decision("n1", a.Peer))
	eventually(t, "the push", inStep(f))
	stamp := f.Standing()[0].Version
	dump := n.Read("upstreams.json")

	n.Kill()
	eventually(t, "its absence is seen", func() bool { return !f.Standing()[0].InStep })
	n.Start()
	if status, body, err := get(n); status != http.StatusOK || body != fmt.Sprint(a.Port) {
		t.Errorf("after kill -9 and a start: %d %q %v", status, body, err)
	}
	if _, _, version := ask(t, n, http.MethodHead, parts.NginxToken, ""); version != fmt.Sprint(stamp) {
		t.Errorf("version %s, want %d", version, stamp)
	}
	if status, _, _ := ask(t, n, http.MethodPut, parts.NginxToken, dump); status != http.StatusConflict {
		t.Errorf("the same version again: %d", status)
	}
	eventually(t, "in step", inStep(f))

	n.Stop() // and now with a dump older than what is wanted
	old := `{"version":7,"by":"n9","upstreams":{"orders":[{"host":"127.0.0.1","port":1,"weight":10}]}}`
	if err := os.WriteFile(filepath.Join(n.Site.Folder, "upstreams.json"), []byte(old), 0o644); err != nil {
		t.Fatal(err)
	}
	n.Start()
	eventually(t, "the newest set is back", func() bool { _, body, _ := get(n); return body == fmt.Sprint(a.Port) })
}

func TestRealDumpThatIsDamagedIsLeftAlone(t *testing.T) {
	n := startNginx(t)
	n.Stop()
	if err := os.WriteFile(filepath.Join(n.Site.Folder, "upstreams.json"), []byte(`{"version":7,"by":"n9","upstr`), 0o644); err != nil {
		t.Fatal(err)
	}
	n.Start()
	if status, _, _ := get(n); status != http.StatusServiceUnavailable {
		t.Errorf("got %d, want 503", status)
	}
	if !strings.Contains(n.Read("error.log"), "no dump of ours") {
		t.Error("the error log does not say why there are no members")
	}
}

func TestRealReloadUnderLoadHarmsNoRequest(t *testing.T) {
	n := startNginx(t)
	f := start(t, parts.NginxToken, parts.NginxDoor(n.Site))
	f.Set(decision("n1", peers(startBackend(t), startBackend(t))...))
	eventually(t, "the push", inStep(f))
	stop := load(n, 2)
	for range 3 {
		if err := syscall.Kill(n.Pid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		time.Sleep(300 * time.Millisecond)
	}
	if total, bad := stop(); len(bad) > 0 || total < 100 {
		t.Errorf("%d of %d went wrong: %v", len(bad), total, bad[:min(5, len(bad))])
	}
	if !f.Standing()[0].InStep {
		t.Errorf("%+v", f.Standing()[0])
	}
}

func TestRealPicksByWeightAndPassesBadPeersBy(t *testing.T) {
	n := startNginx(t)
	heavy, light, never := startBackend(t), startBackend(t), startBackend(t)
	light.Weight, never.Weight = 1, 0
	dead := startBackend(t)
	_ = dead.server.Close()
	f := start(t, parts.NginxToken, parts.NginxDoor(n.Site))

	f.Set(decision("n1", peers(heavy, light, never)...))
	eventually(t, "the push", inStep(f))
	for range 1100 {
		if status, _, err := get(n); status != http.StatusOK {
			t.Fatal(status, err)
		}
	}
	// 1100 draws of 1/11: 100 on average, standard deviation 9.5.
	if got := light.hits.Load(); got < 50 || got > 160 || never.hits.Load() != 0 {
		t.Errorf("weights 10, 1, 0 got %d, %d, %d requests", heavy.hits.Load(), got, never.hits.Load())
	}

	f.Set(decision("n1", peers(heavy, light, dead)...))
	eventually(t, "the second push", func() bool { return f.Standing()[0].Writes == 2 })
	for range 1000 {
		if status, _, err := get(n); status != http.StatusOK {
			t.Fatalf("with a dead peer: %d %v", status, err)
		}
	}
	tries := strings.Count(n.Read("error.log"), "connect() failed")
	t.Logf("1000 requests, a dead peer with half of the weight: %d tries of it", tries)
	if tries == 0 || tries > 100 {
		t.Errorf("the dead peer was tried %d times", tries)
	}
}

// silent is an address that answers no SYN, as a machine without power does: a listener whose queue is full.
func silent(t *testing.T) member.Peer {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	port := name.(*syscall.SockaddrInet4).Port
	for range 5 {
		conn, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), 300*time.Millisecond)
		if err != nil {
			return member.Peer{Host: "127.0.0.1", Port: uint16(port), Weight: 10}
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
	t.Fatal("the listener's queue does not fill")
	return member.Peer{}
}

func TestRealMemberWithoutPowerFailsNoRequest(t *testing.T) {
	n := startNginx(t)
	f := start(t, parts.NginxToken, parts.NginxDoor(n.Site))
	f.Set(decision("n1", append(peers(startBackend(t), startBackend(t)), silent(t))...))
	eventually(t, "the push", inStep(f))
	slow, longest := 0, time.Duration(0)
	begin := time.Now()
	total := 0
	for ; time.Since(begin) < 5*time.Second; total++ {
		before := time.Now()
		if status, _, err := get(n); status != http.StatusOK {
			t.Fatalf("%d %v", status, err)
		}
		took := time.Since(before)
		longest = max(longest, took)
		if took > 500*time.Millisecond {
			slow++
		}
	}
	t.Logf("%d requests one after the other in 5 s, none bad, %d took over 0.5 s, the longest %v", total, slow, longest)
	if slow > total/10 {
		t.Errorf("%d of %d requests waited for the dead member", slow, total)
	}
}

func TestRealNobodyIs503(t *testing.T) {
	n := startNginx(t)
	if status, _, _ := get(n); status != http.StatusServiceUnavailable {
		t.Errorf("before the first push: %d", status)
	}
	a := startBackend(t)
	f := start(t, parts.NginxToken, parts.NginxDoor(n.Site))
	f.Set(decision("n1", a.Peer))
	eventually(t, "members", func() bool { status, _, _ := get(n); return status == http.StatusOK })
	f.Set(decision("n1"))
	eventually(t, "nobody", func() bool { status, _, _ := get(n); return status == http.StatusServiceUnavailable })
}
