package pipe

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func fifo(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "f")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// lender counts the buffers that are out.
type lender struct{ out int }

func (l *lender) Lend() []byte {
	l.out++
	return make([]byte, 1<<16)
}

func (l *lender) Back([]byte) { l.out-- }

func TestAPipe(t *testing.T) {
	path := fifo(t)
	p, err := Open(path) // nobody writes yet
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	lend := &lender{}
	if _, err := p.Read(lend); !errors.Is(err, io.EOF) {
		t.Fatalf("without a writer: %v", err)
	}
	w, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Until(time.Now().Add(20 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Read(lend); !errors.Is(err, os.ErrDeadlineExceeded) || lend.out != 0 {
		t.Fatalf("an empty pipe: %v, %d buffers are out", err, lend.out)
	}
	if _, err := p.Now(lend); !errors.Is(err, ErrEmpty) {
		t.Fatalf("an empty pipe, without waiting, behind the deadline: %v", err)
	}
	if err := p.Until(time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.WriteString("hello"); err != nil {
		t.Fatal(err)
	}
	if n := p.Waiting(); n != 5 {
		t.Fatalf("%d bytes wait", n)
	}
	if b, err := p.Read(lend); err != nil || string(b) != "hello" {
		t.Fatalf("got %q, %v", b, err)
	}
	read := make(chan error, 1)
	go func() {
		_, err := p.Read(&lender{})
		read <- err
	}()
	if err := p.Until(time.Unix(1, 0)); err != nil { // it wakes who waits
		t.Fatal(err)
	}
	if err := <-read; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Now(lend); !errors.Is(err, io.EOF) {
		t.Fatalf("after the writer: %v", err)
	}
}

func TestOnlyFIFOsAreOpenedAndFound(t *testing.T) {
	path := fifo(t)
	plain := filepath.Join(filepath.Dir(path), "plain")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(plain); err == nil {
		t.Fatal("a file was opened as a pipe")
	}
	found, err := Find(filepath.Dir(path))
	if err != nil || len(found) != 1 || found[0] != path {
		t.Fatalf("got %v, %v", found, err)
	}
	if found, err := Find("/nowhere/at/all"); err != nil || found != nil {
		t.Fatalf("got %v, %v", found, err)
	}
	if err := errors.Join(Remove(path), Remove(path)); err != nil {
		t.Fatal(err)
	}
}
