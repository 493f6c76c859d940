package zookeeper

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/rolling-swarm/rolling/agent/member"
)

// tree is what reconcile needs of ZooKeeper. A Create of what exists is errExists.
type tree interface {
	Children(path string) ([]string, error)
	Get(path string) (data string, version int32, err error)
	Create(path string) error
	Set(path, data string, version int32) (newVersion int32, err error)
	// Apply makes all changes or none, and none unless guard still has that version.
	Apply(guard string, version int32, changes []change) error
}

// change creates a sequential node whose name begins with path, or deletes the node at path.
type change struct {
	path   string
	data   string
	remove bool
}

var (
	errNoNode  = errors.New("there is no such node")
	errExists  = errors.New("the node exists")
	errChanged = errors.New("somebody else was faster")
	errBroken  = errors.New("the connection broke")
)

// atOnce bounds one transaction: ZooKeeper takes 1 MB a request, and a record has about 300 bytes.
const atOnce = 500

const registerRoot = "/rolling/discovery/"

// reconcile makes the ServerSets equal to the decision, if it is our turn. It may be repeated at any time; a failure in
// one path does not keep it from the others.
func reconcile(t tree, turn *member.Turn, d member.Decision, now time.Time) error {
	root := registerRoot + d.Swarm
	if err := ensure(t, root); err != nil {
		return err
	}
	version, err := takeTurn(t, root, turn, now)
	if err != nil {
		return err
	}
	indexed, err := t.Children(root)
	if err != nil {
		return fmt.Errorf("list %s: %w", root, err)
	}
	known := map[string]bool{}
	for _, name := range indexed {
		if path, err := url.PathUnescape(name); err == nil && strings.HasPrefix(path, "/") {
			known[path] = true
		}
	}
	paths := maps.Clone(known)
	for path := range d.Paths {
		paths[path] = true
	}
	var problems []error
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		s := serverSet{tree: t, root: root, guard: version, path: path, swarm: d.Swarm}
		want, wanted := d.Paths[path]
		if err := s.align(want, wanted, known[path]); errors.Is(err, errBroken) || errors.Is(err, errChanged) {
			return fmt.Errorf("%s: %w", path, err)
		} else if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", path, err))
		}
	}
	return errors.Join(problems...)
}

// takeTurn sees to it that the register holds our stamp, and answers the version of the node that guards our writes.
func takeTurn(t tree, root string, turn *member.Turn, now time.Time) (int32, error) {
	data, version, err := t.Get(root)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", root, err)
	}
	var held member.Stamp
	if data != "" {
		if err := json.Unmarshal([]byte(data), &held); err != nil {
			return 0, fmt.Errorf("read %s: it holds no version of ours: delete the node if nobody else needs it: %w", root, err)
		}
	}
	switch turn.Judge(held, now) {
	case member.InStep:
		return version, nil
	case member.Overtaken:
		return 0, fmt.Errorf("the agent of %s wrote a newer set (version %d): waiting for it to stop", held.By, held.Version)
	}
	text, err := json.Marshal(turn.Mine())
	if err != nil {
		return 0, fmt.Errorf("encode the version: %w", err)
	}
	version, err = t.Set(root, string(text), version)
	if err != nil {
		return 0, fmt.Errorf("write %s: %w", root, err)
	}
	return version, nil
}

// ensure creates a node and those above it.
func ensure(t tree, path string) error {
	if _, _, err := t.Get(path); err == nil {
		return nil
	}
	for end := 1; end <= len(path); end++ {
		if end < len(path) && path[end] != '/' {
			continue
		}
		if err := t.Create(path[:end]); err != nil && !errors.Is(err, errExists) {
			return fmt.Errorf("create %s: %w", path[:end], err)
		}
	}
	return nil
}

// serverSet is one path, worked on under the guard of one version.
type serverSet struct {
	tree  tree
	root  string
	guard int32
	path  string
	swarm string
}

// align makes our members of the path equal to want; where nothing is wanted any more it forgets the path as well.
func (s serverSet) align(want []member.Instance, wanted, indexed bool) error {
	index := s.root + "/" + url.PathEscape(s.path)
	if wanted && !indexed { // before the first member: a new leader must find the path
		if err := s.tree.Create(index); err != nil && !errors.Is(err, errExists) {
			return fmt.Errorf("create %s: %w", index, err)
		}
	}
	if wanted {
		if err := ensure(s.tree, s.path); err != nil {
			return err
		}
	}
	changes, err := s.changes(want)
	if err != nil {
		return err
	}
	if !wanted {
		changes = append(changes, change{path: index, remove: true})
	}
	for part := range slices.Chunk(changes, atOnce) {
		if err := s.tree.Apply(s.root, s.guard, part); err != nil {
			return fmt.Errorf("change %d members: %w", len(part), err)
		}
	}
	return nil
}

// changes compares; members that join come before those that leave, so that a set is at no time smaller than both.
func (s serverSet) changes(want []member.Instance) ([]change, error) {
	have, err := s.read()
	if err != nil {
		return nil, err
	}
	records := make([]string, 0, len(want))
	for _, i := range want {
		text, err := encode(i, s.swarm)
		if err != nil {
			return nil, err
		}
		records = append(records, text)
	}
	create, remove := difference(have, records, s.swarm)
	var changes []change
	for _, data := range create {
		changes = append(changes, change{path: s.path + "/" + memberPrefix, data: data})
	}
	for _, name := range remove {
		changes = append(changes, change{path: s.path + "/" + name, remove: true})
	}
	return changes, nil
}

func (s serverSet) read() (map[string]string, error) {
	names, err := s.tree.Children(s.path)
	if errors.Is(err, errNoNode) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list its members: %w", err)
	}
	have := map[string]string{}
	for _, name := range names {
		if !strings.HasPrefix(name, memberPrefix) {
			continue
		}
		data, _, err := s.tree.Get(s.path + "/" + name)
		switch {
		case errors.Is(err, errNoNode): // it left meanwhile
		case err != nil:
			return nil, fmt.Errorf("read %s: %w", name, err)
		default:
			have[name] = data
		}
	}
	return have, nil
}
