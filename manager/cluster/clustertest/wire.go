package clustertest

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/swarm"
)

var apiVersion = regexp.MustCompile(`^/v1\.\d+`)

func (t *Toy) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Api-Version", "1.51")
	w.Header().Set("Content-Type", "application/json")
	path := strings.Split(strings.TrimPrefix(apiVersion.ReplaceAllString(r.URL.Path, ""), "/"), "/")
	var err error
	switch path[0] {
	case "_ping":
		_, err = w.Write([]byte("OK"))
	case "swarm":
		answer(w, map[string]any{"ID": "toy"})
	case "nodes":
		answer(w, t.nodes)
	case "services":
		err = t.serveServices(w, r, path[1:])
	case "tasks":
		err = t.serveTasks(w, r, path[1:])
	case "networks":
		err = t.serveNetworks(w, r, path[1:])
	case "configs":
		err = serveObjects(t, w, r, path[1:], "config", &t.configs,
			func(c *swarm.Config) (*string, *string) { return &c.ID, &c.Spec.Name }, func(c *swarm.Config, b []byte) error { return json.Unmarshal(b, &c.Spec) })
	case "secrets":
		err = serveObjects(t, w, r, path[1:], "secret", &t.secrets,
			func(c *swarm.Secret) (*string, *string) { return &c.ID, &c.Spec.Name }, func(c *swarm.Secret, b []byte) error {
				if err := json.Unmarshal(b, &c.Spec); err != nil {
					return err
				}
				c.Spec.Data = nil // Swarm never shows it again
				return nil
			})
	default:
		err = refuse(http.StatusNotFound, "page not found")
	}
	if err != nil {
		complain(w, err)
	}
}

// refusal is an error with the status that an engine gives it.
type refusal struct {
	status int
	text   string
}

func (r refusal) Error() string { return r.text }

func refuse(status int, format string, args ...any) error {
	return refusal{status, fmt.Sprintf(format, args...)}
}

func complain(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	if r, ok := err.(refusal); ok { //nolint:errorlint // it is made a few lines above, and never wrapped
		status = r.status
	}
	w.WriteHeader(status)
	answer(w, map[string]string{"message": err.Error()})
}

func answer(w http.ResponseWriter, v any) {
	if err := json.NewEncoder(w).Encode(v); err != nil {
		panic(err) // a recorder takes everything
	}
}

func copied[T any](v T) (out T, err error) {
	b, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(b, &out)
	}
	return out, err
}

func (t *Toy) serveServices(w http.ResponseWriter, r *http.Request, path []string) error {
	if len(path) == 0 {
		var all []swarm.Service
		for _, s := range t.services {
			shown := s.Service
			shown.ServiceStatus = t.status(s)
			all = append(all, shown)
		}
		answer(w, all)
		return nil
	}
	if path[0] == "create" {
		return t.createService(w, r)
	}
	i := slices.IndexFunc(t.services, func(s *service) bool { return s.ID == path[0] || s.Spec.Name == path[0] })
	if i < 0 {
		return refuse(http.StatusNotFound, "service %s not found", path[0])
	}
	s := t.services[i]
	switch {
	case len(path) == 2 && path[1] == "update":
		return t.updateService(w, r, s)
	case r.Method == http.MethodDelete:
		t.services = slices.Delete(t.services, i, i+1)
		for _, k := range t.tasks {
			if k.ServiceID == s.ID && !k.stopped {
				t.stop(k, swarm.TaskStateRemove)
			}
		}
	default:
		answer(w, s.Service)
	}
	return nil
}

func (t *Toy) updateService(w http.ResponseWriter, r *http.Request, s *service) error {
	var next swarm.ServiceSpec
	if err := json.NewDecoder(r.Body).Decode(&next); err != nil {
		return err
	}
	if r.URL.Query().Get("version") != strconv.FormatUint(s.Version.Index, 10) {
		return fmt.Errorf("rpc error: code = Unknown desc = update out of sequence")
	}
	if next.Name != s.Spec.Name {
		return refuse(http.StatusNotImplemented, "rpc error: code = Unimplemented desc = renaming services is not supported")
	}
	if err := t.write(s, next); err != nil {
		return err
	}
	answer(w, swarm.ServiceUpdateResponse{})
	return nil
}

func (t *Toy) status(s *service) *swarm.ServiceStatus {
	var n swarm.ServiceStatus
	n.DesiredTasks = uint64(len(t.slots(s)))
	for _, k := range t.tasks {
		if k.ServiceID == s.ID && k.Status.State == swarm.TaskStateRunning {
			n.RunningTasks++
		}
	}
	return &n
}

func (t *Toy) createService(w http.ResponseWriter, r *http.Request) error {
	s := &service{retries: map[string]time.Time{}}
	if err := json.NewDecoder(r.Body).Decode(&s.Spec); err != nil {
		return err
	}
	if slices.ContainsFunc(t.services, func(has *service) bool { return has.Spec.Name == s.Spec.Name }) {
		return refuse(http.StatusConflict, "rpc error: code = AlreadyExists desc = name conflicts with an existing object: service %s already exists", s.Spec.Name)
	}
	if err := t.references(s.Spec); err != nil {
		return err
	}
	fill(&s.Spec)
	s.ID, s.CreatedAt = t.id("service"), t.at
	t.touch(s)
	t.services = append(t.services, s)
	w.WriteHeader(http.StatusCreated)
	answer(w, swarm.ServiceCreateResponse{ID: s.ID})
	return nil
}

// write lays a spec over a service's own, and starts the updater.
func (t *Toy) write(s *service, next swarm.ServiceSpec) error {
	if err := t.references(next); err != nil {
		return err
	}
	fill(&next)
	before := s.Spec
	s.PreviousSpec, s.Spec = &before, next
	t.begin(s)
	t.touch(s)
	return nil
}

// references refuses ids that nothing has.
func (t *Toy) references(s swarm.ServiceSpec) error {
	for _, n := range s.TaskTemplate.Networks {
		if !slices.ContainsFunc(t.networks, func(has *netw) bool { return has.ID == n.Target }) {
			return refuse(http.StatusNotFound, "network %s not found", n.Target)
		}
	}
	c := s.TaskTemplate.ContainerSpec
	for _, ref := range c.Configs {
		if !slices.ContainsFunc(t.configs, func(has swarm.Config) bool { return has.ID == ref.ConfigID }) {
			return refuse(http.StatusBadRequest, "rpc error: code = InvalidArgument desc = config not found: %s", ref.ConfigName)
		}
	}
	for _, ref := range c.Secrets {
		if !slices.ContainsFunc(t.secrets, func(has swarm.Secret) bool { return has.ID == ref.SecretID }) {
			return refuse(http.StatusBadRequest, "rpc error: code = InvalidArgument desc = secret not found: %s", ref.SecretName)
		}
	}
	return nil
}

// fill is what Swarm's conversions leave in a spec that did not say (moby, daemon/cluster/convert).
func fill(s *swarm.ServiceSpec) {
	delay, grace, attempts, one := 5*time.Second, 10*time.Second, uint64(0), uint64(1)
	c, task := s.TaskTemplate.ContainerSpec, &s.TaskTemplate
	c.Isolation = container.IsolationDefault
	if c.StopGracePeriod == nil {
		c.StopGracePeriod = &grace
	}
	if c.DNSConfig == nil {
		c.DNSConfig = &swarm.DNSConfig{}
	}
	if task.Resources == nil {
		task.Resources = &swarm.ResourceRequirements{Limits: &swarm.Limit{}, Reservations: &swarm.Resources{}}
	}
	if task.Placement == nil {
		task.Placement = &swarm.Placement{}
	}
	if task.RestartPolicy == nil {
		task.RestartPolicy = &swarm.RestartPolicy{Condition: swarm.RestartPolicyConditionAny}
	}
	if task.RestartPolicy.Delay == nil {
		task.RestartPolicy.Delay = &delay
	}
	if task.RestartPolicy.MaxAttempts == nil {
		task.RestartPolicy.MaxAttempts = &attempts
	}
	task.Runtime = swarm.RuntimeContainer
	if s.Mode.Global == nil && (s.Mode.Replicated == nil || s.Mode.Replicated.Replicas == nil) {
		s.Mode.Replicated = &swarm.ReplicatedService{Replicas: &one}
	}
	if s.UpdateConfig == nil {
		s.UpdateConfig = &swarm.UpdateConfig{Parallelism: 1, FailureAction: swarm.UpdateFailureActionPause, Monitor: 5 * time.Second, Order: swarm.UpdateOrderStopFirst}
	}
}

func (t *Toy) serveLines(w http.ResponseWriter, k *task, tail string) error {
	lines := t.programs[k.Spec.ContainerSpec.Image].Lines
	if n, err := strconv.Atoi(tail); err == nil && k.Status.ContainerStatus != nil {
		lines = lines[max(0, len(lines)-n):]
	}
	for i, line := range lines {
		text := fmt.Sprintf("%s %s\n", k.CreatedAt.Add(time.Duration(i)*time.Millisecond).UTC().Format("2006-01-02T15:04:05.000000000Z"), line)
		head := []byte{byte(1 + i%2), 0, 0, 0, 0, 0, 0, 0}
		binary.BigEndian.PutUint32(head[4:], uint32(len(text)))
		if _, err := w.Write(append(head, text...)); err != nil {
			return err
		}
	}
	return nil
}
