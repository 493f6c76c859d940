package api

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// longestSocket is the kernel's limit on a unix socket's path, less the name under which it is made.
const longestSocket = 107 - len("/.new-1234567890/s")

// dialWithin bounds the question whether somebody serves a socket that is there already.
const dialWithin = time.Second

// errLoopbackOnly says why an address is refused: whoever reaches the API may do everything, since it knows no people yet.
var errLoopbackOnly = errors.New("the API has no users and rights yet, so whoever reaches it may do everything; " +
	"until people and rights come it is served on a unix socket and on loopback alone: use unix:///PATH or 127.0.0.1:PORT, and ssh -L to reach it from afar")

// Address is where the API is served: a unix socket or a port on loopback.
type Address struct {
	Network string // unix or tcp
	Path    string // of the socket, or IP:PORT
}

func (a Address) String() string {
	if a.Network == "unix" {
		return "unix://" + a.Path
	}
	return "http://" + a.Path
}

// ParseAddress reads unix:///PATH, /PATH, or an address of loopback with a port, with or without http:// before it.
func ParseAddress(s string) (Address, error) {
	if path, ok := strings.CutPrefix(s, "unix://"); ok || strings.HasPrefix(s, "/") {
		return socketAddress(s, path, ok)
	}
	text := strings.TrimSuffix(strings.TrimPrefix(s, "http://"), "/")
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return Address{}, fmt.Errorf("address %q: want unix:///PATH or 127.0.0.1:PORT", s)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
		return Address{}, fmt.Errorf("address %q: %q is not a port", s, port)
	}
	if host == "localhost" {
		host = "127.0.0.1"
	}
	ip, err := netip.ParseAddr(host)
	if err != nil && host != "" {
		return Address{}, fmt.Errorf("address %q: %q is not an address: %w", s, host, errLoopbackOnly)
	}
	if err != nil || !ip.IsLoopback() {
		return Address{}, fmt.Errorf("address %q is not loopback: %w", s, errLoopbackOnly)
	}
	return Address{"tcp", net.JoinHostPort(ip.String(), port)}, nil
}

func socketAddress(s, path string, prefixed bool) (Address, error) {
	if !prefixed {
		path = s
	}
	if !filepath.IsAbs(path) || len(path) > longestSocket || strings.ContainsRune(path, 0) {
		return Address{}, fmt.Errorf("address %q: want an absolute path of at most %d bytes", s, longestSocket)
	}
	return Address{"unix", filepath.Clean(path)}, nil
}

// Listen opens every address, or none. Close each listener to give it up again; http.Server does.
func Listen(addresses []Address) ([]net.Listener, error) {
	var open []net.Listener
	var problems []error
	for _, a := range addresses {
		l, err := listen(a)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		open = append(open, l)
	}
	if len(addresses) == 0 {
		problems = append(problems, errors.New("listen: no address to serve the API on"))
	}
	if len(problems) == 0 {
		return open, nil
	}
	for _, l := range open {
		problems = append(problems, l.Close())
	}
	return nil, errors.Join(problems...)
}

func listen(a Address) (net.Listener, error) {
	if a.Network == "unix" {
		l, err := listenUnix(a.Path)
		if err != nil {
			return nil, fmt.Errorf("listen on %s: %w", a, err)
		}
		return l, nil
	}
	l, err := net.Listen("tcp", a.Path)
	if errors.Is(err, syscall.EADDRINUSE) {
		_, port, _ := net.SplitHostPort(a.Path)
		return nil, fmt.Errorf("listen on %s: the address is already taken: see by whom with ss -ltnp 'sport = :%s', then stop that or set ROLLING_LISTEN to another port", a, port)
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", a, err)
	}
	return l, nil
}

// listenUnix makes the socket in a folder of its own and moves it into place, so that nobody can connect before its mode
// says who may. A socket that a killed manager left is replaced.
func listenUnix(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	if err := freeSocket(path); err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp(filepath.Dir(path), ".new-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder) //nolint:errcheck // an empty folder harms nobody
	making := filepath.Join(folder, "s")
	l, err := net.Listen("unix", making)
	if err != nil {
		return nil, err
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	err = os.Chmod(making, 0o600)
	if err == nil {
		err = os.Rename(making, path)
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	inode, err := os.Lstat(path)
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return &socket{l, path, inode}, nil
}

func freeSocket(path string) error {
	found, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if found.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s is there and no socket: move it away or set ROLLING_SOCKET to another path", path)
	}
	c, err := net.DialTimeout("unix", path, dialWithin)
	if err == nil {
		_ = c.Close()
		return errors.New("another process serves this socket: stop that one or set ROLLING_SOCKET to another path")
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("somebody seems to serve this socket (%w): stop that process or set ROLLING_SOCKET to another path", err)
	}
	return os.Remove(path)
}

// socket takes its file away when it is closed, unless the file is another's by then.
type socket struct {
	net.Listener
	path  string
	inode os.FileInfo
}

// Close closes the socket and takes its file away.
func (s *socket) Close() error {
	now, err := os.Lstat(s.path)
	if err == nil && os.SameFile(now, s.inode) {
		err = os.Remove(s.path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(s.Listener.Close(), err)
}

// Addr names the place where the socket was moved to.
func (s *socket) Addr() net.Addr { return &net.UnixAddr{Name: s.path, Net: "unix"} }
