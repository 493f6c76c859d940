// Package policy reads the document that says which projects may connect to which, each time that somebody laid another
// one. It knows the file and tells what is in it, or why it cannot be read; what of it is in force is not its affair.
package policy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/rolling-swarm/rolling/internal/permits"
)

// lookEvery: the folder lies on the node's disk, and a look costs a call of the kernel.
const lookEvery = 50 * time.Millisecond

// File is where the document lies.
func File(state string) string { return filepath.Join(state, permits.File) }

// Watch tells the document whenever the file is another one, or why it cannot be read, until the context ends. A file
// that is not there, or goes, says nothing: the last one stays in force.
func Watch(ctx context.Context, file string, tell func(permits.Document, error)) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var last os.FileInfo
	for {
		now, err := os.Stat(file)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil && last != nil || err == nil && !same(last, now):
			tell(Read(file))
			last = now
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func same(a, b os.FileInfo) bool {
	return a != nil && os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

// Read reads it once.
func Read(file string) (permits.Document, error) {
	f, err := os.Open(file)
	if err != nil {
		return permits.Document{}, fmt.Errorf("policy: %w: the last one stays in force", err)
	}
	defer f.Close() //nolint:errcheck // it was only read
	text, err := io.ReadAll(io.LimitReader(f, permits.MaxText+1))
	if err != nil {
		return permits.Document{}, fmt.Errorf("policy: %w: the last one stays in force", err)
	}
	d, err := permits.Parse(text)
	if err != nil {
		return permits.Document{}, fmt.Errorf("%s: %w: the last one stays in force", file, err)
	}
	return d, nil
}
