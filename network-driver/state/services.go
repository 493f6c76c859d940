package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/rolling-swarm/rolling/network-driver/vip"
)

// Services is a file of its own with what Swarm said last of services: nothing is lost with it but a few seconds' patience
// with an engine that starts, so it is not fsynced.
type Services struct{ Path string }

// Load reads it; there is none at first.
func (s Services) Load() ([]vip.Service, error) {
	text, err := os.ReadFile(s.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("services: %w", err)
	}
	var all []vip.Service
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("services: %s: %w", s.Path, err)
	}
	return all, nil
}

// Save replaces the file in one step.
func (s Services) Save(all []vip.Service) error {
	text, err := json.Marshal(all)
	if err != nil {
		return fmt.Errorf("services: %w", err)
	}
	if err := os.WriteFile(s.Path+".new", text, 0o600); err != nil {
		return fmt.Errorf("services: %w", err)
	}
	if err := os.Rename(s.Path+".new", s.Path); err != nil {
		return fmt.Errorf("services: %w", err)
	}
	return nil
}
