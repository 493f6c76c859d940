// Package record keeps a node's stops in one file, so that an agent that is killed in the middle of a drain has a successor
// that knows of it. It knows the file and nothing of what the stops mean.
package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/rolling-swarm/rolling/agent/drain/stops"
)

// File is the record's path.
type File string

// form is the file's content.
type form struct {
	Stops []stops.Stop `json:"stops"`
}

// Load reads what was kept; nothing, if nothing was.
func (f File) Load() ([]stops.Stop, error) {
	text, err := os.ReadFile(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the record of drains: %w", err)
	}
	var kept form
	if err := json.Unmarshal(text, &kept); err != nil {
		return nil, fmt.Errorf("read the record of drains: %s: %w", f, err)
	}
	return kept.Stops, nil
}

// Save replaces what was kept, in one step that outlives a power loss.
func (f File) Save(all []stops.Stop) error {
	if all == nil {
		all = []stops.Stop{}
	}
	text, err := json.Marshal(form{all})
	if err != nil {
		return fmt.Errorf("write the record of drains: %w", err)
	}
	if err := f.replace(text); err != nil {
		return fmt.Errorf("write the record of drains: %w", err)
	}
	return nil
}

func (f File) replace(text []byte) error {
	folder := filepath.Dir(string(f))
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	fresh, err := os.CreateTemp(folder, filepath.Base(string(f))+".*")
	if err != nil {
		return err
	}
	defer os.Remove(fresh.Name()) //nolint:errcheck // it is gone once renamed
	_, err = fresh.Write(text)
	if err == nil {
		err = fresh.Sync()
	}
	if err = errors.Join(err, fresh.Close()); err != nil {
		return err
	}
	if err := os.Rename(fresh.Name(), string(f)); err != nil {
		return err
	}
	dir, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
