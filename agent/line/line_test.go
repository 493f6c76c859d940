package line

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/internal/wire"
)

func TestSettingsAreCheckedAllAtOnce(t *testing.T) {
	for _, c := range []struct {
		name   string
		config Config
		want   []string
	}{
		{"no manager is fine", Config{}, nil},
		{"hosts with and without a port", Config{Manager: []string{"manager", "10.0.0.1:7000", "fd00::1", "[fd00::1]:7000", "swarm"}, Secret: "/s"}, nil},
		{"all that is wrong", Config{Manager: []string{"https://m", "m:0", "m:x", ":7420", "m:1:2"}, Secret: "s"},
			[]string{`"https://m"`, `"m:0"`, `"m:x"`, `":7420"`, `"m:1:2"`, "ROLLING_LINE_SECRET"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.config.Validate()
			if (err == nil) != (c.want == nil) {
				t.Fatalf("got %v", err)
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%v does not say %s", err, w)
				}
			}
		})
	}
}

func TestAnAddressGetsTheUsualPort(t *testing.T) {
	for in, want := range map[string]string{
		"manager": "manager:7420", "10.0.0.1": "10.0.0.1:7420", "10.0.0.1:99": "10.0.0.1:99", "fd00::1": "[fd00::1]:7420",
		"[fd00::1]": "[fd00::1]:7420", "[fd00::1]:99": "[fd00::1]:99", " m ": "m:7420",
	} {
		if got, err := withPort(in); err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", in, got, err, want)
		}
	}
}

func TestAWaitIsSpreadOverItsSecondHalf(t *testing.T) {
	for chance, want := range map[float64]time.Duration{0: 5 * time.Second, 0.5: 7500 * time.Millisecond, 1: 10 * time.Second} {
		if got := jitter(10*time.Second, chance); got != want {
			t.Errorf("%v: %s", chance, got)
		}
	}
}

type fake struct{ err error }

func (f fake) Hello(context.Context) (wire.Hello, error) { return wire.Hello{}, f.err }
func (f fake) Managers(context.Context) ([]string, error) {
	return []string{"10.0.0.1", "fd00::1"}, f.err
}
func (f fake) Container(context.Context, string) (string, error) { return "abcdefabcdef", f.err }
func (f fake) Routes(context.Context) (wire.Routes, error)       { return wire.Routes{}, f.err }
func (f fake) Driver(context.Context) (wire.Driver, error)       { return wire.Driver{Ready: true}, f.err }
func (f fake) Drain(context.Context, bool) error                 { return f.err }
func (f fake) Reach(_ context.Context, from, to string) (wire.Reach, error) {
	return wire.Reach{Why: from + " to " + to}, f.err
}
func (f fake) Lines(context.Context, string, int) (wire.Lines, error) { return wire.Lines{}, f.err }
func (f fake) Checks(context.Context, string) (wire.Checks, error) {
	return wire.Checks{Failed: 3, Checks: []wire.Check{{ExitCode: 1, Output: "refused"}}}, f.err
}
func (f fake) Samples(context.Context, []string) (wire.Samples, error) {
	return wire.Samples{IntervalSeconds: 10}, f.err
}

func (f fake) Addresses(_ context.Context, leases bool, one netip.Addr) (wire.Addresses, error) {
	return wire.Addresses{Ready: leases, Warnings: []string{one.String()}}, f.err
}
func (f fake) Free(_ context.Context, a netip.Addr, sure bool) error {
	if !sure {
		return fmt.Errorf("%w: %s may be in use", wire.ErrRefused, a)
	}
	return f.err
}
func (f fake) ReadSettled(context.Context) error { return f.err }

func TestTheDoorAnswersWhatItKnows(t *testing.T) {
	id := strings.Repeat("a", 64)
	for _, c := range []struct {
		name, method, path string
		err                error
		status             int
		text               string
	}{
		{"hello", "GET", wire.PathHello, nil, 200, `{"nodeId":"n","hostname":"h"}`},
		{"routes", "GET", wire.PathRoutes, nil, 200, `"routes":null`},
		{"routes that cannot be read", "GET", wire.PathRoutes, errors.New("no netlink"), 502, "no netlink"},
		{"health", "GET", wire.PathHealth, nil, 200, `"problems":["a problem"]`},
		{"lines", "GET", wire.PathLines + "?n=5&container=" + id, nil, 200, `"lines":null`},
		{"lines of a task", "GET", wire.PathLines + "?n=5&task=abcdefabcdefa", nil, 200, `"lines":null`},
		{"lines of nobody", "GET", wire.PathLines + "?n=5&container=" + id, wire.ErrUnknown, 404, "no such container"},
		{"lines of a task of nobody", "GET", wire.PathLines + "?n=5&task=abcdefabcdefa", wire.ErrUnknown, 404, "no such container"},
		{"lines of no container", "GET", wire.PathLines + "?n=5", nil, 400, "want container=ID"},
		{"lines of two", "GET", wire.PathLines + "?n=5&container=abcdefabcdef&task=abcdefabcdef", nil, 400, "want container=ID"},
		{"lines of a name", "GET", wire.PathLines + "?n=5&container=my_container", nil, 400, "want container=ID"},
		{"lines of a path", "GET", wire.PathLines + "?n=5&container=..%2F..%2Finfo%3Fa", nil, 400, "want container=ID"},
		{"no number", "GET", wire.PathLines + "?container=" + id, nil, 400, "want 1 to 500"},
		{"too many lines", "GET", wire.PathLines + "?n=501&container=" + id, nil, 400, "want 1 to 500"},
		{"checks", "GET", wire.PathChecks + "?container=" + id, nil, 200, `"failed":3`},
		{"checks of a task of nobody", "GET", wire.PathChecks + "?task=abcdefabcdefa", wire.ErrUnknown, 404, "no such container"},
		{"checks of a path", "GET", wire.PathChecks + "?task=..%2F..%2Finfo%3Fa", nil, 400, "want container=ID"},
		{"samples", "GET", wire.PathSamples + "?task=abcdefabcdefa&task=abcdefabcdefb", nil, 200, `"intervalSeconds":10`},
		{"samples of nobody", "GET", wire.PathSamples, nil, 400, "want 1 to 100"},
		{"samples of too many", "GET", wire.PathSamples + "?" + strings.Repeat("task=abcdefabcdefa&", 101), nil, 400, "want 1 to 100"},
		{"samples without the plugin", "GET", wire.PathSamples + "?task=abcdefabcdefa", errors.New("no metrics plugin"), 502, "no metrics plugin"},
		{"addresses", "GET", wire.PathAddresses + "?leases=true", nil, 200, `"ready":true`},
		{"one address", "GET", wire.PathAddresses + "?lease=10.1.0.1", nil, 200, `"10.1.0.1"`},
		{"addresses of nonsense", "GET", wire.PathAddresses + "?lease=x", nil, 400, "want an address"},
		{"addresses without the plugin", "GET", wire.PathAddresses, errors.New("no ipam plugin"), 502, "no ipam plugin"},
		{"a rest is ended", "POST", wire.PathFree + "?address=10.1.0.1&force=true", nil, 200, ""},
		{"a rest that the plugin does not end", "POST", wire.PathFree + "?address=10.1.0.1", nil, 409, "10.1.0.1 may be in use"},
		{"a rest of nobody", "POST", wire.PathFree + "?address=fd00::1", nil, 400, "want address=IP"},
		{"a rest is not ended by looking", "GET", wire.PathFree + "?address=10.1.0.1", nil, 501, "knows no question"},
		{"named pools are to be read", "POST", wire.PathSettled, nil, 200, ""},
		{"whether one reaches another", "GET", wire.PathReach + "?from=10.0.0.1&to=10.0.0.2:80/tcp", nil, 200, `"why":"10.0.0.1 to 10.0.0.2:80/tcp"`},
		{"network", "GET", wire.PathNetwork, nil, 200, `"driver":{"ready":true`},
		{"network without the plugin", "GET", wire.PathNetwork, errors.New("no net plugin"), 200, `"silence":"no net plugin"`},
		{"a drain", "POST", wire.PathDrain + "?on=true", nil, 200, ""},
		{"a drain that says neither", "POST", wire.PathDrain, nil, 400, "want on=true"},
		{"a drain without the plugin", "POST", wire.PathDrain + "?on=false", errors.New("no net plugin"), 502, "no net plugin"},
		{"another method", "POST", wire.PathHealth, nil, 405, ""},
		{"another path", "GET", "/v1/exec", nil, 501, `knows no question "/v1/exec"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := &Line{parts: Parts{Engine: fake{c.err}, Fabric: fake{c.err}, Meter: fake{c.err}, Ledger: fake{c.err}, Host: func() wire.Host { return wire.Host{} }, Plugins: func() []wire.Plugin { return nil }, Health: func() []string { return []string{"a problem"} }, Log: slog.New(slog.DiscardHandler)}}
			w := httptest.NewRecorder()
			l.door(wire.Hello{NodeID: "n", Hostname: "h"}, func() {}).ServeHTTP(w, httptest.NewRequest(c.method, c.path, nil))
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.text) {
				t.Errorf("%d %s, want %d %s", w.Code, w.Body, c.status, c.text)
			}
		})
	}
}

func TestTheWordSwarmStandsForItsManagers(t *testing.T) {
	l := &Line{config: Config{Manager: []string{"first:1", Swarm}}, parts: Parts{Engine: fake{}}}
	got, err := l.addresses(t.Context())
	if want := "first:1 10.0.0.1:7420 [fd00::1]:7420"; err != nil || strings.Join(got, " ") != want {
		t.Errorf("%v, %v; want %s", got, err, want)
	}
}

func TestASecretForTheOtherEndIsRefused(t *testing.T) {
	if _, err := New(Config{Secret: "/s"}, []byte("x"), Parts{}); err == nil || !strings.Contains(err.Error(), "secret /s") {
		t.Errorf("got %v", err)
	}
}
