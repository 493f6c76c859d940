package debian

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// policy is the machine's policy-rc.d: the program that Debian's packages ask before they start a service.
type policy struct{ folder string }

// refusal answers 101, "action forbidden". Its second line tells a later run that the file is ours.
const refusal = "#!/bin/sh\n# laid by rolling's lab while it installs packages; a leftover may be removed\nexit 101\n"

func (p policy) file() string  { return filepath.Join(p.folder, "policy-rc.d") }
func (p policy) saved() string { return filepath.Join(p.folder, "policy-rc.d.before-rolling-lab") }

// forbid lays our refusal. The machine's own file waits under another name, also when a run was ended half-way.
func (p policy) forbid() error {
	now, err := os.ReadFile(p.file())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read policy-rc.d: %w", err)
	}
	if err == nil && bytes.Equal(now, []byte(refusal)) {
		return nil
	}
	if err == nil {
		if err := os.Rename(p.file(), p.saved()); err != nil {
			return fmt.Errorf("set policy-rc.d aside: %w", err)
		}
	}
	if err := os.WriteFile(p.file(), []byte(refusal), 0o755); err != nil {
		return fmt.Errorf("write policy-rc.d: %w", err)
	}
	return nil
}

// restore puts the machine's own file back, or leaves none where none was.
func (p policy) restore() error {
	err := os.Rename(p.saved(), p.file())
	if errors.Is(err, fs.ErrNotExist) {
		err = os.Remove(p.file())
	}
	if err != nil {
		return fmt.Errorf("restore policy-rc.d: %w", err)
	}
	return nil
}
