package zookeeper

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
)

// fakeTree is ZooKeeper's tree in memory. TestTree holds it to what the real one does.
type fakeTree struct {
	mu     sync.Mutex
	nodes  map[string]*fakeNode // guarded by mu
	failAt int                  // guarded by mu: the nth effect from now fails; 0 means none
	lost   bool                 // guarded by mu: the effect that fails is done all the same, only its reply is lost
}

type fakeNode struct {
	data     string
	version  int32
	sequence int
}

func newFake() *fakeTree { return &fakeTree{nodes: map[string]*fakeNode{"/": {}}} }

func (f *fakeTree) Close() {}

// effect counts an effect, and says whether it is done and whether the caller hears of it.
func (f *fakeTree) effect() (done, heard bool) {
	if f.failAt == 0 {
		return true, true
	}
	if f.failAt--; f.failAt > 0 {
		return true, true
	}
	return f.lost, false
}

func (f *fakeTree) Children(p string) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.nodes[p] == nil {
		return nil, errNoNode
	}
	var names []string
	for name := range f.nodes {
		if name != "/" && path.Dir(name) == p {
			names = append(names, path.Base(name))
		}
	}
	return names, nil
}

func (f *fakeTree) Get(p string) (string, int32, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.nodes[p]
	if n == nil {
		return "", 0, errNoNode
	}
	return n.data, n.version, nil
}

func (f *fakeTree) Create(p string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hear(func() error { return f.create(p, "") })
}

func (f *fakeTree) hear(do func() error) error {
	done, heard := f.effect()
	var err error
	if done {
		err = do()
	}
	if !heard {
		return errBroken
	}
	return err
}

func (f *fakeTree) create(p, data string) error {
	switch {
	case f.nodes[p] != nil:
		return errExists
	case f.nodes[path.Dir(p)] == nil:
		return errNoNode
	}
	f.nodes[p] = &fakeNode{data: data}
	return nil
}

func (f *fakeTree) Set(p, data string, version int32) (int32, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.nodes[p]
	err := f.hear(func() error {
		switch {
		case n == nil:
			return errNoNode
		case n.version != version:
			return errChanged
		}
		n.data, n.version = data, version+1
		return nil
	})
	return version + 1, err
}

func (f *fakeTree) Apply(guard string, version int32, changes []change) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hear(func() error {
		if n := f.nodes[guard]; n == nil {
			return errNoNode
		} else if n.version != version {
			return errChanged
		}
		before := maps.Clone(f.nodes)
		for _, c := range changes {
			if err := f.apply(c); err != nil {
				f.nodes = before
				return err
			}
		}
		return nil
	})
}

func (f *fakeTree) apply(c change) error {
	if c.remove {
		if f.nodes[c.path] == nil {
			return errNoNode
		}
		delete(f.nodes, c.path)
		return nil
	}
	parent := f.nodes[path.Dir(c.path)]
	if parent == nil {
		return errNoNode
	}
	parent.sequence++
	return f.create(fmt.Sprintf("%s%010d", c.path, parent.sequence), c.data)
}

// members lists what a finagle reader of the path would see.
func (f *fakeTree) members(p string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []string
	for name, n := range f.nodes {
		if path.Dir(name) == p && strings.HasPrefix(path.Base(name), memberPrefix) {
			all = append(all, n.data)
		}
	}
	slices.Sort(all)
	return all
}

func TestFakeTree(t *testing.T) { testTree(t, newFake()) }

// testTree is what every tree has to do; root is a node that it may use.
func testTree(t *testing.T, tree tree) {
	t.Helper()
	must := func(what string, got, want error) {
		t.Helper()
		if !errors.Is(got, want) {
			t.Fatalf("%s: got %v, want %v", what, got, want)
		}
	}
	must("create", tree.Create("/t"), nil)
	must("create it again", tree.Create("/t"), errExists)
	must("create below nothing", tree.Create("/no/such"), errNoNode)
	_, _, err := tree.Get("/no")
	must("get nothing", err, errNoNode)
	_, err = tree.Children("/no")
	must("list nothing", err, errNoNode)
	version, err := tree.Set("/t", "one", 0)
	must("set", err, nil)
	_, err = tree.Set("/t", "two", 0)
	must("set from an old version", err, errChanged)
	data, now, err := tree.Get("/t")
	must("get", err, nil)
	if data != "one" || now != version {
		t.Fatalf("got %q in version %d, want one in %d", data, now, version)
	}
	two := []change{{path: "/t/member_", data: "a"}, {path: "/t/member_", data: "b"}}
	must("apply under an old version", tree.Apply("/t", version-1, two), errChanged)
	must("apply with one that cannot be", tree.Apply("/t", version, append(slices.Clone(two), change{path: "/t/none", remove: true})), errNoNode)
	if names, _ := tree.Children("/t"); len(names) != 0 {
		t.Fatalf("a transaction that failed left %v", names)
	}
	must("apply", tree.Apply("/t", version, two), nil)
	names, err := tree.Children("/t")
	must("list", err, nil)
	slices.Sort(names)
	if len(names) != 2 || !strings.HasPrefix(names[0], "member_0") {
		t.Fatalf("got %v", names)
	}
	data, _, err = tree.Get("/t/" + names[1])
	must("get the second", err, nil)
	if data != "b" {
		t.Fatalf("the second holds %q", data)
	}
	must("delete", tree.Apply("/t", version, []change{{path: "/t/" + names[0], remove: true}}), nil)
	if names, _ := tree.Children("/t"); len(names) != 1 {
		t.Fatalf("after a deletion: %v", names)
	}
}
