package store

import (
	"slices"
	"strconv"

	"github.com/rolling-swarm/rolling/manager/project"
	"github.com/rolling-swarm/rolling/manager/release"
)

// KeptEvents is how many events are kept for those who were away; the rollouts themselves are kept for ever.
const KeptEvents = 10_000

// Rollouts lists rollouts, newest first: of one project and one environment if they are named, older than before, at most
// limit of them.
func Rollouts(tx Tx, name project.Name, env project.EnvironmentName, before RolloutID, limit int) ([]Rollout, error) {
	r := Range{Reverse: true}
	if before != "" {
		r.After = before.key()
	}
	var all []Rollout
	if name != "" {
		return rolloutsOf(tx, name, env, r, limit)
	}
	for key, b := range tx.Scan(rollouts, r) {
		one, err := read[Rollout](rollouts, key, b)
		if err != nil {
			return nil, err
		}
		if all = append(all, one); len(all) == limit {
			break
		}
	}
	return all, nil
}

// rolloutsOf goes by the project's own list.
func rolloutsOf(tx Tx, name project.Name, env project.EnvironmentName, r Range, limit int) ([]Rollout, error) {
	r.Prefix = string(name) + "/"
	if r.After != "" {
		r.After = r.Prefix + r.After
	}
	var all []Rollout
	for key, b := range tx.Scan(history, r) {
		if env != "" && string(b) != string(env) {
			continue
		}
		one, ok, err := get[Rollout](tx, rollouts, key[len(r.Prefix):])
		if err != nil {
			return nil, err
		}
		if ok {
			all = append(all, one)
		}
		if len(all) == limit {
			break
		}
	}
	return all, nil
}

// AddEvent keeps an event, gives it its number, and drops the oldest beyond KeptEvents.
func AddEvent(tx Tx, e Event) (Event, error) {
	n, err := tx.Next(events)
	if err != nil {
		return e, err
	}
	e.Seq = n
	if n > KeptEvents {
		if err := tx.Delete(events, number(n-KeptEvents)); err != nil {
			return e, err
		}
	}
	return e, put(tx, events, number(n), e)
}

// Events reads those beyond a number, at most limit.
func Events(tx Tx, since uint64, limit int) ([]Event, error) {
	return list[Event](tx, events, Range{After: number(since)}, limit)
}

// LastEvent is the number of the newest event; 0: there was none.
func LastEvent(tx Tx) (uint64, error) {
	for key := range tx.Scan(events, Range{Reverse: true}) {
		return strconv.ParseUint(key, 10, 64)
	}
	return 0, nil
}

// AddEntry writes a line into the audit.
func AddEntry(tx Tx, e Entry) error {
	n, err := tx.Next(audit)
	if err != nil {
		return err
	}
	e.Seq = n
	return put(tx, audit, number(n), e)
}

// Audit reads the audit, newest first, older than before (0: from the newest), at most limit entries.
func Audit(tx Tx, before uint64, limit int) ([]Entry, error) {
	r := Range{Reverse: true}
	if before > 0 {
		r.After = number(before)
	}
	return list[Entry](tx, audit, r, limit)
}

// Running lists the rollouts that have not ended, oldest first. Only an environment's holder runs.
func Running(tx Tx) ([]Rollout, error) {
	held, err := list[Environment](tx, environments, Range{}, 0)
	if err != nil {
		return nil, err
	}
	var all []Rollout
	for _, e := range held {
		if e.Rollout == "" {
			continue
		}
		r, ok, err := GetRollout(tx, e.Rollout)
		if err != nil {
			return nil, err
		}
		if ok && r.State == release.Running {
			all = append(all, r)
		}
	}
	slices.SortFunc(all, func(a, b Rollout) int { return a.Started.Compare(b.Started) })
	return all, nil
}
