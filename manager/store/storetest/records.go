package storetest

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/manager/project"
	"github.com/rolling-swarm/rolling/manager/release"
	"github.com/rolling-swarm/rolling/manager/store"
)

func at(seconds int64) time.Time { return time.Unix(1_700_000_000+seconds, 0).UTC() }

func keepProject(t *testing.T, s store.Store, name project.Name, file string, replaces *uint64) (p store.Project, err error) {
	t.Helper()
	err = s.Update(func(tx store.Tx) error {
		p, err = store.PutProject(tx, store.Project{Name: name, File: []byte(file), At: at(0)}, replaces)
		return err
	})
	return p, err
}

func projectVersions(t *testing.T, s store.Store) {
	none, wrong := uint64(0), uint64(99)
	first, err := keepProject(t, s, "orders", "one", &none)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keepProject(t, s, "orders", "two", &none); !errors.Is(err, store.ErrExists) {
		t.Errorf("a project that must be new was replaced: %v", err)
	}
	if _, err := keepProject(t, s, "orders", "two", &wrong); !errors.Is(err, store.ErrStale) {
		t.Errorf("a stale version was replaced: %v", err)
	}
	if _, err := keepProject(t, s, "gone", "x", &wrong); !errors.Is(err, store.ErrStale) {
		t.Errorf("a version of a project that is not there was replaced: %v", err)
	}
	second, err := keepProject(t, s, "orders", "two", &first.Version)
	third, err2 := keepProject(t, s, "orders", "three", nil)
	if err := errors.Join(err, err2); err != nil || second.Version <= first.Version || third.Version <= second.Version {
		t.Fatalf("versions %d, %d, %d: %v", first.Version, second.Version, third.Version, err)
	}
	view(t, s, func(tx store.Tx) error {
		for want, version := range map[string]uint64{"one": first.Version, "two": second.Version, "three": third.Version} {
			got, ok, err := store.ProjectAt(tx, "orders", version)
			if err != nil || !ok || string(got.File) != want {
				t.Errorf("version %d is %q %v %v, want %q", version, got.File, ok, err, want)
			}
		}
		if _, ok, err := store.ProjectAt(tx, "orders", 999); ok || err != nil {
			t.Errorf("a version that never was: %v %v", ok, err)
		}
		return nil
	})
	update(t, s, func(tx store.Tx) error { return store.DeleteProject(tx, "orders") })
	again, err := keepProject(t, s, "orders", "four", &none)
	if err != nil || again.Version <= third.Version {
		t.Errorf("made anew its version is %d after %d (%v): an old ETag would fit", again.Version, third.Version, err)
	}
}

func addRollout(t *testing.T, s store.Store, name project.Name, env project.EnvironmentName, state release.Outcome) (r store.Rollout) {
	t.Helper()
	update(t, s, func(tx store.Tx) (err error) {
		r, err = store.AddRollout(tx, store.Rollout{Project: name, Environment: env, Release: "r-1", State: state, Started: at(0)})
		return err
	})
	return r
}

func deleteProject(t *testing.T, s store.Store) {
	mine := addRollout(t, s, "orders", "test", release.Succeeded)
	theirs := addRollout(t, s, "orders2", "test", release.Succeeded)
	for _, name := range []project.Name{"orders", "orders2"} {
		if _, err := keepProject(t, s, name, "x", nil); err != nil {
			t.Fatal(err)
		}
		update(t, s, func(tx store.Tx) error {
			return errors.Join(
				store.AddRelease(tx, release.Release{ID: "r-1", Project: name}),
				store.PutEnvironment(tx, store.Environment{Project: name, Name: "test", Release: "r-1"}),
				store.AddDiscard(tx, name, release.Discard{Release: "r-1"}))
		})
	}
	update(t, s, func(tx store.Tx) error { return store.DeleteProject(tx, "orders") })
	view(t, s, func(tx store.Tx) error {
		all, err := store.Projects(tx)
		if err != nil || len(all) != 1 || all[0].Name != "orders2" {
			t.Errorf("projects left: %v %v", all, err)
		}
		for name, want := range map[project.Name]bool{"orders": false, "orders2": true} {
			_, ok, err := store.GetRelease(tx, name, "r-1")
			e, err2 := store.GetEnvironment(tx, name, "test")
			r, err3 := store.Record(tx, name)
			if err := errors.Join(err, err2, err3); err != nil || ok != want || (e.Release != "") != want || (len(r.Discards) > 0) != want {
				t.Errorf("%s: release %v, environment %q, discards %v, error %v", name, ok, e.Release, r.Discards, err)
			}
		}
		for id, want := range map[store.RolloutID]bool{mine.ID: false, theirs.ID: true} {
			if _, ok, err := store.GetRollout(tx, id); ok != want || err != nil {
				t.Errorf("rollout %s: %v %v", id, ok, err)
			}
		}
		return nil
	})
}

func releaseOnce(t *testing.T, s store.Store) {
	update(t, s, func(tx store.Tx) error {
		return errors.Join(
			store.AddRelease(tx, release.Release{ID: "a", Project: "orders", Commit: "1", Created: at(2)}),
			store.AddRelease(tx, release.Release{ID: "b", Project: "orders", Created: at(1)}),
			store.AddRelease(tx, release.Release{ID: "a", Project: "orders2", Created: at(3)}))
	})
	err := s.Update(func(tx store.Tx) error {
		return store.AddRelease(tx, release.Release{ID: "a", Project: "orders", Commit: "2"})
	})
	if !errors.Is(err, store.ErrExists) {
		t.Errorf("a second release of that name: %v", err)
	}
	view(t, s, func(tx store.Tx) error {
		r, ok, err := store.GetRelease(tx, "orders", "a")
		if err != nil || !ok || r.Commit != "1" {
			t.Errorf("release a: %+v %v %v", r, ok, err)
		}
		all, err := store.Releases(tx, "orders")
		if err != nil || len(all) != 2 || all[0].ID != "a" || all[1].ID != "b" {
			t.Errorf("releases: %v %v", all, err)
		}
		return nil
	})
}

func rolloutPages(t *testing.T, s store.Store) {
	var ids []store.RolloutID
	for i := range 12 { // past ten, where names stop sorting as numbers do
		env := project.EnvironmentName("test")
		if i%3 == 2 {
			env = "production"
		}
		ids = append(ids, addRollout(t, s, "orders", env, release.Succeeded).ID)
	}
	addRollout(t, s, "orders2", "test", release.Succeeded)
	page := func(name project.Name, env project.EnvironmentName, before store.RolloutID, limit int) (got []store.RolloutID) {
		view(t, s, func(tx store.Tx) error {
			all, err := store.Rollouts(tx, name, env, before, limit)
			for _, r := range all {
				got = append(got, r.ID)
			}
			return err
		})
		return got
	}
	for _, c := range []struct {
		name      string
		got, want []store.RolloutID
	}{
		{"the newest of a project", page("orders", "", "", 2), []store.RolloutID{ids[11], ids[10]}},
		{"the page after them", page("orders", "", ids[10], 2), []store.RolloutID{ids[9], ids[8]}},
		{"one environment", page("orders", "production", "", 9), []store.RolloutID{ids[11], ids[8], ids[5], ids[2]}},
		{"the page after in one environment", page("orders", "production", ids[8], 9), []store.RolloutID{ids[5], ids[2]}},
		{"before the first", page("orders", "", ids[0], 9), nil},
		{"a rollout that never was", page("orders", "", "nonsense", 1), []store.RolloutID{ids[11]}},
		{"of all projects", page("", "", ids[1], 9), []store.RolloutID{ids[0]}},
	} {
		if !slices.Equal(c.got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, c.got, c.want)
		}
	}
}

func running(t *testing.T, s store.Store) {
	done := addRollout(t, s, "orders", "test", release.Succeeded)
	busy := addRollout(t, s, "orders", "production", release.Running)
	update(t, s, func(tx store.Tx) error {
		return errors.Join(
			store.PutEnvironment(tx, store.Environment{Project: "orders", Name: "test", Rollout: done.ID}),
			store.PutEnvironment(tx, store.Environment{Project: "orders", Name: "production", Rollout: busy.ID}),
			store.PutEnvironment(tx, store.Environment{Project: "orders", Name: "free"}))
	})
	view(t, s, func(tx store.Tx) error {
		all, err := store.Running(tx)
		if err != nil || len(all) != 1 || all[0].ID != busy.ID {
			t.Errorf("running: %v %v", all, err)
		}
		return nil
	})
}

func eventsKept(t *testing.T, s store.Store) {
	const more = 5
	for range 2 {
		update(t, s, func(tx store.Tx) error {
			for range (store.KeptEvents + more) / 2 {
				if _, err := store.AddEvent(tx, store.Event{Text: "x"}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	const last = (store.KeptEvents + more) / 2 * 2
	view(t, s, func(tx store.Tx) error {
		all, err := store.Events(tx, 0, 0)
		if err != nil || len(all) != store.KeptEvents || all[0].Seq != last-store.KeptEvents+1 {
			t.Errorf("%d events from %d: %v", len(all), all[0].Seq, err)
		}
		some, err := store.Events(tx, last-2, 0)
		if err != nil || len(some) != 2 || some[0].Seq != last-1 {
			t.Errorf("the last two: %v %v", some, err)
		}
		if n, err := store.LastEvent(tx); n != last || err != nil {
			t.Errorf("the last is %d: %v", n, err)
		}
		return nil
	})
}

func auditOrder(t *testing.T, s store.Store) {
	for _, text := range []string{"one", "two", "three"} {
		update(t, s, func(tx store.Tx) error { return store.AddEntry(tx, store.Entry{Text: text}) })
	}
	view(t, s, func(tx store.Tx) error {
		all, err := store.Audit(tx, 0, 2)
		if err != nil || len(all) != 2 || all[0].Text != "three" || all[1].Text != "two" {
			t.Errorf("the newest two: %v %v", all, err)
		}
		rest, err := store.Audit(tx, all[1].Seq, 9)
		if err != nil || len(rest) != 1 || rest[0].Text != "one" {
			t.Errorf("the rest: %v %v", rest, err)
		}
		return nil
	})
}

func record(t *testing.T, s store.Store) {
	first := addRollout(t, s, "orders", "test", release.Running)
	second := addRollout(t, s, "orders", "test", release.Running)
	update(t, s, func(tx store.Tx) error {
		return errors.Join(
			store.PutDeployment(tx, "orders", second.ID, release.Deployment{Environment: "test", Release: "b", Outcome: release.Running}),
			store.PutDeployment(tx, "orders", first.ID, release.Deployment{Environment: "test", Release: "a", Outcome: release.Running}),
			store.PutDeployment(tx, "orders", first.ID, release.Deployment{Environment: "test", Release: "a", Outcome: release.Succeeded}),
			store.AddApproval(tx, "orders", release.Approval{Release: "a", By: "ann"}),
			store.AddApproval(tx, "orders", release.Approval{Release: "a", By: "bob"}),
			store.AddApproval(tx, "orders2", release.Approval{Release: "a", By: "eve"}))
	})
	view(t, s, func(tx store.Tx) error {
		r, err := store.Record(tx, "orders")
		if err != nil {
			return err
		}
		if len(r.Deployments) != 2 || r.Deployments[0].Release != "a" || r.Deployments[0].Outcome != release.Succeeded || r.Deployments[1].Release != "b" {
			t.Errorf("deployments: %+v", r.Deployments)
		}
		if len(r.Approvals) != 2 || r.Approvals[0].By != "ann" || r.Approvals[1].By != "bob" {
			t.Errorf("approvals: %+v", r.Approvals)
		}
		return nil
	})
}
