//go:build lab

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/api/types/swarm"
	"github.com/moby/moby/client"

	"github.com/rolling-swarm/rolling/images"
	"github.com/rolling-swarm/rolling/lab"
)

// nextImage makes an agent's image whose plugins are the checkout's under another build, changed as the test wants, and
// loads it on every node. It returns the folder of the bundles in it.
func nextImage(ctx context.Context, t *testing.T, l *lab.Lab, tag string, change func(folder string)) string {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "plugins")
	copyAll(ctx, t, "build/plugins", folder)
	configs, err := filepath.Glob(filepath.Join(folder, "*", "config.json"))
	must(t, err)
	for _, c := range configs {
		rename(t, c, `"sha256:`, `"sha256:`+tag)
		rename(t, filepath.Join(filepath.Dir(c), "rootfs/etc/rolling/build"), "sha256:", "sha256:"+tag)
	}
	change(folder)
	image, err := images.Recipes(folder)["agent"](ctx, t.TempDir())
	must(t, err)
	image.Tag = "rolling/agent:" + tag
	tar := filepath.Join(t.TempDir(), "agent.tar")
	_, err = image.Save(tar)
	must(t, err)
	loadImage(ctx, t, l, tar)
	return folder
}

func rename(t *testing.T, file, from, to string) {
	t.Helper()
	text, err := os.ReadFile(file)
	must(t, err)
	changed := bytes.ReplaceAll(text, []byte(from), []byte(to))
	if bytes.Equal(changed, text) {
		t.Fatalf("%s: no %s in it", file, from)
	}
	must(t, os.WriteFile(file, changed, 0o644))
}

func loadImage(ctx context.Context, t *testing.T, l *lab.Lab, tar string) {
	t.Helper()
	for _, n := range l.Nodes() {
		to, err := l.Path(n, "/opt")
		must(t, err)
		copyAll(ctx, t, tar, filepath.Join(to, "image.tar"))
		_, err = l.Docker(ctx, n, "load", "-q", "-i", "/opt/image.tar")
		must(t, err)
	}
}

// deployed puts examples/orders on the lab's Swarm and gives its containers' addresses by node.
func deployed(t *testing.T, l *lab.Lab) map[string]netip.Addr {
	t.Helper()
	ctx := t.Context()
	loadImage(ctx, t, l, "build/images/orders.tar")
	stack, err := os.ReadFile("examples/orders/stack.yml")
	must(t, err)
	cmd := l.Command(ctx, "n1", "env", "ORDERS_IMAGE=orders/web:dev", "docker", "stack", "deploy", "--resolve-image", "never", "-c", "-", "orders")
	cmd.Stdin = bytes.NewReader(stack)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("deploy orders: %v\n%s", err, out)
	}
	var on map[string]netip.Addr
	must(t, l.Eventually(ctx, 90*time.Second, "orders on every node", func() (err error) {
		if on, err = addresses(ctx, l); err == nil && len(on) != 3 {
			err = fmt.Errorf("it runs at %v", on)
		}
		return err
	}))
	return on
}

func addresses(ctx context.Context, l *lab.Lab) (map[string]netip.Addr, error) {
	c, err := l.Client("n1")
	if err != nil {
		return nil, err
	}
	defer c.Close()
	nodes, err := c.NodeList(ctx, client.NodeListOptions{})
	if err != nil {
		return nil, err
	}
	names := map[string]string{}
	for _, n := range nodes.Items {
		names[n.ID] = n.Description.Hostname
	}
	tasks, err := c.TaskList(ctx, client.TaskListOptions{Filters: make(client.Filters).Add("service", "orders_web").Add("desired-state", "running")})
	if err != nil {
		return nil, err
	}
	on := map[string]netip.Addr{}
	for _, task := range tasks.Items {
		if task.Status.State == swarm.TaskStateRunning && len(task.NetworksAttachments) == 1 {
			on[names[task.NodeID]] = task.NetworksAttachments[0].Addresses[0].Addr()
		}
	}
	return on, nil
}

// asking has each container asked from another node, over and over, until it is stopped, and counts what was lost.
type asking struct {
	stop context.CancelFunc
	done sync.WaitGroup

	mu     sync.Mutex
	asked  int      // guarded by mu
	failed []string // guarded by mu
}

func ask(ctx context.Context, l *lab.Lab, on map[string]netip.Addr) *asking {
	ctx, stop := context.WithCancel(ctx)
	a := &asking{stop: stop}
	from := map[string]string{"n1": "n2", "n2": "n3", "n3": "n1"}
	for node, address := range on {
		c := http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: l.DialContext(from[node])}}
		a.done.Add(1)
		go func() {
			defer a.done.Done()
			for ctx.Err() == nil {
				resp, err := c.Get(fmt.Sprintf("http://%s:8080/", address))
				if err == nil {
					err = resp.Body.Close()
				}
				a.mu.Lock()
				a.asked++
				if err != nil {
					a.failed = append(a.failed, fmt.Sprintf("%s %s→%s: %v", time.Now().Format("15:04:05.000"), from[node], node, err))
				}
				a.mu.Unlock()
				time.Sleep(20 * time.Millisecond)
			}
		}()
	}
	return a
}

func (a *asking) end() (asked int, failed []string) {
	a.stop()
	a.done.Wait()
	return a.asked, a.failed
}

// update gives the agents another image and waits until Swarm says how that ended.
func update(ctx context.Context, t *testing.T, l *lab.Lab, image string, want swarm.UpdateState, flags ...string) {
	t.Helper()
	command := append([]string{"service", "update", "--detach", "--no-resolve-image", "--image", image}, flags...)
	_, err := l.Docker(ctx, "n1", append(command, "rolling_agent")...)
	must(t, err)
	must(t, l.Eventually(ctx, 5*time.Minute, "the update "+string(want), func() error {
		out, err := l.Docker(ctx, "n1", "service", "inspect", "--format", "{{json .UpdateStatus}}", "rolling_agent")
		if err != nil {
			return err
		}
		var got swarm.UpdateStatus
		if err := json.Unmarshal([]byte(out), &got); err != nil {
			return err
		}
		if got.State != want {
			return fmt.Errorf("it is %s: %s", got.State, got.Message)
		}
		return nil
	}))
}

func containers(ctx context.Context, t *testing.T, l *lab.Lab) string {
	t.Helper()
	all := ""
	for _, n := range l.Nodes() {
		out, err := l.Docker(ctx, n, "ps", "-q", "--no-trunc", "--filter", "label=com.docker.swarm.service.name=orders_web")
		must(t, err)
		all += n + " " + strings.TrimSpace(out) + "\n"
	}
	return all
}

func asOnAll(t *testing.T, l *lab.Lab, folder string) {
	t.Helper()
	for _, n := range l.Nodes() {
		must(t, asIn(t.Context(), l, n, folder))
	}
}

func TestAnUpgradeHarmsNoContainer(t *testing.T) {
	t.Parallel()
	l := lab.Up(t, lab.Options{Managers: 3, Install: true})
	ctx := t.Context()
	on := deployed(t, l)
	before := containers(ctx, t, l)

	next := nextImage(ctx, t, l, "aaaa", func(string) {})
	a := ask(ctx, l, on)
	begun := time.Now()
	update(ctx, t, l, "rolling/agent:aaaa", swarm.UpdateStateCompleted)
	took := time.Since(begun)
	asked, failed := a.end()
	t.Logf("three nodes upgraded in %.1f s; %d requests from node to node, %d failed", took.Seconds(), asked, len(failed))
	asOnAll(t, l, next)
	if len(failed) > 0 {
		t.Errorf("an upgrade cost %d of %d requests:\n%s", len(failed), asked, strings.Join(failed, "\n"))
	}
	if after := containers(ctx, t, l); after != before {
		t.Errorf("containers were\n%s are\n%s", before, after)
	}
	t.Run("new tasks start on the upgraded plugins", func(t *testing.T) {
		_, err := l.Docker(ctx, "n1", "service", "scale", "--detach", "orders_web=6")
		must(t, err)
		must(t, l.Eventually(ctx, 90*time.Second, "six tasks running", func() error {
			out, err := l.Docker(ctx, "n1", "service", "ps", "--filter", "desired-state=running", "--format", "{{.CurrentState}}", "orders_web")
			if err == nil && strings.Count(out, "Running") != 6 {
				err = fmt.Errorf("they are\n%s", out)
			}
			return err
		}))
	})
	before = containers(ctx, t, l)
	// The stack gives an agent a minute and a half before it counts as failed.
	soon := []string{"--health-start-period", "2s", "--health-retries", "5", "--health-interval", "1s"}
	t.Run("an image whose plugin does not start is rolled back", func(t *testing.T) {
		nextImage(ctx, t, l, "bbbb", func(folder string) {
			rename(t, filepath.Join(folder, "ipam/config.json"), "/ipam-driver", "/no-such-program")
		})
		update(ctx, t, l, "rolling/agent:bbbb", swarm.UpdateStateRollbackCompleted, soon...)
		must(t, l.Eventually(ctx, time.Minute, "the plugins of before", func() error {
			for _, n := range l.Nodes() {
				if err := asIn(ctx, l, n, next); err != nil {
					return err
				}
			}
			return nil
		}))
		if after := containers(ctx, t, l); after != before {
			t.Errorf("containers were\n%s are\n%s", before, after)
		}
	})
	t.Run("an image whose plugin cannot even be created takes nothing away", func(t *testing.T) {
		nextImage(ctx, t, l, "cccc", func(folder string) {
			rename(t, filepath.Join(folder, "net/config.json"), "docker.networkdriver/1.0", "no interface")
		})
		a := ask(ctx, l, on)
		update(ctx, t, l, "rolling/agent:cccc", swarm.UpdateStateRollbackCompleted, soon...)
		asked, failed := a.end()
		t.Logf("%d requests from node to node, %d failed", asked, len(failed))
		if len(failed) > 0 {
			t.Errorf("%d of %d requests failed:\n%s", len(failed), asked, strings.Join(failed, "\n"))
		}
	})
}
