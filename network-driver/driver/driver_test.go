package driver_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/internal/socket"
	"github.com/rolling-swarm/rolling/network-driver/driver"
	"github.com/rolling-swarm/rolling/network-driver/fabric"
	"github.com/rolling-swarm/rolling/network-driver/kernel/kerneltest"
	"github.com/rolling-swarm/rolling/network-driver/node"
	"github.com/rolling-swarm/rolling/network-driver/state"
	"github.com/rolling-swarm/rolling/network-driver/topology"
)

type mute struct{}

func (mute) Announce([]fabric.Announcement) {}
func (mute) Stand(topology.Uplink)          {}

// plugin is the door on a unix socket, with the real node and file behind it and a kernel in memory.
type plugin struct {
	t      *testing.T
	kernel *kerneltest.Fake
	node   *node.Node
	http   *http.Client
}

func newPlugin(t *testing.T) *plugin {
	t.Helper()
	folder, err := os.MkdirTemp("", "net")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	file, err := state.Open(filepath.Join(folder, "net.db"))
	if err != nil {
		t.Fatal(err)
	}
	p := &plugin{t: t, kernel: kerneltest.NewFake()}
	log, l2 := slog.New(slog.DiscardHandler), kerneltest.NewFakeL2()
	p.node = node.New(node.Parts{Wires: p.kernel.Wires(), Gate: p.kernel.Gate(), Roads: p.kernel.Roads(), Fast: p.kernel.Fast(), L2: l2.Edges(), Doors: l2.Doors(), Isolation: node.Isolation{Wall: p.kernel.Wall(), Outside: true}, Announcer: mute{}, Log: log, Now: time.Now})
	path := filepath.Join(folder, "s", "net.sock")
	l, err := socket.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() { done <- p.node.Run(ctx) }()
	door := driver.New(p.node, log)
	door.Patience = 2 * time.Second
	go func() { done <- driver.Serve(ctx, l, door.Mux()) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, <-done, file.Close()); err != nil {
			t.Error(err)
		}
	})
	s, m, err := file.Load()
	if err == nil {
		_, err = p.node.Begin(ctx, node.Beginning{Store: file, State: s, Membership: m, Fresh: true})
	}
	if err != nil {
		t.Fatal(err)
	}
	p.http = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}}
	t.Cleanup(p.http.CloseIdleConnections)
	return p
}

func (p *plugin) post(call string, body io.Reader) (int, string) {
	p.t.Helper()
	resp, err := p.http.Post("http://plugin/"+call, "application/vnd.docker.plugins.v1.2+json", body)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	if got := resp.Header.Get("Content-Type"); got != "application/vnd.docker.plugins.v1.1+json" {
		p.t.Errorf("%s: answered as %q", call, got)
	}
	return resp.StatusCode, strings.TrimSpace(string(text))
}

const (
	net1 = `"NetworkID":"k3uv0xn9lzwgx5q1p7f2a8b4c"`
	ep1  = net1 + `,"EndpointID":"a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f90"`
	ep2  = `"NetworkID":"l2","EndpointID":"b1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f90"`
	pool = `"IPv4Data":[{"AddressSpace":"pglobal","Pool":"10.210.3.0/24","Gateway":"169.254.1.1/24"}]`
)

// TestTheProtocol is one conversation, in the engine's order: what is asked, and the very answer.
func TestTheProtocol(t *testing.T) {
	p := newPlugin(t)
	for _, c := range []struct{ name, call, request, want string }{
		{"the engine asks what this is", "Plugin.Activate", ``, `{"Implements":["NetworkDriver"]}`},
		{"a cluster driver", "NetworkDriver.GetCapabilities", ``, `{"Scope":"global","ConnectivityScope":"global"}`},
		{"the leader allocates: options are echoed", "NetworkDriver.AllocateNetwork", `{` + net1 + `,"Options":{"rolling.project":"orders","com.docker.network.driver.mtu":"1400"},` + pool + `,"IPv6Data":null}`,
			`{"Options":{"com.docker.network.driver.mtu":"1400","rolling.project":"orders"}}`},
		{"without options too", "NetworkDriver.AllocateNetwork", `{` + net1 + `,` + pool + `}`, `{"Options":{}}`},
		{"a network is created", "NetworkDriver.CreateNetwork", `{` + net1 + `,"Options":{"com.docker.network.enable_ipv6":false,"com.docker.network.generic":{"rolling.mtu":"1400"}},` + pool + `,"IPv6Data":[]}`, `{}`},
		{"and again, as after a crash of the engine", "NetworkDriver.CreateNetwork", `{` + net1 + `,"Options":{"com.docker.network.generic":{"rolling.mtu":"1400"}},` + pool + `}`, `{}`},
		{"an endpoint gets its MAC", "NetworkDriver.CreateEndpoint", `{` + ep1 + `,"Interface":{"Address":"10.210.3.7/32","AddressIPv6":"","MacAddress":""},"Options":{"com.docker.network.endpoint.exposedports":[]}}`,
			`{"Interface":{"Address":"","AddressIPv6":"","MacAddress":"02:42:0a:d2:03:07"}}`},
		{"and again", "NetworkDriver.CreateEndpoint", `{` + ep1 + `,"Interface":{"Address":"10.210.3.7/32"}}`, `{"Interface":{"Address":"","AddressIPv6":"","MacAddress":"02:42:0a:d2:03:07"}}`},
		{"it joins", "NetworkDriver.Join", `{` + ep1 + `,"SandboxKey":"/var/run/docker/netns/1","Options":{}}`,
			`{"InterfaceName":{"SrcName":"rca1b2c3d4e5f","DstPrefix":"eth"},"Gateway":"169.254.1.1","GatewayIPv6":"","StaticRoutes":[{"Destination":"169.254.1.1/32","RouteType":1,"NextHop":""}],"DisableGatewayService":true}`},
		{"and again", "NetworkDriver.Join", `{` + ep1 + `,"SandboxKey":"/var/run/docker/netns/1"}`,
			`{"InterfaceName":{"SrcName":"rca1b2c3d4e5f","DstPrefix":"eth"},"Gateway":"169.254.1.1","GatewayIPv6":"","StaticRoutes":[{"Destination":"169.254.1.1/32","RouteType":1,"NextHop":""}],"DisableGatewayService":true}`},
		{"it publishes no port", "NetworkDriver.ProgramExternalConnectivity", `{` + ep1 + `,"Options":{"com.docker.network.endpoint.exposedports":[{"Proto":6,"Port":80}],"com.docker.network.portmap":[]}}`, `{}`},
		{"it is asked about", "NetworkDriver.EndpointOperInfo", `{` + ep1 + `}`, `{"Value":{"address":"10.210.3.7","interface":"rla1b2c3d4e5f","mac":"02:42:0a:d2:03:07","mtu":"1400","phase":"joined"}}`},
		{"the nodes' own network as an l2 network", "NetworkDriver.AllocateNetwork", `{"NetworkID":"l2","Options":{"rolling.mode":"l2","rolling.parent":"eth0"},"IPv4Data":[{"Pool":"10.98.0.0/24","Gateway":"10.98.0.1/24"}]}`, `{"Options":{"rolling.mode":"l2","rolling.parent":"eth0"}}`},
		{"it is created", "NetworkDriver.CreateNetwork", `{"NetworkID":"l2","Options":{"com.docker.network.generic":{"rolling.mode":"l2","rolling.parent":"eth0"}},"IPv4Data":[{"Pool":"10.98.0.0/24","Gateway":"10.98.0.1/24"}]}`, `{}`},
		{"an endpoint with an address of that network", "NetworkDriver.CreateEndpoint", `{` + ep2 + `,"Interface":{"Address":"10.98.0.77/24"}}`, `{"Interface":{"Address":"","AddressIPv6":"","MacAddress":"02:42:0a:62:00:4d"}}`},
		{"it joins, behind the real router", "NetworkDriver.Join", `{` + ep2 + `,"SandboxKey":"/var/run/docker/netns/2"}`,
			`{"InterfaceName":{"SrcName":"rcb1b2c3d4e5f","DstPrefix":"eth"},"Gateway":"10.98.0.1","GatewayIPv6":"","StaticRoutes":null,"DisableGatewayService":true}`},
		{"it leaves too", "NetworkDriver.Leave", `{` + ep2 + `}`, `{}`},
		{"the l2 network is deleted with what is left of it", "NetworkDriver.DeleteNetwork", `{"NetworkID":"l2"}`, `{}`},
		{"a port of the host is published", "NetworkDriver.ProgramExternalConnectivity", `{` + ep1 + `,"Options":{"com.docker.network.portmap":[{"Proto":6,"IP":"","Port":80,"HostIP":"","HostPort":8080,"HostPortEnd":8080}]}}`, `{}`},
		{"the engine discovers itself", "NetworkDriver.DiscoverNew", `{"DiscoveryType":1,"DiscoveryData":{"Address":"10.98.0.21","BindAddress":"10.98.0.21","Self":true}}`, `{}`},
		{"nothing is published any more", "NetworkDriver.RevokeExternalConnectivity", `{` + ep1 + `}`, `{}`},
		{"it leaves", "NetworkDriver.Leave", `{` + ep1 + `}`, `{}`},
		{"and again", "NetworkDriver.Leave", `{` + ep1 + `}`, `{}`},
		{"it is deleted", "NetworkDriver.DeleteEndpoint", `{` + ep1 + `}`, `{}`},
		{"and again", "NetworkDriver.DeleteEndpoint", `{` + ep1 + `}`, `{}`},
		{"the network is deleted", "NetworkDriver.DeleteNetwork", `{` + net1 + `}`, `{}`},
		{"and again", "NetworkDriver.DeleteNetwork", `{` + net1 + `}`, `{}`},
		{"the leader frees it", "NetworkDriver.FreeNetwork", `{` + net1 + `}`, `{}`},
	} {
		status, got := p.post(c.call, strings.NewReader(c.request))
		if status != http.StatusOK || got != c.want {
			t.Errorf("%s: %s answered %d\n%s\nwant\n%s", c.name, c.call, status, got, c.want)
		}
	}
	if got := p.kernel.String(); got != "" {
		t.Errorf("at the end the kernel has %q", got)
	}
}

func TestRefusals(t *testing.T) {
	p := newPlugin(t)
	mac := strings.Replace(ep1, "a1b2", "ffff", 1)
	ready := func() {
		p.post("NetworkDriver.CreateNetwork", strings.NewReader(`{`+net1+`,`+pool+`}`))
		p.post("NetworkDriver.CreateEndpoint", strings.NewReader(`{`+ep1+`,"Interface":{"Address":"10.210.3.7/32"}}`))
	}
	ready()
	for _, c := range []struct {
		name, call, request string
		want                []string
	}{
		{"all problems of a network at once", "AllocateNetwork", `{` + net1 + `,"Options":{"rolling.mode":"l2","rolling.mod":"x"},"IPv4Data":[],"IPv6Data":[{"Pool":"fd00::/64"}]}`,
			[]string{"network k3uv0xn9lzwg is refused", `driver_opts.rolling.parent: mode l2 needs it`, "did you mean", "IPv6 addresses are derived from the IPv4 ones", "has 0 IPv4 subnets"}},
		{"a network with two subnets", "AllocateNetwork", `{` + net1 + `,"IPv4Data":[{"Pool":"10.0.0.0/24","Gateway":"10.0.0.1/24"},{"Pool":"10.1.0.0/24","Gateway":"10.1.0.1/24"}]}`, []string{"2 IPv4 subnets: want exactly one"}},
		{"a subnet that is none", "CreateNetwork", `{` + net1 + `,"IPv4Data":[{"Pool":"ten","Gateway":"10.0.0.1"}]}`, []string{`subnet \"ten\" is not an IPv4 prefix`}},
		{"a null subnet", "CreateNetwork", `{` + net1 + `,"IPv4Data":[null]}`, []string{"want exactly one"}},
		{"a network without a gateway", "CreateNetwork", `{` + net1 + `,"IPv4Data":[{"Pool":"10.0.0.0/24","Gateway":""}]}`, []string{"is not link-local", "make it with --ipam-driver rolling/ipam:latest"}},
		{"a network of the engine's own IPAM, on the leader", "AllocateNetwork", `{` + net1 + `,"IPv4Data":[{"Pool":"10.0.0.0/24","Gateway":"10.0.0.1/24"}]}`, []string{`gateway \"10.0.0.1/24\" is not link-local`, "make it with --ipam-driver rolling/ipam:latest"}},
		{"a network of the engine's own IPAM, on a node", "CreateNetwork", `{` + net1 + `,"IPv4Data":[{"Pool":"10.0.0.0/24","Gateway":"10.0.0.1/24"}]}`, []string{"is not link-local"}},
		{"a subnet of loopback", "AllocateNetwork", `{` + net1 + `,"IPv4Data":[{"Pool":"127.0.0.0/24","Gateway":"169.254.1.1/24"}]}`, []string{"subnet 127.0.0.0/24 overlaps 127.0.0.0/8 (loopback)"}},
		{"a subnet of groups", "CreateNetwork", `{` + net1 + `,"IPv4Data":[{"Pool":"239.0.0.0/24","Gateway":"169.254.1.1/24"}]}`, []string{"overlaps 224.0.0.0/3"}},
		{"the nodes' own network", "AllocateNetwork", `{` + net1 + `,"IPv4Data":[{"Pool":"10.98.0.0/24","Gateway":"169.254.1.1/24"}]}`, []string{"network k3uv0xn9lzwg is refused", "subnet 10.98.0.0/24 overlaps 10.98.0.0/24, which this node's uplink is connected to"}},
		{"an address of the engine's own IPAM", "CreateEndpoint", `{` + mac + `,"Interface":{"Address":"10.210.3.8/24"}}`, []string{"address 10.210.3.8/24 is not a /32", "make it with --ipam-driver rolling/ipam:latest"}},
		{"IPv6 switched on", "CreateNetwork", `{` + net1 + `,"Options":{"com.docker.network.enable_ipv6":true},` + pool + `}`, []string{"IPv6 addresses are derived from the IPv4 ones"}},
		{"an endpoint of an unknown network", "CreateEndpoint", `{` + strings.Replace(ep1, "k3uv", "nope", 1) + `,"Interface":{"Address":"10.210.3.8/32"}}`, []string{"network nope0xn9lzwg is not known on this node"}},
		{"an endpoint without an address", "CreateEndpoint", `{` + mac + `,"Interface":{}}`, []string{"brings no IPv4 address"}},
		{"an endpoint without an interface", "CreateEndpoint", `{` + mac + `}`, []string{"brings no IPv4 address"}},
		{"an endpoint with an IPv6 address", "CreateEndpoint", `{` + mac + `,"Interface":{"Address":"10.210.3.8/32","AddressIPv6":"fd00::1/64"}}`, []string{"IPv6 addresses are derived from the IPv4 ones"}},
		{"an endpoint with a group's MAC", "CreateEndpoint", `{` + mac + `,"Interface":{"Address":"10.210.3.8/32","MacAddress":"01:00:5e:00:00:01"}}`, []string{"is not that of one interface"}},
		{"an endpoint outside the pool", "CreateEndpoint", `{` + mac + `,"Interface":{"Address":"10.211.0.8/32"}}`, []string{"outside the pool 10.210.3.0/24"}},
		{"an endpoint whose id would be a path", "CreateEndpoint", `{` + net1 + `,"EndpointID":"../../../../etc","Interface":{"Address":"10.210.3.8/32"}}`, []string{"names no endpoint"}},
		{"a join of nobody", "Join", `{` + mac + `}`, []string{"endpoint ffffc3d4e5f6 of network k3uv0xn9lzwg is not known on this node"}},
		{"a leave of nobody", "Leave", `{` + mac + `}`, []string{"is not known on this node"}},
		{"a deletion of nobody", "DeleteEndpoint", `{` + mac + `}`, []string{"is not known on this node"}},
		{"a question about nobody", "EndpointOperInfo", `{` + mac + `}`, []string{"is not known on this node"}},
		{"a deletion of no network", "DeleteNetwork", `{"NetworkID":"nope"}`, []string{"network nope is not known on this node"}},
		{"a published port of no number", "ProgramExternalConnectivity", `{` + ep1 + `,"Options":{"com.docker.network.portmap":[{"Proto":6,"Port":80,"HostPort":0}]}}`, []string{"name the host's port"}},
		{"a range of published ports", "ProgramExternalConnectivity", `{` + ep1 + `,"Options":{"com.docker.network.portmap":[{"Proto":6,"Port":80,"HostPort":8000,"HostPortEnd":8010}]}}`, []string{"8000 to 8010 of the node: name one port"}},
		{"a published port of SCTP", "ProgramExternalConnectivity", `{` + ep1 + `,"Options":{"com.docker.network.portmap":[{"Proto":132,"Port":80,"HostPort":8080}]}}`, []string{"only tcp and udp are published"}},
		{"a published port of IPv6", "ProgramExternalConnectivity", `{` + ep1 + `,"Options":{"com.docker.network.portmap":[{"Proto":6,"Port":80,"HostIP":"fd00::1","HostPort":8080}]}}`, []string{"port [fd00::1]:8080/tcp: the container has no IPv6 address"}},
		{"a published port of ::1", "ProgramExternalConnectivity", `{` + ep1 + `,"Options":{"com.docker.network.portmap":[{"Proto":6,"Port":80,"HostIP":"::1","HostPort":8080}]}}`, []string{"port [::1]:8080/tcp: the kernel translates nothing that is asked of ::1"}},
		{"an l2 network whose address pool was not told of the router", "AllocateNetwork", `{` + net1 + `,"Options":{"rolling.mode":"l2","rolling.parent":"eth1"},"IPv4Data":[{"Pool":"10.5.0.0/24","Gateway":"169.254.1.1/24"}]}`, []string{"name the router with --ipam-opt rolling.gateway=ADDRESS"}},
		{"published ports of nobody", "ProgramExternalConnectivity", `{` + mac + `,"Options":{"com.docker.network.portmap":[{"Proto":6,"Port":80,"HostPort":8080}]}}`, []string{"is not known on this node"}},
		{"what is no JSON", "Join", `{"NetworkID":`, []string{"is not the JSON that the protocol names"}},
		{"a field of another kind", "Join", `{"NetworkID":7}`, []string{"is not the JSON"}},
		{"no body where one is needed", "Join", ``, []string{"is not known on this node"}},
		{"a call of another protocol", "FrobNetwork", `{}`, []string{"is not a call of the network plugin protocol"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := p.kernel.String()
			status, got := p.post("NetworkDriver."+c.call, strings.NewReader(c.request))
			var refused struct{ Err string }
			if err := json.Unmarshal([]byte(got), &refused); err != nil || status == http.StatusOK || refused.Err == "" {
				t.Fatalf("answered %d %s", status, got)
			}
			for _, want := range c.want {
				if !strings.Contains(got, want) {
					t.Errorf("%s\nlacks %q", got, want)
				}
			}
			if after := p.kernel.String(); after != before {
				t.Errorf("the kernel became %q, was %q", after, before)
			}
		})
	}
	status, got := p.post("NetworkDriver.Join", io.MultiReader(strings.NewReader(`{"NetworkID":"`), bytes.NewReader(bytes.Repeat([]byte("x"), 2<<20))))
	if status != http.StatusBadRequest || !strings.Contains(got, "larger than 1048576 bytes") {
		t.Errorf("a body of 2 MB: %d %s", status, got)
	}
}

func TestAGivenMACIsNotAnsweredButUsed(t *testing.T) {
	p := newPlugin(t)
	p.post("NetworkDriver.CreateNetwork", strings.NewReader(`{`+net1+`,`+pool+`}`))
	if _, got := p.post("NetworkDriver.CreateEndpoint", strings.NewReader(`{`+ep1+`,"Interface":{"Address":"10.210.3.7/32","MacAddress":"06:00:00:00:00:07"}}`)); got != `{"Interface":{"Address":"","AddressIPv6":"","MacAddress":""}}` {
		t.Errorf("answered %s", got)
	}
	if _, got := p.post("NetworkDriver.EndpointOperInfo", strings.NewReader(`{`+ep1+`}`)); !strings.Contains(got, `"mac":"06:00:00:00:00:07"`) {
		t.Errorf("it has %s", got)
	}
}

func TestAKernelThatHangsIsAnsweredForInTime(t *testing.T) {
	p := newPlugin(t)
	p.post("NetworkDriver.CreateNetwork", strings.NewReader(`{`+net1+`,`+pool+`}`))
	p.post("NetworkDriver.CreateEndpoint", strings.NewReader(`{`+ep1+`,"Interface":{"Address":"10.210.3.7/32"}}`))
	stuck := make(chan struct{})
	p.kernel.Break(func(effect string) error {
		if effect == "plug" {
			<-stuck
		}
		return nil
	})
	begun := time.Now()
	status, got := p.post("NetworkDriver.Join", strings.NewReader(`{`+ep1+`}`))
	if status != http.StatusInternalServerError || !strings.Contains(got, "the plugin is busy: no answer within 2s") {
		t.Errorf("answered %d %s", status, got)
	}
	if took := time.Since(begun); took < 1500*time.Millisecond || took > 10*time.Second {
		t.Errorf("after %v", took)
	}
	if status, _ := p.post("NetworkDriver.GetCapabilities", strings.NewReader("")); status != http.StatusOK {
		t.Error("the plugin does not answer for itself meanwhile")
	}
	close(stuck)
	if status, got := p.post("NetworkDriver.Join", strings.NewReader(`{`+ep1+`}`)); status != http.StatusOK {
		t.Errorf("asked again: %d %s", status, got)
	}
}

func TestTheSocketIsForRootAndReplacesAnOldOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", "net.sock")
	for range 2 {
		l, err := socket.Listen(path)
		if err != nil {
			t.Fatal(err)
		}
		l.(*net.UnixListener).SetUnlinkOnClose(false) // as after a kill
		if i, err := os.Stat(path); err != nil || i.Mode().Perm() != 0o600 {
			t.Errorf("mode %v, %v", i.Mode(), err)
		}
		l.Close()
	}
}

// FuzzDoor sends anything to every call: the answer is always JSON, and no call brings the plugin down.
func FuzzDoor(f *testing.F) {
	calls := []string{"AllocateNetwork", "CreateNetwork", "DeleteNetwork", "CreateEndpoint", "DeleteEndpoint", "Join", "Leave", "EndpointOperInfo", "ProgramExternalConnectivity", "DiscoverNew"}
	for i := range calls {
		f.Add(i, []byte(`{`+ep1+`,`+pool+`,"Options":{"com.docker.network.generic":{"rolling.mtu":7}},"Interface":{"Address":"10.210.3.7/32"}}`))
	}
	f.Fuzz(func(t *testing.T, call int, body []byte) {
		fake := kerneltest.NewFake()
		log := slog.New(slog.DiscardHandler)
		n := node.New(node.Parts{Wires: fake.Wires(), Gate: fake.Gate(), Roads: fake.Roads(), Fast: fake.Fast(), Isolation: node.Isolation{Wall: fake.Wall()}, Announcer: mute{}, Log: log, Now: time.Now})
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		go n.Run(ctx) //nolint:errcheck // always nil
		if _, err := n.Begin(ctx, node.Beginning{Store: forgetful{}, State: topology.NewState()}); err != nil {
			t.Fatal(err)
		}
		w := &answer{header: http.Header{}}
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, "/NetworkDriver."+calls[(call%len(calls)+len(calls))%len(calls)], bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		driver.New(n, log).Mux().ServeHTTP(w, r)
		if !json.Valid(w.body.Bytes()) {
			t.Errorf("answered %q", w.body.String())
		}
	})
}

// forgetful takes everything and keeps nothing.
type forgetful struct{}

func (forgetful) Save(topology.Change) error               { return nil }
func (forgetful) SaveMembership(topology.Membership) error { return nil }

type answer struct {
	header http.Header
	body   bytes.Buffer
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) Write(p []byte) (int, error) { return a.body.Write(p) }
func (a *answer) WriteHeader(int)             {}
