// Package secrets lays the line's keys and certificates into the Swarm's secrets, once, before the stack is deployed: the
// content of a secret cannot be read back, so neither end could take it from there but as a mounted file. It knows Docker's
// API for secrets; what is in them, pki knows.
package secrets

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/swarm"
	"github.com/moby/moby/client"

	"github.com/rolling-swarm/rolling/manager/line/pki"
)

// Labels of the secrets, for people: when the certificate in it ends cannot be read otherwise.
const (
	labelGeneration = "rolling.line"
	labelEnds       = "rolling.line.ends"
)

// answerWithin bounds one question to the engine.
const answerWithin = 15 * time.Second

// Swarm is the Swarm by way of one of its managers' engines.
type Swarm struct {
	api *client.Client
}

// New makes a Swarm of an engine's address, such as unix:///var/run/docker.sock. It does not connect.
func New(host string) (*Swarm, error) {
	api, err := client.New(client.WithHost(host))
	if err != nil {
		return nil, fmt.Errorf("engine %s: %w", host, err)
	}
	return Of(api), nil
}

// Of makes a Swarm of a client that the caller has made.
func Of(api *client.Client) *Swarm { return &Swarm{api: api} }

// Close ends idle connections.
func (s *Swarm) Close() error { return s.api.Close() }

// Laid is what is in the Swarm now.
type Laid struct {
	Generation     int
	Manager, Agent string // names of the secrets
	Made           bool   // false: they were there before
	Ends           time.Time
}

// Init makes the two secrets unless they are there; again makes a new generation beside the one that is.
func (s *Swarm) Init(ctx context.Context, now time.Time, random io.Reader, again bool) (Laid, error) {
	names, ends, err := s.list(ctx)
	if err != nil {
		return Laid{}, err
	}
	choice := pki.Choose(names, again)
	laid := Laid{Generation: choice.Generation, Made: choice.Make}
	laid.Manager, laid.Agent = pki.Names(choice.Generation)
	if !choice.Make {
		laid.Ends = ends[laid.Agent]
		return laid, nil
	}
	for _, half := range choice.Remove {
		if err := s.remove(ctx, half); err != nil {
			return Laid{}, fmt.Errorf("half of generation %d is missing, and its other half cannot be made again: %w", choice.Generation, err)
		}
	}
	g, err := pki.Make(now, random)
	if err != nil {
		return Laid{}, err
	}
	laid.Ends = g.Ends
	labels := map[string]string{labelGeneration: strconv.Itoa(choice.Generation), labelEnds: g.Ends.Format(time.RFC3339)}
	if err := s.create(ctx, laid.Manager, labels, g.Manager); err != nil {
		return Laid{}, err
	}
	if err := s.create(ctx, laid.Agent, labels, g.Agent); err != nil {
		return Laid{}, errors.Join(err, s.remove(ctx, laid.Manager))
	}
	return laid, nil
}

func (s *Swarm) list(ctx context.Context) (names []string, ends map[string]time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	got, err := s.api.SecretList(ctx, client.SecretListOptions{})
	if err != nil {
		return nil, nil, fmt.Errorf("list the Swarm's secrets (this has to run on a manager of the Swarm): %w", err)
	}
	ends = map[string]time.Time{}
	for _, one := range got.Items {
		names = append(names, one.Spec.Name)
		if t, err := time.Parse(time.RFC3339, one.Spec.Labels[labelEnds]); err == nil {
			ends[one.Spec.Name] = t
		}
	}
	return names, ends, nil
}

func (s *Swarm) create(ctx context.Context, name string, labels map[string]string, content []byte) error {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	spec := swarm.SecretSpec{Annotations: swarm.Annotations{Name: name, Labels: labels}, Data: content}
	if _, err := s.api.SecretCreate(ctx, client.SecretCreateOptions{Spec: spec}); err != nil {
		return fmt.Errorf("make secret %s: %w", name, err)
	}
	return nil
}

func (s *Swarm) remove(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	if _, err := s.api.SecretRemove(ctx, name, client.SecretRemoveOptions{}); err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("remove secret %s: %w", name, err)
	}
	return nil
}
