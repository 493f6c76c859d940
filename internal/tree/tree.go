// Package tree holds a tree of files as a value, so that the same files give the same bytes on every machine: sorted
// names, no owner, no time, no modes but those asked for. It knows folders, files, links and tar. It refuses to know
// what a tree is for: a plugin's bundle and a layer of an image are packed alike.
package tree

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A Tree maps clean, relative, slash-separated paths to what stands there. Folders in between need not be added.
type Tree struct{ nodes map[string]node }

type node struct {
	mode   fs.FileMode // type and permissions
	source string      // a regular file on this machine, or
	text   string      // its content, or a link's target
}

// AddText puts a file with that content.
func (t *Tree) AddText(name, text string, mode fs.FileMode) {
	t.add(name, node{mode: mode.Perm(), text: text})
}

// AddLink puts a symbolic link.
func (t *Tree) AddLink(name, target string) {
	t.add(name, node{mode: fs.ModeSymlink | 0o777, text: target})
}

// AddFolder puts an empty folder.
func (t *Tree) AddFolder(name string, mode fs.FileMode) {
	t.add(name, node{mode: fs.ModeDir | mode.Perm()})
}

// AddFile puts a copy of a file of this machine; a link is followed.
func (t *Tree) AddFile(name, source string, mode fs.FileMode) error {
	s, err := os.Stat(source)
	if err != nil {
		return fmt.Errorf("add %s: %w", name, err)
	}
	if !s.Mode().IsRegular() {
		return fmt.Errorf("add %s: %s is not a regular file", name, source)
	}
	t.add(name, node{mode: mode.Perm(), source: source})
	return nil
}

// AddAll puts everything that stands below a folder of this machine, links as links. An executable file becomes 0755,
// every other one 0644, whatever this machine's umask made of it.
func (t *Tree) AddAll(name, folder string) error {
	return filepath.WalkDir(folder, func(at string, d fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("add %s: %w", name, err)
		}
		below, err := filepath.Rel(folder, at)
		if err != nil {
			return fmt.Errorf("add %s: %w", name, err)
		}
		return t.copyOf(path.Join(name, filepath.ToSlash(below)), at, d)
	})
}

func (t *Tree) copyOf(name, source string, d fs.DirEntry) error {
	switch {
	case d.IsDir():
		t.AddFolder(name, 0o755)
		return nil
	case d.Type() == fs.ModeSymlink:
		target, err := os.Readlink(source)
		if err != nil {
			return fmt.Errorf("add %s: %w", name, err)
		}
		t.AddLink(name, target)
		return nil
	}
	s, err := d.Info()
	if err != nil {
		return fmt.Errorf("add %s: %w", name, err)
	}
	mode := fs.FileMode(0o644)
	if s.Mode()&0o111 != 0 {
		mode = 0o755
	}
	return t.AddFile(name, source, mode)
}

// Without is a copy that lacks one file.
func (t *Tree) Without(name string) *Tree {
	less := &Tree{nodes: maps.Clone(t.nodes)}
	delete(less.nodes, name)
	return less
}

// With is a copy that has one text file more.
func (t *Tree) With(name, text string) *Tree {
	more := &Tree{nodes: maps.Clone(t.nodes)}
	more.AddText(name, text, 0o644)
	return more
}

func (t *Tree) add(name string, n node) {
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	if name == "" {
		return
	}
	if t.nodes == nil {
		t.nodes = map[string]node{}
	}
	t.nodes[name] = n
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if _, there := t.nodes[dir]; !there {
			t.nodes[dir] = node{mode: fs.ModeDir | 0o755}
		}
	}
}

// Paths lists the tree in order: a folder stands before what is in it.
func (t *Tree) Paths() []string { return slices.Sorted(maps.Keys(t.nodes)) }

// Has says whether something stands at that path.
func (t *Tree) Has(name string) bool { _, there := t.nodes[name]; return there }

// Tar writes the tree.
func (t *Tree) Tar(w io.Writer) error {
	out := tar.NewWriter(w)
	for _, name := range t.Paths() {
		if err := t.nodes[name].tar(out, name); err != nil {
			return fmt.Errorf("pack %s: %w", name, err)
		}
	}
	if err := out.Close(); err != nil {
		return fmt.Errorf("pack: %w", err)
	}
	return nil
}

func (n node) tar(out *tar.Writer, name string) error {
	h := &tar.Header{Name: name, Mode: int64(n.mode.Perm()), ModTime: time.Unix(0, 0), Format: tar.FormatPAX}
	switch {
	case n.mode.IsDir():
		h.Typeflag, h.Name = tar.TypeDir, name+"/"
		return out.WriteHeader(h)
	case n.mode.Type() == fs.ModeSymlink:
		h.Typeflag, h.Linkname = tar.TypeSymlink, n.text
		return out.WriteHeader(h)
	}
	content, size, err := n.open()
	if err != nil {
		return err
	}
	defer content.Close() //nolint:errcheck // only read
	h.Typeflag, h.Size = tar.TypeReg, size
	if err := out.WriteHeader(h); err != nil {
		return err
	}
	_, err = io.Copy(out, content)
	return err
}

func (n node) open() (io.ReadCloser, int64, error) {
	if n.source == "" {
		return io.NopCloser(strings.NewReader(n.text)), int64(len(n.text)), nil
	}
	f, err := os.Open(n.source)
	if err != nil {
		return nil, 0, err
	}
	s, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, s.Size(), nil
}

// Digest is that of the tar: equal for equal trees, wherever they were made.
func (t *Tree) Digest() (string, error) {
	h := sha256.New()
	if err := t.Tar(h); err != nil {
		return "", err
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil)), nil
}

// Write lays the tree into a folder, which is made if it is missing.
func (t *Tree) Write(folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("write tree: %w", err)
	}
	for _, name := range t.Paths() {
		if err := t.nodes[name].write(filepath.Join(folder, filepath.FromSlash(name))); err != nil {
			return fmt.Errorf("write tree: %w", err)
		}
	}
	return nil
}

func (n node) write(at string) error {
	switch {
	case n.mode.IsDir():
		if err := os.Mkdir(at, 0o755); err != nil {
			return err
		}
		return os.Chmod(at, n.mode.Perm())
	case n.mode.Type() == fs.ModeSymlink:
		return os.Symlink(n.text, at)
	}
	content, _, err := n.open()
	if err != nil {
		return err
	}
	defer content.Close() //nolint:errcheck // only read
	f, err := os.OpenFile(at, os.O_CREATE|os.O_EXCL|os.O_WRONLY, n.mode.Perm())
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, content); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Chmod(at, n.mode.Perm())
}
