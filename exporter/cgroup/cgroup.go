// Package cgroup reads what the kernel counts of a container: its control group, version 1 or 2, and the interfaces of
// its network namespace. It opens files once, keeps the descriptors, and reads them again from their beginning. It
// knows the kernel's files; what becomes of the numbers it does not know.
package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rolling-swarm/rolling/exporter/sample"
)

// A Tree is where the kernel shows itself: the node's /sys/fs/cgroup and /proc, wherever they are mounted here.
type Tree struct {
	Groups, Proc string
}

// unified says whether the tree is version 2's alone.
func (t Tree) unified() bool {
	_, err := os.Stat(filepath.Join(t.Groups, "cgroup.controllers"))
	return err == nil
}

// A Group is one running container, held open.
type Group struct {
	files   []file
	process int // the folder /proc/PID: it stays this process's even when the number is another's; -1: its network is not its own
	buf     []byte
	disks   []sample.Part
	links   []sample.Part
}

// A file is an open one, with what it means.
type file struct {
	fd   int
	name string
	read func(g *Group, r *sample.Reading, text []byte)
}

// wanted is a file by its controller.
type wanted struct {
	controller, name, or string // or: another name, where the first is missing
	must                 bool
	read                 func(g *Group, r *sample.Reading, text []byte)
}

// whole: the kernel hands out such a file by pages of at least 4 KiB, each as full as its lines allow (none is longer than
// 1 KiB). A reading that is shorter was the last one, and asking for the end would cost a call more.
const whole = 3 << 10

// largest bounds one file: memory.stat is 2 KiB, io.stat 100 B a disk.
const largest = 1 << 18

// Open finds the container's files by its process.
func (t Tree) Open(c *sample.Container) (*Group, error) {
	g := &Group{process: -1, buf: make([]byte, 4<<10)}
	if err := t.open(g, c); err != nil {
		g.Close()
		return nil, fmt.Errorf("container %.12s, process %d: %w", c.ID, c.PID, err)
	}
	return g, nil
}

func (t Tree) open(g *Group, c *sample.Container) error {
	if c.PID <= 0 {
		return errors.New("has no process: it does not run")
	}
	folder := filepath.Join(t.Proc, fmt.Sprint(c.PID))
	process, err := unix.Open(folder, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", folder, err)
	}
	g.process = process
	text, err := g.slurp("cgroup")
	if err != nil {
		return fmt.Errorf("read %s/cgroup: %w", folder, err)
	}
	// Whoever has got the number since belongs to another group: without the id in its path it is taken for a stranger.
	paths := groups(text)
	if t.unified() {
		err = t.openUnified(g, c.ID, paths[""])
	} else {
		err = t.openControllers(g, c.ID, paths)
	}
	if err == nil && !c.OwnNetwork {
		g.process = -1
		err = unix.Close(process)
	}
	return err
}

// within gives the folder of the container's own group, cutting what is below it: a container may make groups itself.
func within(path, id string) (string, error) {
	i := strings.Index(path, id)
	if i < 0 {
		return "", fmt.Errorf("its control group %q does not bear the container's id", path)
	}
	if j := strings.IndexByte(path[i:], '/'); j >= 0 {
		path = path[:i+j]
	}
	// A path that the reader's namespace does not hold begins with "/..": what follows is the same below its own root.
	return strings.ReplaceAll(path, "/..", ""), nil
}

func (t Tree) openUnified(g *Group, id, path string) error {
	own, err := within(path, id)
	if err != nil {
		return err
	}
	for _, w := range unifiedFiles() {
		if err := g.add(filepath.Join(t.Groups, own), w); err != nil {
			return err
		}
	}
	return nil
}

func (t Tree) openControllers(g *Group, id string, paths map[string]string) error {
	for _, w := range controllerFiles() {
		path, ok := paths[w.controller]
		if !ok {
			if w.must {
				return fmt.Errorf("the kernel has no controller %s", w.controller)
			}
			continue
		}
		own, err := within(path, id)
		if err != nil {
			if w.must {
				return err
			}
			continue // such as pids, where the engine was told not to use it
		}
		if err := g.add(filepath.Join(t.Groups, w.controller, own), w); err != nil {
			return err
		}
	}
	return nil
}

func (g *Group) add(folder string, w wanted) error {
	var err error
	for _, name := range []string{w.name, w.or} {
		if name == "" {
			continue
		}
		var fd int
		if fd, err = unix.Open(filepath.Join(folder, name), unix.O_RDONLY|unix.O_CLOEXEC, 0); err == nil {
			g.files = append(g.files, file{fd, name, w.read})
			return nil
		}
	}
	if !w.must && errors.Is(err, unix.ENOENT) {
		return nil
	}
	return fmt.Errorf("open %s/%s: %w", folder, w.name, err)
}

// Read reads everything again. The reading's parts are valid until the next Read. Any error means that the container has
// ended, or has started anew: open it again.
func (g *Group) Read() (sample.Reading, error) {
	r := sample.Reading{}
	g.disks, g.links = g.disks[:0], g.links[:0]
	r.At = time.Now()
	for _, f := range g.files {
		text, err := g.again(f.fd)
		if err != nil {
			return r, fmt.Errorf("read %s: %w", f.name, err)
		}
		f.read(g, &r, text)
	}
	if g.process >= 0 {
		text, err := g.slurp("net/dev")
		if err != nil {
			return r, fmt.Errorf("read net/dev: %w", err)
		}
		g.links = netdev(g.links, text)
	}
	r.Disks, r.Links = g.disks, g.links
	return r, nil
}

// again reads a file from its beginning; the kernel writes it anew for each such reading.
func (g *Group) again(fd int) ([]byte, error) {
	for n := 0; ; {
		got, err := unix.Pread(fd, g.buf[n:], int64(n))
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return nil, err
		}
		n += got
		if got < whole && n < len(g.buf) {
			return g.buf[:n], nil
		}
		if len(g.buf) >= largest {
			return nil, unix.EFBIG
		}
		if n == len(g.buf) {
			g.buf = append(g.buf, make([]byte, len(g.buf))...)
		}
	}
}

// slurp reads a file of the process's folder. It is not kept open: an open net/dev would keep the network namespace alive,
// with the interfaces in it, after the container's end.
func (g *Group) slurp(name string) ([]byte, error) {
	fd, err := unix.Openat(g.process, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	text, err := g.again(fd)
	return text, errors.Join(err, unix.Close(fd))
}

// Close lets go of the files.
func (g *Group) Close() {
	for _, f := range g.files {
		_ = unix.Close(f.fd) // only read
	}
	if g.process >= 0 {
		_ = unix.Close(g.process) // a folder, only looked into
	}
	g.files, g.process = nil, -1
}
