package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// drainMark is an empty file in the state's folder: a drain outlives the process, which may end by an upgrade.
func (c Config) drainMark() string { return filepath.Join(c.State, "drained") }

func (c Config) drained() bool {
	_, err := os.Stat(c.drainMark())
	return err == nil
}

// drain writes it down, then says it.
func (c Config) drain(speaker *deferred, drained bool) error {
	var err error
	if drained {
		err = os.WriteFile(c.drainMark(), nil, 0o600)
	} else if err = os.Remove(c.drainMark()); errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return fmt.Errorf("drain: %w: nothing is changed", err)
	}
	speaker.drain(drained)
	return nil
}
