package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// asPlugin makes the test's own binary the plugin: what is killed is the real program.
const asPlugin = "ROLLING_TEST_AS_PLUGIN"

func TestMain(m *testing.M) {
	if os.Getenv(asPlugin) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// process is a plugin that runs.
type process struct {
	t      *testing.T
	folder string
	cmd    *exec.Cmd
	log    words
	client *http.Client
}

// words is what a process said, read while it goes on.
type words struct {
	mu   sync.Mutex // guards said
	said bytes.Buffer
}

func (w *words) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.said.Write(b)
}

func (w *words) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.said.String()
}

func start(t *testing.T, folder string, env ...string) *process {
	t.Helper()
	p := &process{t: t, folder: folder, client: over(filepath.Join(folder, "p", "ipam.sock"))}
	p.cmd = exec.Command(os.Args[0])
	p.cmd.Env = append(append(os.Environ(), asPlugin+"=1", "ROLLING_SOCKET="+filepath.Join(folder, "p", "ipam.sock"),
		"ROLLING_STATE="+filepath.Join(folder, "s"), "ROLLING_ENGINE=none"), env...)
	p.cmd.Stderr = &p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	return p
}

func over(socket string) *http.Client {
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
}

func (p *process) kill() {
	if p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	}
}

// call repeats what got no reply, as the engine does.
func (p *process) call(name string, body map[string]any) (map[string]any, error) {
	b, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	var last error
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		resp, err := p.client.Post("http://plugin/IpamDriver."+name, "application/json", bytes.NewReader(b))
		if err != nil {
			last = err
			continue
		}
		text, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			last = err
			continue
		}
		a := map[string]any{}
		if err := json.Unmarshal(text, &a); err != nil {
			return nil, err
		}
		if s, _ := a["Err"].(string); s != "" {
			return nil, errors.New(s)
		}
		return a, nil
	}
	return nil, last
}

func (p *process) must(name string, body map[string]any) map[string]any {
	p.t.Helper()
	a, err := p.call(name, body)
	if err != nil {
		p.t.Fatalf("%s: %v\n%s", name, err, p.log.String())
	}
	return a
}

func (p *process) address(key, named string) (string, error) {
	a, err := p.call("RequestAddress", map[string]any{"PoolID": key, "Address": named})
	s, _ := a["Address"].(string)
	return s, err
}

func (p *process) page(path string) string {
	p.t.Helper()
	resp, err := over(filepath.Join(p.folder, "s", "ipam.sock")).Get("http://plugin" + path)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return string(b)
}

func network(subnet string) map[string]any {
	return map[string]any{"AddressSpace": "rolling.global", "Pool": subnet, "Options": map[string]string{"rolling.project": "orders"}}
}

func TestAKilledPluginFindsItsStateAgain(t *testing.T) {
	folder := t.TempDir()
	p := start(t, folder)
	made := p.must("RequestPool", network("10.201.0.0/24"))
	key := made["PoolID"].(string)
	for i := range 20 {
		if a, err := p.address(key, ""); err != nil || a != fmt.Sprintf("10.201.0.%d/32", i) {
			t.Fatalf("address %d: %s %v", i, a, err)
		}
	}
	p.must("ReleaseAddress", map[string]any{"PoolID": key, "Address": "10.201.0.3"})
	p.kill()
	p = start(t, folder)
	if a, err := p.address(key, ""); err != nil || a != "10.201.0.20/32" {
		t.Fatalf("after the kill: %s %v", a, err)
	}
	if a, err := p.address(key, "10.201.0.19"); err == nil {
		t.Fatalf("an address that was chosen for somebody was given to another: %s", a)
	}
	again := p.must("RequestPool", map[string]any{"AddressSpace": "rolling.global", "Pool": "10.202.0.0/24"})
	if got := fmt.Sprint(again["Data"]); got != "map[com.docker.network.gateway:169.254.1.2/32]" {
		t.Fatalf("the gateway of the first network was forgotten: %s", got)
	}
	for _, want := range []string{`"state": "resting"`, `"ready": true`, `"address": "10.201.0.19"`} {
		if text := p.page("/debug/state"); !strings.Contains(text, want) {
			t.Errorf("state lacks %s: %s", want, text)
		}
	}
}

// TestKillsInMidCallLoseNoAddressThatWasTold kills the plugin at any moment while calls run. What was told is never told
// again to somebody else.
func TestKillsInMidCallLoseNoAddressThatWasTold(t *testing.T) {
	folder := t.TempDir()
	rounds := 8
	if testing.Short() {
		rounds = 3
	}
	p := start(t, folder)
	key := p.must("RequestPool", network("10.201.0.0/16"))["PoolID"].(string)
	told := map[string]bool{}
	r := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	for round := range rounds {
		killed := make(chan struct{})
		go func(p *process, after time.Duration) {
			time.Sleep(after)
			_ = p.cmd.Process.Signal(syscall.SIGKILL)
			_ = p.cmd.Wait()
			close(killed)
		}(p, time.Duration(r.IntN(60_000))*time.Microsecond)
		next := make(chan *process, 1)
		go func() {
			<-killed
			next <- start(t, folder)
		}()
		for i := 0; ; i++ {
			a, err := p.address(key, "")
			if err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
			if told[a] {
				t.Fatalf("round %d: %s was told twice", round, a)
			}
			told[a] = true
			if len(next) == 1 && i%8 == 7 {
				break
			}
		}
		p = <-next
	}
	text := p.page("/debug/state")
	for a := range told {
		if !strings.Contains(text, `"`+strings.TrimSuffix(a, "/32")+`"`) {
			t.Fatalf("%s was told and is not in the ledger", a)
		}
	}
	if strings.Contains(text, "torn") {
		t.Fatalf("a ledger was set aside: %s", text)
	}
	t.Logf("%d addresses over %d kills", len(told), rounds)
}

func TestATornLedgerIsSaidAndNothingIsHandedOutBlindly(t *testing.T) {
	folder := t.TempDir()
	p := start(t, folder)
	key := p.must("RequestPool", network("10.201.0.0/24"))["PoolID"].(string)
	if _, err := p.address(key, ""); err != nil {
		t.Fatal(err)
	}
	p.kill()
	path := filepath.Join(folder, "s", "ledger.db")
	if err := os.WriteFile(path, []byte("torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	p = start(t, folder)
	if a, err := p.address(key, ""); err == nil || !strings.Contains(err.Error(), "try again in some seconds") {
		t.Fatalf("got %s, %v", a, err)
	}
	if a, err := p.address(key, "10.201.0.0"); err != nil || a != "10.201.0.0/32" {
		t.Fatalf("a named address: %s, %v", a, err)
	}
	text := p.page("/debug/state")
	for _, want := range []string{"ledger.db.torn-", `"blind": true`, `"cause": "ledger ` + path} {
		if !strings.Contains(text, want) {
			t.Errorf("state lacks %s: %s", want, text)
		}
	}
	if !strings.Contains(p.log.String(), "set aside") {
		t.Errorf("log: %s", p.log.String())
	}
	// a new leader's replay tells what is in use
	p.must("GetCapabilities", nil)
	p.must("RequestPool", network("10.201.0.0/24"))
	p.must("RequestAddress", map[string]any{"PoolID": key, "Address": "169.254.1.1", "Options": map[string]string{"RequestAddressType": "com.docker.network.gateway"}})
	if a, err := p.address(key, "10.201.0.0"); err != nil || a != "10.201.0.0/32" {
		t.Fatalf("replay: %s, %v", a, err)
	}
	if a, err := p.address(key, ""); err != nil || a != "10.201.0.1/32" {
		t.Fatalf("after the replay: %s, %v", a, err)
	}
}

func TestASecondPluginSaysWhoHoldsTheLedgerAndTakesOverWhenItEnds(t *testing.T) {
	folder := t.TempDir()
	first := start(t, folder)
	key := first.must("RequestPool", network("10.201.0.0/24"))["PoolID"].(string)
	second := start(t, folder) // the same socket path, as in an upgrade
	begun := time.Now()
	for {
		_, err := second.address(key, "10.201.0.7")
		if err != nil && strings.Contains(err.Error(), "is in use by process "+fmt.Sprint(first.cmd.Process.Pid)) {
			break
		}
		if time.Since(begun) > 20*time.Second {
			t.Fatalf("got %v", err)
		}
	}
	if err := first.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := first.cmd.Wait(); err != nil {
		t.Fatalf("it did not end well: %v\n%s", err, first.log.String())
	}
	begun = time.Now()
	for {
		a, err := second.address(key, "10.201.0.7")
		if err == nil && a == "10.201.0.7/32" {
			return
		}
		if time.Since(begun) > 20*time.Second {
			t.Fatalf("got %s, %v\n%s", a, err, second.log.String())
		}
	}
}

func TestABadSettingEndsTheProcessWithAReason(t *testing.T) {
	p := start(t, t.TempDir(), "ROLLING_REST=-1s")
	err := p.cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(p.log.String(), "ROLLING_REST: -1s") {
		t.Fatalf("%v: %s", err, p.log.String())
	}
}
