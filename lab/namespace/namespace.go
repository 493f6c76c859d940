// Package namespace makes, removes and enters named network namespaces, as `ip netns` shows them. It knows
// threads and the nsfs mounts under /run/netns. It knows no lab, no link and no address.
package namespace

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// root is where iproute2 looks for names.
const root = "/run/netns"

// Path is the file that holds the namespace of that name open.
func Path(name string) string { return filepath.Join(root, name) }

// Exists says whether the name holds a namespace; a plain file left by an interrupted Make does not count.
func Exists(name string) bool {
	var s unix.Statfs_t
	return unix.Statfs(Path(name), &s) == nil && s.Type == unix.NSFS_MAGIC
}

// List gives the names that begin with prefix, leftovers that hold no namespace included.
func List(prefix string) ([]string, error) {
	entries, err := os.ReadDir(root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list network namespaces: %w", err)
	}
	var names []string
	for _, e := range entries {
		if len(e.Name()) > len(prefix) && e.Name()[:len(prefix)] == prefix {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// Make makes an empty network namespace under that name; one that is there already is left as it is.
func Make(name string) error {
	if Exists(name) {
		return nil
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return fmt.Errorf("make network namespace %s: %w", name, err)
	}
	f, err := os.OpenFile(Path(name), os.O_RDONLY|os.O_CREATE, 0o444)
	if err != nil {
		return fmt.Errorf("make network namespace %s: %w", name, err)
	}
	_ = f.Close()
	made := make(chan error)
	go func() {
		// Never unlocked: the thread holds the new namespace and has to end with this goroutine.
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			made <- err
			return
		}
		made <- unix.Mount("/proc/thread-self/ns/net", Path(name), "", unix.MS_BIND, "")
	}()
	if err := <-made; err != nil {
		_ = os.Remove(Path(name))
		return fmt.Errorf("make network namespace %s: %w (root and a kernel with network namespaces are needed)", name, err)
	}
	return nil
}

// Remove takes the name away; the namespace itself ends with its last process and socket. A name that is not
// there is no error.
func Remove(name string) error {
	for unix.Unmount(Path(name), unix.MNT_DETACH) == nil {
		// a name may be mounted twice when an `ip netns add` has bound the folder onto itself
	}
	if err := os.Remove(Path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove network namespace %s: %w", name, err)
	}
	return nil
}

// Do runs f on a thread that is inside the network namespace which path holds, and puts the thread back. What
// f starts on other goroutines runs outside.
func Do(path string, f func() error) error {
	runtime.LockOSThread()
	own, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter network namespace %s: %w", path, err)
	}
	defer own.Close() //nolint:errcheck // read only
	other, err := os.Open(path)
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter network namespace %s: %w", path, err)
	}
	defer other.Close() //nolint:errcheck // read only
	if err := unix.Setns(int(other.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter network namespace %s: %w", path, err)
	}
	defer func() {
		// A thread that cannot go back stays locked, so that it dies with its goroutine and serves nobody else.
		if unix.Setns(int(own.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
	}()
	return f()
}

// Set writes a switch under /proc/sys of the namespace in which the calling thread is.
func Set(key, value string) error {
	if err := os.WriteFile(filepath.Join("/proc/sys", key), []byte(value), 0); err != nil {
		return fmt.Errorf("set %s to %s: %w", key, value, err)
	}
	return nil
}
