package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/rolling-swarm/rolling/manager/project"
	"github.com/rolling-swarm/rolling/manager/release"
)

// number writes a number so that bytes sort as numbers do.
func number(n uint64) string { return fmt.Sprintf("%020d", n) }

func put(tx Tx, kind Kind, key string, record any) error {
	b, err := json.Marshal(record)
	if err != nil {
		return fmt.Errorf("%s %s: %w", kind, key, err)
	}
	return tx.Put(kind, key, b)
}

// get reads a record; ok is false when there is none.
func get[T any](tx Tx, kind Kind, key string) (record T, ok bool, err error) {
	b := tx.Get(kind, key)
	if b == nil {
		return record, false, nil
	}
	record, err = read[T](kind, key, b)
	return record, err == nil, err
}

func read[T any](kind Kind, key string, b []byte) (record T, err error) {
	if err = json.Unmarshal(b, &record); err != nil {
		return record, fmt.Errorf("%s %s cannot be read: %w", kind, key, err)
	}
	return record, nil
}

// list reads what a range holds, at most limit records; 0: all.
func list[T any](tx Tx, kind Kind, r Range, limit int) ([]T, error) {
	var all []T
	for key, b := range tx.Scan(kind, r) {
		record, err := read[T](kind, key, b)
		if err != nil {
			return nil, err
		}
		if all = append(all, record); len(all) == limit {
			break
		}
	}
	return all, nil
}

// PutProject keeps a new version of a project, if the newest is the one that it replaces: 0 means that there must be none,
// nil that any will do. It gives the version its number.
func PutProject(tx Tx, p Project, replaces *uint64) (Project, error) {
	old, ok, err := GetProject(tx, p.Name)
	if err != nil {
		return p, err
	}
	if replaces != nil && *replaces != old.Version {
		if *replaces == 0 {
			return p, fmt.Errorf("project %s: %w", p.Name, ErrExists)
		}
		return p, fmt.Errorf("project %s: version %d was to be replaced, and %d is the newest: %w", p.Name, *replaces, old.Version, ErrStale)
	}
	if p.Version, err = tx.Next(projects); err != nil {
		return p, err
	}
	if ok {
		if err := put(tx, versions, versionKey(p.Name, old.Version), old); err != nil {
			return p, err
		}
	}
	return p, put(tx, projects, string(p.Name), p)
}

func versionKey(name project.Name, version uint64) string {
	return string(name) + "/" + number(version)
}

// GetProject reads the newest version.
func GetProject(tx Tx, name project.Name) (Project, bool, error) {
	return get[Project](tx, projects, string(name))
}

// ProjectAt reads a version, old or newest.
func ProjectAt(tx Tx, name project.Name, version uint64) (Project, bool, error) {
	newest, ok, err := GetProject(tx, name)
	if err != nil || ok && newest.Version == version {
		return newest, ok, err
	}
	return get[Project](tx, versions, versionKey(name, version))
}

// Projects lists the newest versions by name.
func Projects(tx Tx) ([]Project, error) { return list[Project](tx, projects, Range{}, 0) }

// DeleteProject forgets a project and everything of it but the audit and the events.
func DeleteProject(tx Tx, name project.Name) error {
	prefix := string(name) + "/"
	for _, kind := range []Kind{versions, releases, deployments, history, approvals, discards, environments} {
		var keys []string
		for key := range tx.Scan(kind, Range{Prefix: prefix}) {
			keys = append(keys, key)
		}
		for _, key := range keys {
			if err := tx.Delete(kind, key); err != nil {
				return err
			}
			if kind != history {
				continue
			}
			if err := tx.Delete(rollouts, key[len(prefix):]); err != nil {
				return err
			}
		}
	}
	return tx.Delete(projects, string(name))
}

// AddRelease keeps a release for ever; there is no way to change one.
func AddRelease(tx Tx, r release.Release) error {
	key := string(r.Project) + "/" + string(r.ID)
	if tx.Get(releases, key) != nil {
		return fmt.Errorf("release %s of %s: %w", r.ID, r.Project, ErrExists)
	}
	return put(tx, releases, key, r)
}

// GetRelease reads one release.
func GetRelease(tx Tx, name project.Name, id release.ID) (release.Release, bool, error) {
	return get[release.Release](tx, releases, string(name)+"/"+string(id))
}

// Releases lists a project's releases, newest first.
func Releases(tx Tx, name project.Name) ([]release.Release, error) {
	all, err := list[release.Release](tx, releases, Range{Prefix: string(name) + "/"}, 0)
	slices.SortStableFunc(all, func(a, b release.Release) int { return b.Created.Compare(a.Created) })
	return all, err
}

// AddApproval keeps one person's word.
func AddApproval(tx Tx, name project.Name, a release.Approval) error {
	n, err := tx.Next(approvals)
	if err != nil {
		return err
	}
	return put(tx, approvals, string(name)+"/"+number(n), a)
}

// AddDiscard keeps that a release is out of use.
func AddDiscard(tx Tx, name project.Name, d release.Discard) error {
	return put(tx, discards, string(name)+"/"+string(d.Release), d)
}

// Record reads all that the gate wants to know of a project.
func Record(tx Tx, name project.Name) (release.Record, error) {
	var r release.Record
	var problems [3]error
	all := Range{Prefix: string(name) + "/"}
	r.Deployments, problems[0] = list[release.Deployment](tx, deployments, all, 0)
	r.Approvals, problems[1] = list[release.Approval](tx, approvals, all, 0)
	r.Discards, problems[2] = list[release.Discard](tx, discards, all, 0)
	return r, errors.Join(problems[:]...)
}

// PutDeployment keeps the short of a rollout for the gate; a second time it replaces the first.
func PutDeployment(tx Tx, name project.Name, id RolloutID, d release.Deployment) error {
	return put(tx, deployments, string(name)+"/"+id.key(), d)
}

// PutEnvironment keeps what an environment should run.
func PutEnvironment(tx Tx, e Environment) error {
	return put(tx, environments, string(e.Project)+"/"+string(e.Name), e)
}

// GetEnvironment reads what an environment should run; one that nobody has kept is empty.
func GetEnvironment(tx Tx, name project.Name, env project.EnvironmentName) (Environment, error) {
	e, _, err := get[Environment](tx, environments, string(name)+"/"+string(env))
	e.Project, e.Name = name, env
	return e, err
}

// key is what a rollout's name sorts by.
func (id RolloutID) key() string {
	n, err := strconv.ParseUint(strings.TrimPrefix(string(id), "ro"), 10, 64)
	if err != nil || !strings.HasPrefix(string(id), "ro") {
		return string(id) // no such rollout has ever been made
	}
	return number(n)
}

// AddRollout keeps a new rollout and gives it its name.
func AddRollout(tx Tx, r Rollout) (Rollout, error) {
	n, err := tx.Next(rollouts)
	if err != nil {
		return r, err
	}
	r.ID = RolloutID("ro" + strconv.FormatUint(n, 10))
	if err := tx.Put(history, string(r.Project)+"/"+r.ID.key(), []byte(r.Environment)); err != nil {
		return r, err
	}
	return r, PutRollout(tx, r)
}

// PutRollout keeps how a rollout stands.
func PutRollout(tx Tx, r Rollout) error { return put(tx, rollouts, r.ID.key(), r) }

// GetRollout reads one rollout.
func GetRollout(tx Tx, id RolloutID) (Rollout, bool, error) {
	return get[Rollout](tx, rollouts, id.key())
}

// Environments lists what is kept of a project's environments, also of those that its file has no more.
func Environments(tx Tx, name project.Name) ([]Environment, error) {
	return list[Environment](tx, environments, Range{Prefix: string(name) + "/"}, 0)
}
