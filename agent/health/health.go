// Package health tells the node's network plugin which containers are healthy, where it waits for that before it announces
// their addresses (rolling.announce-when: healthy). It looks every few seconds and whenever the engine reports a change,
// and asks the engine nothing while nobody is awaited. It takes nothing back: what is announced stays so.
package health

import (
	"context"
	"log/slog"
	"time"
)

const (
	// lookEvery is also the agent's sign of life: the plugin gives up on it after a minute.
	lookEvery = 5 * time.Second
	// listenAgain after the engine's events broke off.
	listenAgain = time.Second
)

// Engine knows the node's containers.
type Engine interface {
	// Healthy are those of the endpoints whose containers run and are healthy, or have no health check.
	Healthy(ctx context.Context, endpoints []string) ([]string, error)
	// Changes calls tell whenever a container has started or its health is another, until ctx ends or the engine breaks off.
	Changes(ctx context.Context, tell func()) error
}

// Plugin waits for the health of endpoints.
type Plugin interface {
	Awaited(context.Context) ([]string, error)
	Healthy(ctx context.Context, endpoints []string) error
}

// A Teller is the loop.
type Teller struct {
	engine Engine
	plugin Plugin
	log    *slog.Logger
}

// New starts nothing.
func New(engine Engine, plugin Plugin, log *slog.Logger) *Teller { return &Teller{engine, plugin, log} }

// Run works until ctx ends.
func (t *Teller) Run(ctx context.Context) error {
	bell := make(chan struct{}, 1)
	go t.listen(ctx, bell)
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for said := ""; ; {
		now := ""
		if err := t.look(ctx); err != nil && ctx.Err() == nil {
			now = err.Error()
		}
		if now != "" && now != said { // the same failure again and again is said once
			t.log.Warn("cannot tell which containers are healthy; trying again", "error", now)
		}
		said = now
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		case <-bell:
		}
	}
}

func (t *Teller) listen(ctx context.Context, bell chan<- struct{}) {
	for ctx.Err() == nil {
		_ = t.engine.Changes(ctx, func() { // an engine that is away is looked at again anyway
			select {
			case bell <- struct{}{}:
			default:
			}
		})
		select {
		case <-ctx.Done():
		case <-time.After(listenAgain):
		}
	}
}

func (t *Teller) look(ctx context.Context) error {
	awaited, err := t.plugin.Awaited(ctx)
	if err != nil || len(awaited) == 0 {
		return err
	}
	healthy, err := t.engine.Healthy(ctx, awaited)
	if err != nil || len(healthy) == 0 {
		return err
	}
	return t.plugin.Healthy(ctx, healthy)
}
