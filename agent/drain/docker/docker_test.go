package docker

import (
	"testing"
	"time"

	"github.com/moby/moby/api/types/events"

	"github.com/rolling-swarm/rolling/agent/drain/stops"
)

func TestEventsAreReadAsTheyAreWritten(t *testing.T) {
	message := func(action events.Action, signal string) events.Message {
		return events.Message{
			Type: events.ContainerEventType, Action: action, TimeNano: 1_700_000_000_000_000_001,
			Actor: events.Actor{ID: "abc", Attributes: map[string]string{"signal": signal, "name": "web.1", "rolling.drain": "20s"}},
		}
	}
	for _, c := range []struct {
		name string
		in   events.Message
		want stops.Happening
	}{
		{"SIGURG asks for a stop", message(events.ActionKill, "23"), stops.Asked},
		{"SIGTERM", message(events.ActionKill, "15"), stops.Terminated},
		{"SIGKILL", message(events.ActionKill, "9"), stops.Killed},
		{"another signal does not matter", message(events.ActionKill, "1"), ""},
		{"a kill without a signal does not matter", message(events.ActionKill, ""), ""},
		{"the end", message(events.ActionDie, ""), stops.Ended},
		{"the removal", message(events.ActionDestroy, ""), stops.Ended},
		{"the start", message(events.ActionStart, ""), stops.Began},
		{"a health check does not matter", message("exec_create: /bin/true", ""), ""},
		{"nobody's kill does not matter", events.Message{Action: events.ActionKill}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, matters := Event(c.in)
			if got.What != c.want || matters != (c.want != "") {
				t.Fatalf("got %q, %t", got.What, matters)
			}
			if matters && (got.Container != "abc" || got.Name != "web.1" || got.Drain != "20s" || got.At.UnixNano() != 1_700_000_000_000_000_001) {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestTheSignalIsKnownByEachOfItsNames(t *testing.T) {
	for name, want := range map[string]bool{"SIGURG": true, "URG": true, "23": true, "sigurg": true, "": false, "SIGTERM": false, "2": false} {
		if got := isDrainSignal(name); got != want {
			t.Errorf("%q: got %t", name, got)
		}
	}
}

func TestTimesAreWrittenWithAllTheirNanoseconds(t *testing.T) {
	if got := stamp(time.Unix(12, 34)); got != "12.000000034" {
		t.Errorf("got %s", got)
	}
}
