// Package pipe is the plugin's end of the engine's FIFOs. It waits for nothing but the pipe: opening never blocks, a
// read ends with its deadline. It knows pipes; it refuses to know what is in them.
package pipe

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A Pipe is the reading end of a FIFO.
type Pipe struct {
	Path string
	file *os.File
	conn syscall.RawConn
}

// wide is asked of the kernel for each pipe (64 KiB otherwise): it takes in what comes while the reader is not run.
const wide = 256 << 10

// Open opens the FIFO whether somebody writes or not.
func Open(path string) (*Pipe, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("pipe: %w", err)
	}
	info, err := f.Stat()
	if err == nil && info.Mode()&fs.ModeNamedPipe == 0 {
		err = fmt.Errorf("pipe: %s is no FIFO", path)
	}
	var conn syscall.RawConn
	if err == nil {
		conn, err = f.SyscallConn()
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	_ = conn.Control(func(fd uintptr) {
		_, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, wide) // beyond the user's share the kernel refuses: narrower then
	})
	return &Pipe{Path: path, file: f, conn: conn}, nil
}

// ErrEmpty: the pipe holds nothing now.
var ErrEmpty = errors.New("the pipe is empty")

// A Lender lends a buffer for one read, and gets it back if there was nothing to read: an idle pipe holds none.
type Lender interface {
	Lend() []byte
	Back([]byte)
}

// Read waits until there is something or the deadline is over (os.ErrDeadlineExceeded). The buffer with what was read
// is the caller's then. io.EOF: nobody has the pipe open for writing.
func (p *Pipe) Read(from Lender) ([]byte, error) {
	var b []byte
	var failure error
	err := p.conn.Read(func(fd uintptr) bool {
		b, failure = read(int(fd), from)
		return !errors.Is(failure, ErrEmpty)
	})
	if err != nil {
		return nil, err
	}
	return b, failure
}

// Now reads without waiting, or gives ErrEmpty.
func (p *Pipe) Now(from Lender) (b []byte, err error) {
	if failure := p.conn.Control(func(fd uintptr) { b, err = read(int(fd), from) }); failure != nil {
		return nil, failure
	}
	return b, err
}

// read has to try: for a pipe that never had a writer, nothing but a read tells that there is none.
func read(fd int, from Lender) ([]byte, error) {
	b := from.Lend()
	n, err := unix.Read(fd, b)
	for errors.Is(err, unix.EINTR) {
		n, err = unix.Read(fd, b)
	}
	switch {
	case errors.Is(err, unix.EAGAIN):
		err = ErrEmpty
	case err != nil:
		err = fmt.Errorf("pipe: %w", err)
	case n == 0:
		err = io.EOF
	default:
		return b[:n], nil
	}
	from.Back(b)
	return nil, err
}

func waiting(fd int) int {
	n, err := unix.IoctlGetInt(fd, unix.TIOCINQ)
	if err != nil {
		return 0
	}
	return n
}

// Waiting is how many bytes the pipe holds.
func (p *Pipe) Waiting() (n int) {
	_ = p.conn.Control(func(fd uintptr) { n = waiting(int(fd)) }) // closed: holds none
	return n
}

// Until bounds reads that wait and those to come; the zero time: no bound.
func (p *Pipe) Until(t time.Time) error { return p.file.SetReadDeadline(t) }

// Close closes our end.
func (p *Pipe) Close() error { return p.file.Close() }

// Find lists the FIFOs in a folder; a folder that is not there holds none.
func Find(folder string) ([]string, error) {
	files, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("pipes: %w", err)
	}
	var found []string
	for _, f := range files {
		if f.Type()&fs.ModeNamedPipe != 0 {
			found = append(found, filepath.Join(folder, f.Name()))
		}
	}
	return found, nil
}

// Remove removes a FIFO that nobody will write to any more.
func Remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("pipe: %w", err)
	}
	return nil
}
