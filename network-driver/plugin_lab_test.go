//go:build lab

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/go-plugins-helpers/network"
	bolt "go.etcd.io/bbolt"

	"github.com/rolling-swarm/rolling/network-driver/lan"
)

// rig is one node with the plugin and its engine's side of the socket.
type rig struct {
	t      *testing.T
	space  lan.Space
	folder string
	extra  []string
	poor   bool // without CAP_SYS_ADMIN
	engine *engine
	proc   *exec.Cmd
	log    *lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex // guards the buffer
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newRig(t *testing.T, s lan.Space, extra ...string) *rig {
	t.Helper()
	folder, err := os.MkdirTemp("", "net")
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, space: s, folder: folder, extra: extra, log: &lockedBuffer{}}
	t.Cleanup(func() {
		r.kill()
		if t.Failed() {
			t.Logf("log of the plugin in %s:\n%s", s.Name, r.log)
		}
		os.RemoveAll(folder)
	})
	r.engine = newEngine(t, filepath.Join(folder, "docker.sock"))
	return r
}

func (r *rig) launch() {
	r.t.Helper()
	self, err := os.Executable()
	if err != nil {
		r.t.Fatal(err)
	}
	// The plugin has no more rights than its bundle asks for.
	rights := "-all,+net_admin,+net_raw,+sys_admin"
	if r.poor {
		rights = "-all,+net_admin,+net_raw"
	}
	r.proc = r.space.Command(context.Background(), "setpriv", "--no-new-privs", "--bounding-set="+rights, "--", self)
	r.proc.Env = append(append(os.Environ(), asPlugin+"=1", "ROLLING_SOCKET="+r.socket(), "ROLLING_STATE="+filepath.Join(r.folder, "state"),
		"ROLLING_ENGINE=unix://"+filepath.Join(r.folder, "docker.sock"), "ROLLING_LOG_LEVEL=debug"), r.extra...)
	r.proc.Stdout, r.proc.Stderr = r.log, r.log
	if err := r.proc.Start(); err != nil {
		r.t.Fatal(err)
	}
}

// start is launch, and waits until the plugin serves.
func (r *rig) start() {
	r.t.Helper()
	r.launch()
	lan.Eventually(r.t, 10*time.Second, "the plugin is ready", func() error {
		_, err := r.page("/readyz")
		return err
	})
}

// kill is SIGKILL.
func (r *rig) kill() {
	if r.proc != nil {
		_ = r.proc.Process.Kill()
		_ = r.proc.Wait()
		r.proc = nil
	}
}

func (r *rig) socket() string { return filepath.Join(r.folder, "p", "net.sock") }

func over(socket string) *http.Client {
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}}}
}

func (r *rig) page(path string) (string, error) {
	resp, err := over(filepath.Join(r.folder, "state", "net.sock")).Get("http://plugin" + path)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", path, resp.Status, text)
	}
	return string(text), err
}

func (r *rig) state() (p page) {
	r.t.Helper()
	text, err := r.page("/debug/state")
	if err != nil {
		r.t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		r.t.Fatal(err)
	}
	return p
}

// call is one of the engine's.
func (r *rig) call(name string, request, answer any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	resp, err := over(r.socket()).Post("http://plugin/NetworkDriver."+name, "application/json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		var refused network.ErrorResponse
		if err := json.NewDecoder(resp.Body).Decode(&refused); err != nil {
			return err
		}
		return fmt.Errorf("%s", refused.Err)
	}
	if answer == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(answer)
}

func (r *rig) must(name string, request, answer any) {
	r.t.Helper()
	if err := r.call(name, request, answer); err != nil {
		r.t.Fatalf("%s: %v", name, err)
	}
}

const net1 = "k3uv0xn9lzwgx5q1p7f2a8b4c" // the Swarm's network ids are not hexadecimal

func endpointID(n int) string { return fmt.Sprintf("%04x%060x", n, 0xabcdef) }

func (r *rig) createNetwork(id, pool, gateway string) {
	r.t.Helper()
	r.must("CreateNetwork", network.CreateNetworkRequest{NetworkID: id, Options: map[string]any{
		"com.docker.network.enable_ipv6": false, "com.docker.network.generic": map[string]any{"rolling.project": "orders"},
	}, IPv4Data: []*network.IPAMData{{AddressSpace: "local", Pool: pool, Gateway: gateway}}}, nil)
}

// container plays the engine: endpoint, join, and the interface moved into a namespace of the container's own.
func (r *rig) container(id, net, address, name string, eth int) lan.Space {
	r.t.Helper()
	box := lan.New(r.t, name)
	r.plug(id, net, address, box, eth)
	return box
}

func (r *rig) plug(id, net, address string, box lan.Space, eth int) {
	r.t.Helper()
	var made network.CreateEndpointResponse
	r.must("CreateEndpoint", network.CreateEndpointRequest{NetworkID: net, EndpointID: id, Interface: &network.EndpointInterface{Address: address + "/32"}}, &made)
	if made.Interface.Address != "" || !strings.HasPrefix(made.Interface.MacAddress, "02:42:") {
		r.t.Fatalf("CreateEndpoint answered %+v, want no address and a MAC of ours", made.Interface)
	}
	var join network.JoinResponse
	r.must("Join", network.JoinRequest{NetworkID: net, EndpointID: id, SandboxKey: "/var/run/docker/netns/" + box.Name}, &join)
	if !join.DisableGatewayService || len(join.StaticRoutes) != 1 || join.StaticRoutes[0].RouteType != 1 {
		r.t.Fatalf("Join answered %+v", join)
	}
	eth0 := fmt.Sprintf("%s%d", join.InterfaceName.DstPrefix, eth)
	r.space.Must("ip link set " + join.InterfaceName.SrcName + " netns " + box.Name)
	box.Must("ip link set " + join.InterfaceName.SrcName + " name " + eth0)
	box.Must("ip addr add " + address + "/32 dev " + eth0)
	box.Must("ip link set " + eth0 + " up")
	box.Must("ip route add " + join.StaticRoutes[0].Destination + " dev " + eth0)
	if eth == 0 {
		box.Must("ip route add default via " + join.Gateway)
	}
}

func (r *rig) leave(id, net string) {
	r.t.Helper()
	r.must("Leave", network.LeaveRequest{NetworkID: net, EndpointID: id}, nil)
	r.must("DeleteEndpoint", network.DeleteEndpointRequest{NetworkID: net, EndpointID: id}, nil)
}

func newHost(t *testing.T) lan.Space {
	t.Helper()
	s := lan.NewLAN(t).Node("n1", "10.98.0.21/24")
	usedChains(s)
	s.Set("net/ipv4/ip_forward", "1")
	s.Must("iptables-nft -P FORWARD DROP")
	s.Must("iptables-nft -N DOCKER-USER")
	s.Must("iptables-nft -A FORWARD -j DOCKER-USER")
	return s
}

func TestAContainerLivesThroughAKillOfThePlugin(t *testing.T) {
	t.Parallel()
	s := newHost(t)
	before := s.Picture()
	r := newRig(t, s)
	r.start()
	r.createNetwork(net1, "10.210.3.0/24", "169.254.1.1/24")
	one := r.container(endpointID(1), net1, "10.210.3.7", "c1", 0)
	two := r.container(endpointID(2), net1, "10.210.3.8", "c2", 0)
	one.Must("busybox ping -c 1 -W 2 10.210.3.8")
	two.Must("busybox ping -c 1 -W 2 10.98.0.21")
	s.Must("busybox ping -c 1 -W 2 10.210.3.7")
	wired := s.Picture()

	r.kill()
	one.Must("busybox ping -c 1 -W 2 10.210.3.8")
	r.start()
	if got := r.state(); len(got.Endpoints) != 2 || len(got.Links) != 2 {
		t.Errorf("after the restart: %+v", got)
	}
	one.Must("busybox ping -c 1 -W 2 10.210.3.8")
	if got := s.Picture(); got != wired {
		t.Errorf("the restart changed the host:\n%s\nwas:\n%s", got, wired)
	}
	r.must("EndpointOperInfo", network.InfoRequest{NetworkID: net1, EndpointID: endpointID(1)}, nil)

	r.leave(endpointID(1), net1)
	r.leave(endpointID(2), net1)
	r.must("DeleteNetwork", network.DeleteNetworkRequest{NetworkID: net1}, nil)
	if got := s.Picture(); got != before {
		t.Errorf("the host is not as it was:\n%s\nwas:\n%s", got, before)
	}
}

func TestAContainerOnTwoNetworks(t *testing.T) {
	t.Parallel()
	s := newHost(t)
	r := newRig(t, s)
	r.start()
	const net2 = "zz9v0xn9lzwgx5q1p7f2a8b4c"
	r.createNetwork(net1, "10.210.0.0/16", "169.254.1.1/32")
	r.createNetwork(net2, "10.210.0.0/16", "169.254.1.2/32")
	both := r.container(endpointID(1), net1, "10.210.3.7", "c1", 0)
	r.plug(endpointID(2), net2, "10.210.4.7", both, 1)
	other := r.container(endpointID(3), net2, "10.210.4.8", "c2", 0)
	both.Must("ip route add 10.210.4.8/32 via 169.254.1.2 dev eth1 src 10.210.4.7")
	both.Must("busybox ping -c 1 -W 2 10.210.4.8")
	other.Must("busybox ping -c 1 -W 2 10.210.3.7")
	r.must("DeleteNetwork", network.DeleteNetworkRequest{NetworkID: net2}, nil) // with endpoints still there: the engine's word is the law
	s.Must("busybox ping -c 1 -W 2 10.210.3.7")
	if got := r.state(); len(got.Endpoints) != 1 || len(got.Networks) != 1 {
		t.Errorf("after DeleteNetwork: %+v", got)
	}
}

func TestAfterAKillOfTheEngineOrphansAreForgotten(t *testing.T) {
	t.Parallel()
	s := newHost(t)
	r := newRig(t, s)
	r.start()
	r.createNetwork(net1, "10.210.3.0/24", "169.254.1.1/24")
	r.container(endpointID(1), net1, "10.210.3.7", "c1", 0)
	r.container(endpointID(2), net1, "10.210.3.8", "c2", 0)
	r.kill()
	s.Must("ip link del " + r.hostEnd(1)) // as when its container's namespace ended
	r.start()
	r.createNetwork(net1, "10.210.3.0/24", "169.254.1.1/24") // the engine says it again
	fresh := r.container(endpointID(3), net1, "10.210.3.7", "c3", 0)
	fresh.Must("busybox ping -c 1 -W 2 10.210.3.8")
	lan.Eventually(t, 30*time.Second, "the orphan is forgotten", func() error {
		for _, e := range r.state().Endpoints {
			if string(e.ID) == endpointID(1) {
				return fmt.Errorf("endpoint 1 is still %s", e.Phase)
			}
		}
		return nil
	})
	r.leave(endpointID(1), net1) // a late word about it is no error
	fresh.Must("busybox ping -c 1 -W 2 10.210.3.8")
}

func (r *rig) hostEnd(n int) string { return "rl" + endpointID(n)[:11] }

func TestALostStateFileIsRebuiltFromTheKernel(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		damage func(path string) error
		aside  bool
	}{
		{"removed", os.Remove, false},
		{"overwritten", func(p string) error { return os.WriteFile(p, bytes.Repeat([]byte("rubbish "), 4096), 0o600) }, true},
		{"cut off", func(p string) error { return os.Truncate(p, 5000) }, true},
		{"cut off at a page", func(p string) error { return os.Truncate(p, 2*4096) }, true},
		{"emptied", func(p string) error { return os.Truncate(p, 0) }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newHost(t)
			r := newRig(t, s)
			r.start()
			r.createNetwork(net1, "10.210.3.0/24", "169.254.1.1/24")
			one := r.container(endpointID(1), net1, "10.210.3.7", "c1", 0)
			r.kill()
			if err := c.damage(filepath.Join(r.folder, "state", "net.db")); err != nil {
				t.Fatal(err)
			}
			r.start()
			one.Must("busybox ping -c 1 -W 2 10.98.0.21")
			if got := r.state(); len(got.Endpoints) != 1 || len(got.Pools) != 1 {
				t.Errorf("after the restart: %+v", got)
			}
			aside, err := filepath.Glob(filepath.Join(r.folder, "state", "net.db.damaged-*"))
			if err != nil || (len(aside) == 1) != c.aside || c.aside && !strings.Contains(r.log.String(), aside[0]) {
				t.Errorf("put aside: %v, %v", aside, err)
			}
			r.leave(endpointID(1), net1)
		})
	}
}

func TestAPluginThatCannotServeStaysAndSaysWhy(t *testing.T) {
	t.Parallel()
	r := newRig(t, newHost(t))
	r.engine.setDeaf(true) // an engine that starts waits for its plugins: it is not waited for
	r.start()
	r.createNetwork(net1, "10.210.3.0/24", "169.254.1.1/24")
	r.kill()
	db, err := bolt.Open(filepath.Join(r.folder, "state", "net.db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error { return tx.Bucket([]byte("meta")).Put([]byte("schema"), []byte{0, 0, 0, 99}) })
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	r.launch()
	refused := "the state was written by a newer plugin"
	lan.Eventually(t, 10*time.Second, "calls are refused with the reason", func() error {
		if err := r.call("DeleteNetwork", network.DeleteNetworkRequest{NetworkID: net1}, nil); err == nil || !strings.Contains(err.Error(), refused) {
			return fmt.Errorf("DeleteNetwork: %w", err)
		}
		return nil
	})
	// The pages have a socket of their own, which opens a moment after the engine's.
	lan.Eventually(t, 10*time.Second, "the pages say so", func() error {
		if _, err := r.page("/readyz"); err == nil || !strings.Contains(err.Error(), refused) {
			return fmt.Errorf("/readyz: %w", err)
		}
		_, err := r.page("/healthz")
		return err
	})
	r.must("GetCapabilities", struct{}{}, nil)
}
