package cluster_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/swarm"
	"github.com/rolling-swarm/rolling/manager/cluster"
)

// BenchmarkLiving is what one look at the tasks of 1,000 containers costs the manager; the engine's own work is not in it.
func BenchmarkLiving(b *testing.B) {
	var all []swarm.Task
	for i := range 1000 {
		var t swarm.Task
		t.ID, t.ServiceID, t.NodeID = fmt.Sprintf("task%021d", i), fmt.Sprintf("service%018d", i/5), fmt.Sprintf("node%021d", i%30)
		t.Spec.ContainerSpec = &swarm.ContainerSpec{Image: "registry.example/orders/web@sha256:" + strings.Repeat("a", 64), Env: []string{"RELEASE=1", "PORT=8080"},
			Labels: map[string]string{"rolling.project": "orders", "rolling.environment": "production", "rolling.service": "web", "rolling.release": "r-1"}}
		t.DesiredState, t.Status.State, t.Status.Message = swarm.TaskStateRunning, swarm.TaskStateRunning, "started"
		t.Status.ContainerStatus = &swarm.ContainerStatus{ContainerID: strings.Repeat("c", 64), PID: 4711}
		a := swarm.NetworkAttachment{Addresses: []netip.Prefix{netip.MustParsePrefix("10.210.3.9/32")}}
		a.Network.ID, a.Network.Spec.Name = strings.Repeat("n", 25), "orders-production_app"
		a.Network.Spec.DriverConfiguration = &swarm.Driver{Name: "rolling/net:latest", Options: map[string]string{"rolling.project": "orders"}}
		t.NetworksAttachments = []swarm.NetworkAttachment{a}
		all = append(all, t)
	}
	text, err := json.Marshal(all)
	if err != nil {
		b.Fatal(err)
	}
	socket := filepath.Join(b.TempDir(), "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		b.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Api-Version", "1.51")
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(text)
	}))
	server.Listener = listener
	server.Start()
	defer server.Close()
	s, err := cluster.New("unix://" + socket)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // only read
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if got, err := s.Living(b.Context()); err != nil || len(got) != 1000 {
			b.Fatal(len(got), err)
		}
	}
}
