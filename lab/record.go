package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
)

// record is what a lab should be: written before anything is made, so that a half-made lab can be repaired or
// removed by any later process.
type record struct {
	Managers int    `json:"managers"`
	Workers  int    `json:"workers"`
	Engine   string `json:"engine"`
	// Owner is the test process that the lab belongs to; nobody's when a person made it.
	Owner *process `json:"owner,omitempty"`
}

func (r record) nodes() []string {
	names := make([]string, 0, r.Managers+r.Workers)
	for n := 1; n <= r.Managers+r.Workers; n++ {
		names = append(names, "n"+strconv.Itoa(n))
	}
	return names
}

// errNotUp: the lab has no record, so nothing of it need exist.
var errNotUp = errors.New("the lab is not up")

func (l *Lab) readRecord() (record, error) {
	var r record
	text, err := os.ReadFile(l.folder("lab.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return r, fmt.Errorf("lab %s: %w: lab up --name %s makes it", l.name, errNotUp, l.name)
	}
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil {
		return r, fmt.Errorf("lab %s: read its record: %w: lab down --name %s removes what is left", l.name, err, l.name)
	}
	return r, nil
}

func (l *Lab) writeRecord(r record) error {
	text, err := json.Marshal(r)
	if err == nil {
		err = os.MkdirAll(l.folder(), 0o755)
	}
	if err == nil {
		err = writeFile(l.folder("lab.json"), text)
	}
	if err != nil {
		return fmt.Errorf("lab %s: write its record: %w", l.name, err)
	}
	return nil
}

// writeFile replaces the file at once or not at all.
func writeFile(path string, text []byte) error {
	if err := os.WriteFile(path+".new", text, 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// settle merges what is asked for with what is there. Zero means "as it is", or the default of a new lab.
func settle(o Options, old *record) (record, error) {
	want := record{Managers: o.Managers, Workers: o.Workers, Engine: o.Engine}
	if old != nil {
		if want.Managers == 0 {
			want.Managers = old.Managers
		}
		if want.Workers == 0 {
			want.Workers = old.Workers
		}
		if want.Engine == "" {
			want.Engine = old.Engine
		}
		want.Owner = old.Owner
	}
	if want.Managers == 0 {
		want.Managers = 3
	}
	if want.Engine == "" {
		want.Engine = "forky"
	}
	if want.Managers < 1 || want.Workers < 0 || want.Managers+want.Workers > maxNodes {
		return want, fmt.Errorf("%d managers and %d workers: want at least one manager and at most %d nodes", want.Managers, want.Workers, maxNodes)
	}
	if old == nil {
		return want, nil
	}
	return want, grows(*old, want)
}

// grows refuses what would change a node that exists: its engine, its role, its being there.
func grows(old, want record) error {
	switch {
	case want.Engine != old.Engine:
		return fmt.Errorf("the lab runs engine %s, not %s: lab down first", old.Engine, want.Engine)
	case want.Managers != old.Managers && old.Workers > 0, want.Managers < old.Managers, want.Workers < old.Workers:
		return fmt.Errorf("the lab has %d managers and %d workers, and cannot become %d and %d: lab down first, or add workers only",
			old.Managers, old.Workers, want.Managers, want.Workers)
	}
	return nil
}
