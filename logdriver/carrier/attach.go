package carrier

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/rolling-swarm/rolling/logdriver/pipe"
	"github.com/rolling-swarm/rolling/logdriver/route"
)

// A note says whose pipe is open: after a crash the engine does not say it again. It names no label and no variable.
type note struct {
	File      string `json:"file"`
	Container string `json:"container"`
}

const noteEnd = ".json"

func (c *Carrier) notePath(file string) string {
	return filepath.Join(c.notes(), filepath.Base(file)+noteEnd)
}

func (c *Carrier) note(file, container string) error {
	text, err := json.Marshal(note{File: file, Container: container})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.notes(), 0o700); err != nil {
		return fmt.Errorf("note the pipe: %w", err)
	}
	path := c.notePath(file)
	if err := errors.Join(os.WriteFile(path+".new", text, 0o600), os.Rename(path+".new", path)); err != nil {
		return fmt.Errorf("note the pipe: %w", err)
	}
	return nil
}

// forget gives a pipe up that is over.
func (c *Carrier) forget(file string) {
	if err := os.Remove(c.notePath(file)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.log.Warn("a note on a pipe stays", "cause", err)
	}
}

// attach opens again what an earlier process had open, first of all: containers wait. Then the other logs, whose lines
// may not have been sent.
func (c *Carrier) attach() error {
	lanes, err := c.store.Lanes()
	problems := []error{err}
	byID := map[string]route.Lane{}
	for _, l := range lanes {
		byID[l.Container] = l
	}
	notes, err := os.ReadDir(c.notes())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		problems = append(problems, err)
	}
	for _, f := range notes {
		if filepath.Ext(f.Name()) != noteEnd {
			continue // half written: its container was not started, or is being started now
		}
		problems = append(problems, c.attachOne(filepath.Join(c.notes(), f.Name()), byID))
	}
	for _, l := range lanes {
		c.turn.Lock()
		c.mu.Lock()
		_, open := c.lanes[l.Container]
		c.mu.Unlock()
		if !open {
			_, err = c.open(l)
			problems = append(problems, err)
		}
		c.turn.Unlock()
	}
	return errors.Join(problems...)
}

func (c *Carrier) attachOne(path string, lanes map[string]route.Lane) error {
	c.turn.Lock()
	defer c.turn.Unlock()
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it ended meanwhile
	}
	var n note
	if err == nil {
		err = json.Unmarshal(text, &n)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("note %s: %w", path, err), os.Remove(path))
	}
	c.mu.Lock()
	_, open := c.readers[n.File]
	c.mu.Unlock()
	if open {
		return nil // the engine was faster
	}
	if _, err := os.Stat(n.File); err != nil { // the engine removed it: the container ended while nobody read
		return os.Remove(path)
	}
	plan, known := lanes[n.Container]
	if !known {
		plan = route.Unknown(n.Container, c.set.Node, c.set.Limits)
	}
	l, err := c.open(plan)
	if err != nil {
		return err
	}
	if err := c.read(l, n.File, false); err != nil {
		return err
	}
	c.log.Info("attached to a container's pipe again", "container", n.Container)
	return nil
}

// strangeAfter: the engine makes the pipe first and explains it then, with tries for 30 s.
const strangeAfter = 30 * time.Second

// lookForStrangers reads pipes that nobody explains: somebody's container hangs on each.
func (c *Carrier) lookForStrangers() {
	files, err := pipe.Find(c.set.Pipes)
	if err != nil {
		c.log.Warn("pipes are not looked for", "cause", err)
		return
	}
	now := time.Now()
	c.mu.Lock()
	seen := map[string]time.Time{}
	var strange []string
	for _, f := range files {
		if c.readers[f] != nil {
			continue
		}
		seen[f] = now
		if since, ok := c.strange[f]; ok {
			seen[f] = since
		}
		if now.Sub(seen[f]) >= strangeAfter {
			strange = append(strange, f)
		}
	}
	c.strange = seen
	c.mu.Unlock()
	for _, f := range strange {
		if err := c.adopt(f); err != nil {
			c.log.Error("a pipe that nobody explained is not read", "file", f, "cause", err)
		}
	}
}

const shortName = 12

func (c *Carrier) adopt(file string) error {
	c.turn.Lock()
	defer c.turn.Unlock()
	c.mu.Lock()
	known := c.readers[file] != nil
	c.mu.Unlock()
	if known {
		return nil
	}
	base := filepath.Base(file)
	l, err := c.open(route.Unknown("unknown-"+base[:min(shortName, len(base))], c.set.Node, c.set.Limits))
	if err != nil {
		return err
	}
	c.log.Warn("nobody explains this pipe: its lines are carried under an unknown name", "file", file, "topic", l.route.Topic)
	return c.read(l, file, false)
}

// removePipe removes a pipe that nobody will write to.
func (c *Carrier) removePipe(file string) error {
	if filepath.Dir(file) != c.set.Pipes {
		return nil
	}
	return pipe.Remove(file)
}
