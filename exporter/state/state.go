// Package state keeps one text in a file, so that it is there after the process was killed. What the text says it does not
// know. It does not force the text to the disk: after a power loss every counter of the kernel begins anew as well.
package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// A File is where the text is.
type File struct{ Path string }

// largest bounds what is read: some 2 KiB a container.
const largest = 64 << 20

// Load reads the text; none is no error.
func (f File) Load() ([]byte, error) {
	about, err := os.Stat(f.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && about.Size() > largest {
		err = fmt.Errorf("has %d bytes: want at most %d", about.Size(), largest)
	}
	if err != nil {
		return nil, fmt.Errorf("state %s: %w", f.Path, err)
	}
	text, err := os.ReadFile(f.Path)
	if err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	return text, nil
}

// Save replaces the text as a whole.
func (f File) Save(text []byte) error {
	if err := os.MkdirAll(filepath.Dir(f.Path), 0o700); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	fresh := f.Path + ".new"
	if err := os.WriteFile(fresh, text, 0o600); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	if err := os.Rename(fresh, f.Path); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	return nil
}
