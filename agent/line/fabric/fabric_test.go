package fabric

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/rolling-swarm/rolling/internal/wire"
)

// state is a page as the network plugin writes it.
const state = `{
  "ready": true, "problems": {},
  "membership": {"self": "10.99.0.21", "manager": true, "managers": ["10.99.0.22"], "nodes": []},
  "networks": [{"id": "net1", "pool": "10.210.3.0/24", "gateway": "169.254.1.1", "options": {"project": "orders", "environment": "production"}}],
  "endpoints": [
    {"id": "e1", "network": "net1", "address": "10.210.3.7", "address6": "fd00::ad2:307", "mac": "02:42:0a:d2:03:07", "phase": "joined"},
    {"id": "e2", "network": "net1", "address": "10.210.3.8", "mac": "02:42:0a:d2:03:08", "phase": "created"},
    {"id": "e3", "network": "gone", "address": "10.210.4.1", "mac": "02:42:0a:d2:04:01", "phase": "joined"}],
  "pools": ["10.210.3.0/24"], "routes": {"10.210.3.9/32": "10.99.0.22", "broken": "10.99.0.22"},
  "settled": true, "counts": {"joins": 2, "orphans": 0, "learnt": 1}, "links": [], "neighbours": []}`

func text(r wire.Routes) string {
	lines := []string{r.Source}
	for _, x := range r.Routes {
		lines = append(lines, strings.TrimSpace(fmt.Sprint(x.Prefix, " ", x.NextHop, " ", x.Origin, " ", x.Project, " ", x.Environment)))
	}
	return strings.Join(lines, "\n")
}

func plugin(t *testing.T, status int, page string) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "net.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/debug/state" {
			status = http.StatusNotFound
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(page))
	})}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return socket
}

func TestRoutesComeFromThePluginOrElseFromTheKernel(t *testing.T) {
	route := func(dst, via string) netlink.Route {
		_, n, _ := net.ParseCIDR(dst)
		return netlink.Route{Dst: n, Gw: net.ParseIP(via)}
	}
	unreachable := route("10.210.0.0/16", "") // on a border
	unreachable.Type = unix.RTN_UNREACHABLE
	kernel := func() ([]netlink.Route, error) {
		return []netlink.Route{route("10.210.3.9/32", "10.99.0.22"), route("10.210.3.7/32", ""), unreachable, {}}, nil
	}
	const ofPlugin = "plugin\n10.210.3.7/32 10.99.0.21 local orders production\n10.210.3.9/32 10.99.0.22 learnt\n10.210.4.1/32 10.99.0.21 local\nfd00::ad2:307/128 10.99.0.21 local orders production"
	const ofKernel = "kernel\n10.210.3.7/32 invalid IP local\n10.210.3.9/32 10.99.0.22 learnt"
	for _, c := range []struct{ name, socket, want string }{
		{"from the plugin", plugin(t, 200, state), ofPlugin},
		{"from the kernel while the plugin is busy", plugin(t, 503, "busy"), ofKernel},
		{"from the kernel while the plugin writes half a page", plugin(t, 200, state[:200]), ofKernel},
		{"from the kernel without a plugin", filepath.Join(t.TempDir(), "none.sock"), ofKernel},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := New(c.socket)
			r.kernel = kernel
			got, err := r.Routes(t.Context())
			if err != nil || text(got) != c.want {
				t.Errorf("%v\n%s\nwant\n%s", err, text(got), c.want)
			}
		})
	}
	t.Run("an error if neither answers", func(t *testing.T) {
		r := New(filepath.Join(t.TempDir(), "none.sock"))
		r.kernel = func() ([]netlink.Route, error) { return nil, errors.New("no netlink") }
		if _, err := r.Routes(t.Context()); err == nil || !strings.Contains(err.Error(), "no netlink") || !strings.Contains(err.Error(), "plugin") {
			t.Errorf("got %v", err)
		}
	})
}

func TestANodeWithoutRoutesHasAnEmptyList(t *testing.T) {
	r := New(plugin(t, 200, `{}`))
	if got, err := r.Routes(t.Context()); err != nil || got.Routes == nil || len(got.Routes) != 0 {
		t.Errorf("%v, %v", got, err)
	}
}
