package member

import (
	"testing"
	"time"
)

func TestTurn(t *testing.T) {
	mine := epoch.UnixMicro()
	for _, c := range []struct {
		name    string
		current Stamp
		after   time.Duration // since the decision
		want    Verdict
		version int64 // above which Mine must be
	}{
		{"an empty registry is written", Stamp{}, 0, Write, 0},
		{"an older decision of another is overwritten", Stamp{mine - 1, "n2"}, time.Minute, Write, mine - 1},
		{"our own decision is in step", Stamp{mine, "n1"}, time.Minute, InStep, 0},
		{"a newer one yields to a fresh decision", Stamp{mine + 50, "n2"}, time.Second, Write, mine + 50},
		{"a newer one overtakes an old decision", Stamp{mine + 50, "n2"}, 3 * time.Second, Overtaken, 0},
		{"the same version of another counts as newer", Stamp{mine, "n2"}, 3 * time.Second, Overtaken, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			var turn Turn
			turn.Decide("n1", epoch)
			if got := turn.Judge(c.current, epoch.Add(c.after)); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
			if c.want == Write && turn.Mine().Version <= c.version {
				t.Errorf("version %d is not above %d", turn.Mine().Version, c.version)
			}
		})
	}
}

func TestAnOvertakenLeaderInsistsAfterAWhile(t *testing.T) {
	var turn Turn
	turn.Decide("n1", epoch)
	other := Stamp{epoch.UnixMicro() + 1e9, "n2"}
	for _, s := range []int{3, 10, 17} {
		if got := turn.Judge(other, epoch.Add(time.Duration(s)*time.Second)); got != Overtaken {
			t.Fatalf("after %d s: %v", s, got)
		}
	}
	if got := turn.Judge(other, epoch.Add(18*time.Second)); got != Write || turn.Mine().Version <= other.Version {
		t.Errorf("after 18 s: %v with %v", got, turn.Mine())
	}
}

func TestALaggingClockDoesNotLoseToThePast(t *testing.T) {
	var turn Turn
	turn.Decide("n1", epoch)
	future := Stamp{epoch.Add(time.Hour).UnixMicro(), "n2"}
	turn.Judge(future, epoch)
	turn.Decide("n1", epoch.Add(time.Minute))
	if turn.Mine().Version <= future.Version {
		t.Errorf("version %d is not above the one seen, %d", turn.Mine().Version, future.Version)
	}
}

// TestTwoLeadersSettle lets a deposed leader, whose view stands still, and the new one meet at one registry.
func TestTwoLeadersSettle(t *testing.T) {
	for _, skew := range []time.Duration{-time.Hour, 0, time.Hour} {
		var old, young Turn
		registry := Stamp{}
		step := func(turn *Turn, now time.Time) {
			if turn.Judge(registry, now) == Write {
				registry = turn.Mine()
			}
		}
		old.Decide("old", epoch.Add(skew))
		step(&old, epoch.Add(skew))
		takeover := epoch.Add(5 * time.Second)
		young.Decide("young", takeover)
		for tick := range 40 { // 10 s, in which the old one still believes that it leads
			now := takeover.Add(time.Duration(tick) * 250 * time.Millisecond)
			step(&young, now)
			step(&old, now.Add(skew))
			if registry.By != "young" {
				t.Fatalf("skew %v, tick %d: the registry holds %v", skew, tick, registry)
			}
		}
	}
}
