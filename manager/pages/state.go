package pages

import (
	"fmt"

	"github.com/rolling-swarm/rolling/manager/engine"
	"github.com/rolling-swarm/rolling/manager/release"
	"github.com/rolling-swarm/rolling/ui"
)

// pill is a state at a glance: a colour, a shape and a word, each of which says it alone.
type pill struct {
	Tone  string // ok, run, warn, bad, idle
	Icon  string
	Text  string
	State string // the engine's own word
}

func outcomePill(w ui.Words, state any, goingBack bool) pill {
	s := fmt.Sprint(state)
	p := pill{Tone: "idle", Icon: "idle", State: s}
	switch s {
	case string(release.Running), "progressing":
		p.Tone, p.Icon = "run", "run"
	case string(release.Succeeded):
		p.Tone, p.Icon = "ok", "ok"
	case string(release.RolledBack):
		p.Tone, p.Icon = "warn", "back"
	case string(release.Paused):
		p.Tone, p.Icon = "warn", "pause"
	case string(release.TimedOut):
		p.Tone, p.Icon = "bad", "clock"
	case string(release.Failed):
		p.Tone, p.Icon = "bad", "bad"
	}
	key := "outcome." + s
	if goingBack {
		p.Tone, p.Icon, key = "warn", "back", "outcome.going_back"
	}
	if p.Text = clean(s); w.Has(key) {
		p.Text = w.Say(key)
	}
	return p
}

// health is how an environment or a service does, by what runs and what should.
type health string

const (
	well    health = "well"    // all that should run runs
	lacking health = "short"   // some of it does
	down    health = "down"    // none of it does
	resting health = "resting" // none should
	empty   health = "empty"   // nothing has been deployed
	unsure  health = "unknown" // Swarm did not say
)

func healthOf(services []engine.Service) (h health, running, wanted uint64) {
	if len(services) == 0 {
		return empty, 0, 0
	}
	h = well
	for _, s := range services {
		running, wanted = running+s.Running, wanted+s.Wanted
		switch one := serviceHealth(s); {
		case one == down:
			h = down
		case one == lacking && h != down:
			h = lacking
		}
	}
	if wanted == 0 {
		h = resting
	}
	return h, running, wanted
}

func serviceHealth(s engine.Service) health {
	switch {
	case s.Wanted == 0:
		return resting
	case s.Running == 0:
		return down
	case s.Running < s.Wanted:
		return lacking
	}
	return well
}

func healthPill(w ui.Words, h health) pill {
	looks := map[health][2]string{
		well: {"ok", "ok"}, lacking: {"warn", "warn"}, down: {"bad", "bad"}, resting: {"idle", "pause"}, empty: {"idle", "idle"}, unsure: {"idle", "idle"},
	}
	return pill{Tone: looks[h][0], Icon: looks[h][1], Text: w.Say("health." + string(h)), State: string(h)}
}

// taskPill joins Swarm's word on a task and its own on its health.
func taskPill(w ui.Words, t engine.Task) pill {
	p := pill{Tone: "run", Icon: "run", State: t.State}
	key := "task." + t.State
	switch t.State {
	case "running":
		p.Tone, p.Icon = "ok", "ok"
		switch t.Health {
		case "unhealthy":
			p.Tone, p.Icon, key = "bad", "warn", "task.unhealthy"
		case "starting":
			p.Tone, p.Icon, key = "run", "run", "task.checking"
		case "healthy":
			key = "task.healthy"
		}
	case "complete", "shutdown", "remove":
		p.Tone, p.Icon = "idle", "idle"
	case "failed", "rejected", "orphaned":
		p.Tone, p.Icon = "bad", "bad"
	}
	if p.Text = clean(t.State); w.Has(key) {
		p.Text = w.Say(key)
	}
	return p
}
