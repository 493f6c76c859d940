package release

import (
	"slices"
	"time"

	"github.com/rolling-swarm/rolling/manager/project"
)

// FrozenUntil says whether a freeze window is open at now, and when the last of the open ones closes, in its zone.
func FrozenUntil(windows []project.Freeze, now time.Time) (until time.Time, frozen bool) {
	for _, w := range windows {
		if end, ok := openUntil(w, now); ok && (!frozen || end.After(until)) {
			until, frozen = end, true
		}
	}
	return until, frozen
}

// openUntil looks at the windows that open on now's day and on the day before, since one may pass midnight.
func openUntil(w project.Freeze, now time.Time) (time.Time, bool) {
	local := now.In(w.Zone)
	for _, day := range []int{local.Day(), local.Day() - 1} {
		midnight := time.Date(local.Year(), local.Month(), day, 0, 0, 0, 0, w.Zone)
		if !w.Days[midnight.Weekday()] || slices.Contains(w.Except, project.Date{Year: midnight.Year(), Month: midnight.Month(), Day: midnight.Day()}) {
			continue
		}
		from, to := clockOn(midnight, w.From, 0), clockOn(midnight, w.To, 0)
		if w.To <= w.From {
			to = clockOn(midnight, w.To, 1)
		}
		if !now.Before(from) && now.Before(to) {
			return to, true
		}
	}
	return time.Time{}, false
}

// clockOn is what the clock on the wall shows on a day, also on the two days a year when an hour is missing or double:
// adding a duration to midnight would then be an hour off.
func clockOn(midnight time.Time, sinceMidnight time.Duration, days int) time.Time {
	return time.Date(midnight.Year(), midnight.Month(), midnight.Day()+days, 0, int(sinceMidnight/time.Minute), 0, 0, midnight.Location())
}
