package rollout

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/swarm"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/lab/bench/figure"
	"github.com/rolling-swarm/rolling/lab/bench/orders"
	"github.com/rolling-swarm/rolling/lab/bench/site"
)

func TestFiguresBearTheNamesOfTheContract(t *testing.T) {
	ours := []run{
		{took: 24 * time.Second, swarm: 20 * time.Second, requests: 1000, lasted: 40 * time.Second, found: []time.Duration{300 * time.Millisecond}},
		{took: 26 * time.Second, swarm: 22 * time.Second, requests: 500, lasted: 20 * time.Second, failures: []string{"12:00:00.000 502 Bad Gateway", "12:00:01.000 EOF"}, found: []time.Duration{500 * time.Millisecond}},
	}
	peer := []run{{took: 20 * time.Second, swarm: 18 * time.Second, requests: 900}, {took: 20 * time.Second, swarm: 18 * time.Second, requests: 900, failures: []string{"x"}}}
	got, err := figuresOf(ours, peer)
	if err != nil || len(got) != 4 {
		t.Fatalf("got %+v, %v", got, err)
	}
	for _, f := range got {
		if err := f.Check(); err != nil {
			t.Error(err)
		}
	}
	if f := got[0]; f.Name != "rollout.overhead_s" || f.Ours != 25 || *f.Peer != 20 || *f.Ratio != 1.25 || f.Runs != 2 {
		t.Errorf("got %+v", f)
	}
	if f := got[1]; f.Name != "rollout.beyond_swarm_s" || f.Ours != 4 || *f.Peer != 2 || *f.Ratio != 2 || !strings.Contains(f.Note, "21.0 s of ours, 18.0 s of the peer's") {
		t.Errorf("got %+v", f)
	}
	if f := got[2]; f.Name != "rollout.failed_requests" || f.Ours != 2 || !strings.HasPrefix(f.Note, "of 1500 ") || !strings.Contains(f.Note, "1 of 1800; first 12:00:00.000 502") {
		t.Errorf("got %+v", f)
	}
	if f := got[3]; f.Name != "rollout.discovery_ms" || f.Ours != 400 || f.Runs != 2 || !strings.Contains(f.Note, "every 200 ms") {
		t.Errorf("got %+v", f)
	}
	if got, err := figuresOf(ours, peer[:1]); err == nil {
		t.Errorf("runs without a pair made %+v", got)
	}
}

func TestATwinHasTheSpecAndIsNotRollings(t *testing.T) {
	grace := 10 * time.Second
	spec := swarm.ServiceSpec{
		Annotations: swarm.Annotations{Name: orders.Service, Labels: map[string]string{contract.Project: "orders", contract.DiscoveryNginx: "orders:8080"}},
		TaskTemplate: swarm.TaskSpec{ContainerSpec: &swarm.ContainerSpec{Image: "orders@sha256:1", StopSignal: "SIGURG", StopGracePeriod: &grace,
			Labels: map[string]string{contract.Project: "orders", contract.Drain: "6s"}}},
		UpdateConfig: &swarm.UpdateConfig{Parallelism: 1, Order: swarm.UpdateOrderStartFirst},
	}
	got := twinOf(spec)
	c := got.TaskTemplate.ContainerSpec
	if got.Name != twinName || got.UpdateConfig != spec.UpdateConfig || c.Image != "orders@sha256:1" || c.StopSignal != "SIGURG" || *c.StopGracePeriod != grace {
		t.Errorf("got %+v", got)
	}
	if len(c.Labels) != 1 || c.Labels[contract.Drain] != "6s" || got.Labels[contract.Project] != "" || got.Labels[contract.DiscoveryNginx] != "bench-twin:8080" {
		t.Errorf("got labels %v of the service and %v of its containers", got.Labels, c.Labels)
	}
	if spec.Name != orders.Service || len(spec.TaskTemplate.ContainerSpec.Labels) != 2 {
		t.Errorf("the spec itself has become %+v", spec)
	}
}

func TestUpdated(t *testing.T) {
	const image = "registry/orders@sha256:2"
	at := func(s int64) *time.Time { v := time.Unix(s, 0); return &v }
	service := func(image string, u *swarm.UpdateStatus) swarm.Service {
		return swarm.Service{UpdateStatus: u, Spec: swarm.ServiceSpec{Annotations: swarm.Annotations{Name: "web"}, TaskTemplate: swarm.TaskSpec{ContainerSpec: &swarm.ContainerSpec{Image: image}}}}
	}
	done := swarm.UpdateStatus{State: swarm.UpdateStateCompleted, StartedAt: at(110), CompletedAt: at(125)}
	for _, c := range []struct {
		name    string
		service swarm.Service
		wrong   string
	}{
		{"an update that has completed tells its time", service("registry/orders:2@sha256:2", &done), ""},
		{"another image is no success", service("registry/orders@sha256:1", &done), "does not run"},
		{"an update that goes on is no success", service(image, &swarm.UpdateStatus{State: swarm.UpdateStateUpdating, StartedAt: at(110)}), "has not completed"},
		{"a service that was never updated is no success", service(image, nil), "has not completed"},
		{"an update that went back is no success", service(image, &swarm.UpdateStatus{State: swarm.UpdateStateRollbackCompleted, StartedAt: at(110), CompletedAt: at(125)}), "has not completed"},
		{"an earlier update is not this one", service(image, &swarm.UpdateStatus{State: swarm.UpdateStateCompleted, StartedAt: at(90), CompletedAt: at(95)}), "an earlier one"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := updated(c.service, image, time.Unix(100, 0))
			switch {
			case c.wrong == "" && (err != nil || got != 15*time.Second):
				t.Errorf("got %s, %v", got, err)
			case c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong)):
				t.Errorf("got %v, want %s", err, c.wrong)
			}
		})
	}
}

func TestRenewedLeavesOutWhatAnOldTaskCouldHaveAnswered(t *testing.T) {
	a := netip.MustParseAddr
	old := []site.Task{{ID: "1", Address: a("10.0.0.1")}, {ID: "2", Address: a("10.0.0.2")}}
	got := renewed(old, []site.Task{{ID: "2", Address: a("10.0.0.2")}, {ID: "3", Address: a("10.0.0.1")}, {ID: "4", Address: a("10.0.0.4")}})
	if len(got) != 1 || got[0].ID != "4" {
		t.Errorf("got %+v", got)
	}
}

func TestALoadRemembersFirstAnswersAndFailures(t *testing.T) {
	l := &load{stop: func() {}, first: map[string]time.Time{}}
	l.note(time.Unix(1, 0), "10.0.0.1", nil)
	l.note(time.Unix(2, 0), "10.0.0.1", nil)
	l.note(time.Unix(3, 0), "", errors.New("502 Bad Gateway"))
	if m := l.members(); len(m) != 1 || !m["10.0.0.1"].Equal(time.Unix(1, 0)) {
		t.Errorf("got %v", m)
	}
	if n, failures := l.end(); n != 3 || len(failures) != 1 || !strings.Contains(failures[0], "502 Bad Gateway") {
		t.Errorf("got %d, %v", n, failures)
	}
}

func TestAsk(t *testing.T) {
	for _, c := range []struct {
		name, body string
		status     int
		wrong      string
	}{
		{"a member says its address", `{"address":"10.0.0.1"}`, http.StatusOK, ""},
		{"a gateway without a member fails", "no member", http.StatusBadGateway, "502"},
		{"an answer of somebody else fails", "<html>", http.StatusOK, "names no member"},
		{"an answer without an address fails", "{}", http.StatusOK, "names no member"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Host != "orders" {
					t.Errorf("asked for %s", r.Host)
				}
				w.WriteHeader(c.status)
				_, _ = w.Write([]byte(c.body))
			}))
			defer s.Close()
			got, err := ask(context.Background(), s.Client(), s.URL, "orders")
			switch {
			case c.wrong == "" && (err != nil || got != "10.0.0.1"):
				t.Errorf("got %s, %v", got, err)
			case c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong)):
				t.Errorf("got %v, want %s", err, c.wrong)
			}
		})
	}
}

func TestNoRunMakesNoFigure(t *testing.T) {
	if got, err := figuresOf(nil, nil); err == nil {
		t.Errorf("got %+v", got)
	}
	if got := figure.Median(seconds([]run{{took: time.Second}, {took: 3 * time.Second}}, taking)); got != 2 {
		t.Errorf("got %v", got)
	}
}
