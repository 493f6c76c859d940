package swarm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/client"

	"github.com/rolling-swarm/rolling/network-driver/topology"
	"github.com/rolling-swarm/rolling/network-driver/vip"
)

const (
	// lookEvery: Swarm's gossip takes some tenths of a second, and sends the stop signal two seconds after it has told.
	lookEvery = 500 * time.Millisecond
	// settleFor: one change of a container brings several events.
	settleFor = 30 * time.Millisecond
	// idleEvery: a network without a virtual address is asked about less often.
	idleEvery = 3 * time.Second
)

// Services asks one engine what Swarm's services are: every node is told those of the networks that it runs a container of.
type Services struct {
	docker *client.Client
	plain  *http.Client
	names  names
	log    *slog.Logger
	every  time.Duration
	agreed bool
	young  bool                             // it was silent, and has not been told so yet
	idle   map[topology.NetworkID]time.Time // when networks without a virtual address were asked about
}

// NewServices dials nothing yet. The folder holds the containers' network namespaces, by sandbox.
func NewServices(engine, sandboxes string, log *slog.Logger) (*Services, error) {
	docker, err := client.New(client.WithHost(engine))
	if err != nil {
		return nil, fmt.Errorf("engine %s: %w", engine, err)
	}
	dial := docker.Dialer()
	return &Services{
		docker: docker, log: log, every: lookEvery, names: names{folder: sandboxes}, idle: map[topology.NetworkID]time.Time{},
		plain: &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) }}},
	}, nil
}

// Run tells what it sees until the context ends: every half second, and at once when a container here changes. While no
// container here is on a network of ours, nothing is asked.
func (s *Services) Run(ctx context.Context, ask func() []vip.Question, tell func(vip.Seen, []vip.Question)) error {
	defer s.docker.Close() //nolint:errcheck // the process ends
	changed := make(chan struct{}, 1)
	go s.follow(ctx, changed)
	tick := time.NewTicker(s.every)
	defer tick.Stop()
	said := ""
	for {
		if all := ask(); len(all) > 0 {
			seen, err := s.look(ctx, all)
			switch {
			case ctx.Err() != nil:
				return nil
			case err != nil && err.Error() != said:
				s.log.Warn("the engine does not say all about services; what was known last stays", "cause", err)
				said = err.Error()
			case err == nil:
				said = ""
			}
			if seen.Services != nil || seen.Silent {
				tell(seen, all)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-changed:
			clear(s.idle)
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(settleFor):
			}
		}
	}
}

// follow nudges at each change of a container. A stream that ends is begun anew, with the next look at the latest.
func (s *Services) follow(ctx context.Context, changed chan<- struct{}) {
	filters := make(client.Filters).Add("type", string(events.ContainerEventType)).Add("event", "start", "die", "pause", "unpause", "health_status")
	for ctx.Err() == nil {
		stream := s.docker.Events(ctx, client.EventsListOptions{Filters: filters})
		for open := true; open; {
			select {
			case <-stream.Messages:
				select {
				case changed <- struct{}{}:
				default:
				}
			case err := <-stream.Err:
				if open = false; err != nil && ctx.Err() == nil {
					s.log.Debug("the engine's events ended; they are asked for again", "cause", err)
				}
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(s.every):
		}
	}
}

// look asks for all. What was answered is told also when something else was not.
func (s *Services) look(ctx context.Context, all []vip.Question) (vip.Seen, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	none := vip.Seen{Silent: true}
	if !s.agreed {
		// An engine that starts may answer without its version, which the client would take for good.
		if _, err := s.docker.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true, ForceNegotiate: true}); err != nil {
			s.young = true
			return none, fmt.Errorf("GET /_ping: %w", err)
		}
		s.agreed = true
	}
	fit, err := s.fit(ctx)
	if err != nil {
		s.agreed, s.young = false, true
		return none, err
	}
	seen := vip.Seen{Services: map[topology.NetworkID][]vip.Service{}, Fit: fit, Young: s.young}
	var problems []error
	for _, q := range all {
		if at, idle := s.idle[q.Network]; idle && time.Since(at) < idleEvery {
			continue
		}
		delete(s.idle, q.Network)
		found, err := s.services(ctx, q.Network)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		if len(found) == 0 {
			s.idle[q.Network] = time.Now()
		}
		s.names.mark(ctx, q, found)
		seen.Services[q.Network] = found
	}
	s.young = len(seen.Services) == 0 && s.young
	return seen, errors.Join(problems...)
}

// fit tells of the containers that run here which are well.
func (s *Services) fit(ctx context.Context) (map[topology.EndpointID]bool, error) {
	list, err := s.docker.ContainerList(ctx, client.ContainerListOptions{})
	if err != nil {
		return nil, fmt.Errorf("GET /containers/json: %w", err)
	}
	all := map[topology.EndpointID]bool{}
	for _, c := range list.Items {
		if c.NetworkSettings == nil {
			continue
		}
		for _, n := range c.NetworkSettings.Networks {
			if n != nil && n.EndpointID != "" {
				all[topology.EndpointID(n.EndpointID)] = well(c)
			}
		}
	}
	return all, nil
}

// well: of engines before 28 only the status's text tells of health.
func well(c container.Summary) bool {
	return c.State == container.StateRunning && !strings.HasSuffix(c.Status, "(unhealthy)") && !strings.HasSuffix(c.Status, "(health: starting)")
}

// told is what the engine answers of a network, as far as it matters here. A service without a virtual address has the
// text <nil> for one on older engines, which the client's own type does not read.
type told struct {
	Services map[string]struct {
		VIP   string
		Tasks []struct{ EndpointID, EndpointIP string }
	}
}

func (s *Services) services(ctx context.Context, network topology.NetworkID) ([]vip.Service, error) {
	path := "/v" + s.docker.ClientVersion() + "/networks/" + url.PathEscape(string(network)) + "?verbose=true"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://engine"+path, nil)
	if err != nil {
		return nil, fmt.Errorf("GET %s: %w", path, err)
	}
	answer, err := s.plain.Do(request)
	if err != nil {
		return nil, fmt.Errorf("GET %s: %w", path, err)
	}
	defer answer.Body.Close() //nolint:errcheck // read only
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET %s: %s", path, answer.Status)
	}
	var t told
	if err := json.NewDecoder(answer.Body).Decode(&t); err != nil {
		return nil, fmt.Errorf("GET %s: %w", path, err)
	}
	return t.services(network), nil
}

func (t told) services(network topology.NetworkID) []vip.Service {
	all := []vip.Service{}
	for name, s := range t.Services {
		v, err := netip.ParseAddr(s.VIP)
		if err != nil || !v.Is4() || name == "" {
			continue
		}
		found := vip.Service{Network: network, Name: name, VIP: v}
		for _, t := range s.Tasks {
			if a, err := netip.ParseAddr(t.EndpointIP); err == nil && a.Is4() {
				found.Tasks = append(found.Tasks, vip.Task{Endpoint: topology.EndpointID(t.EndpointID), Address: a})
			}
		}
		all = append(all, found)
	}
	return all
}
