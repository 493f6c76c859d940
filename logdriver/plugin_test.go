package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sys/unix"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/logdriver/entry"
)

const asPlugin = "LOGDRIVER_TEST_AS_PLUGIN"

// TestMain lets the test's own program be the plugin, in a process of its own that can be killed.
func TestMain(m *testing.M) {
	if os.Getenv(asPlugin) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// host is a machine with the plugin on it.
type host struct {
	t      *testing.T
	folder string
	env    []string
	on     *exec.Cmd
}

func newHost(t *testing.T, brokers []string) *host {
	folder, err := os.MkdirTemp("", "log") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	h := &host{t: t, folder: folder, env: []string{
		asPlugin + "=1", "ROLLING_SOCKET=" + filepath.Join(folder, "p.sock"), "ROLLING_STATE=" + filepath.Join(folder, "s"),
		"ROLLING_PIPES=" + filepath.Join(folder, "pipes"), "ROLLING_KAFKA_BROKERS=" + strings.Join(brokers, ","), "ROLLING_KAFKA_PARTITIONS=1", "ROLLING_KAFKA_REPLICATION=1",
	}}
	if err := os.MkdirAll(filepath.Join(folder, "pipes"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.end(unix.SIGKILL) })
	return h
}

func (h *host) start() {
	h.t.Helper()
	h.on = exec.Command(os.Args[0])
	h.on.Env = h.env
	h.on.Stderr = h.t.Output()
	if err := h.on.Start(); err != nil {
		h.t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if text, err := h.ask("s/log.sock", "GET", "/healthz", ""); err == nil && text == "ok\n" {
			return
		}
		if time.Now().After(deadline) {
			h.t.Fatal("the plugin does not answer")
		}
	}
}

func (h *host) end(signal unix.Signal) {
	if h.on == nil {
		return
	}
	_ = unix.Kill(h.on.Process.Pid, signal)
	_ = h.on.Wait() // killed: an error by design
	h.on = nil
}

func (h *host) ask(socket, method, path, body string) (string, error) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(h.folder, socket))
	}}}
	req, err := http.NewRequest(method, "http://x"+path, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	return string(text), err
}

func (h *host) call(name, body string) string {
	h.t.Helper()
	text, err := h.ask("p.sock", "POST", "/LogDriver."+name, body)
	if err != nil {
		h.t.Fatal(err)
	}
	return text
}

// TestKilledFiveTimesUnderLoad: the container goes on, no line is missing, and only what was on its way at a kill may
// be there twice, with the number that it had.
func TestKilledFiveTimesUnderLoad(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	h := newHost(t, c.ListenAddrs())
	path := filepath.Join(h.folder, "pipes", "f")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	pipe, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = pipe.Close() }()
	h.start()
	info := fmt.Sprintf(`{"Config":{"topic":"t"},"ContainerID":"%s","ContainerName":"/x"}`, strings.Repeat("a", 64))
	if got := h.call("StartLogging", `{"File":"`+path+`","Info":`+info+`}`); got != "{\"Err\":\"\"}\n" {
		t.Fatalf("start: %s", got)
	}
	const lines, kills = 30_000, 5
	written := make(chan error, 1)
	go func() {
		for i := 1; i <= lines; i++ {
			if _, err := pipe.Write(entry.Append(nil, entry.Entry{Nanos: int64(i), Line: []byte("line " + strconv.Itoa(i))})); err != nil {
				written <- err
				return
			}
			if i%100 == 0 {
				time.Sleep(5 * time.Millisecond)
			}
		}
		written <- nil
	}()
	for range kills {
		time.Sleep(150 * time.Millisecond)
		h.end(unix.SIGKILL)
		h.start()
	}
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	if got := h.call("StopLogging", `{"File":"`+path+`"}`); got != "{\"Err\":\"\"}\n" {
		t.Fatalf("stop: %s", got)
	}
	lost, holes, twice := compare(t, c.ListenAddrs(), lines)
	t.Logf("%d lines, %d kills: %d lost, %d twice", lines, kills, lost, twice)
	// A kill in the microseconds between read(2) and write(2) costs that one read, and nothing else does.
	if holes > kills || lost > holes*(256<<10)/frameLeast {
		t.Errorf("%d lines are missing in %d places", lost, holes)
	}
	frames := h.call("ReadLogs", `{"Info":`+info+`,"Config":{"Tail":3}}`)
	var last []string
	for b := []byte(frames); len(b) > 0; {
		e, n, err := entry.Next(b)
		if err != nil {
			t.Fatal(err)
		}
		last, b = append(last, string(e.Line)), b[n:]
	}
	if got := strings.Join(last, ""); got != "line 29998\nline 29999\nline 30000\n" {
		t.Errorf("docker logs --tail 3 says %q", got)
	}
	begun := time.Now()
	h.end(unix.SIGTERM)
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("SIGTERM took %v; the engine kills after 10 s", took)
	}
}

// frameLeast is the size of the test's smallest frame.
const frameLeast = 20

// compare reads the topic until the last line is there: how many are missing, in how many places, and how many are
// there more than once.
func compare(t *testing.T, brokers []string, lines int) (lost, holes, twice int) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumeTopics("t"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	seen := map[string]string{}
	last := strconv.Itoa(lines)
	for deadline := time.Now().Add(60 * time.Second); seen["line "+last] == ""; {
		if time.Now().After(deadline) {
			t.Fatalf("line %d did not come; %d are there", lines, len(seen))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		client.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
			seq := ""
			for _, h := range r.Headers {
				if h.Key == contract.HeaderSeq {
					seq = string(h.Value)
				}
			}
			if was, there := seen[string(r.Value)]; there {
				twice++
				if was != seq {
					t.Errorf("%q has the numbers %s and %s", r.Value, was, seq)
				}
			}
			seen[string(r.Value)] = seq
		})
		cancel()
	}
	for i := 1; i <= lines; i++ {
		if seen["line "+strconv.Itoa(i)] == "" {
			lost++
			if seen["line "+strconv.Itoa(i-1)] != "" {
				holes++
			}
		}
	}
	return lost, holes, twice
}

func TestTheStatePageIsJSON(t *testing.T) {
	h := newHost(t, nil)
	h.start()
	text, err := h.ask("s/log.sock", "GET", "/debug/state", "")
	if err != nil {
		t.Fatal(err)
	}
	var state map[string]any
	if err := json.NewDecoder(bytes.NewBufferString(text)).Decode(&state); err != nil || state["carrier"] == nil || state["kafka"] == nil {
		t.Fatalf("got %s, %v", text, err)
	}
	if text, err := h.ask("s/log.sock", "GET", "/readyz", ""); err != nil || !strings.HasPrefix(text, "ready: no brokers are set") {
		t.Fatalf("got %s, %v", text, err)
	}
}
