package spool

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rolling-swarm/rolling/logdriver/batch"
	"github.com/rolling-swarm/rolling/logdriver/route"
)

// Limits bound all logs together.
type Limits struct {
	Whole int64
}

// A Store holds the logs of all containers, each in a folder named by the container's ID.
type Store struct {
	root   string
	limits Limits
	log    *slog.Logger
	total  atomic.Int64
	// buffers are of those who append, not one for each container.
	buffers sync.Pool

	mu     sync.Mutex
	closed map[string]int64 // what logs that were closed take on disk; guarded by mu

	// Dropped counts what the bounds cost.
	Dropped Drops
}

// Drops count lines and bytes by reason.
type Drops struct {
	lines, bytes [batch.Reasons]atomic.Uint64
}

func (d *Drops) add(r batch.Reason, lines, bytes uint64) {
	d.lines[r].Add(lines)
	d.bytes[r].Add(bytes)
}

// Of is what one reason cost.
func (d *Drops) Of(r batch.Reason) (lines, bytes uint64) { return d.lines[r].Load(), d.bytes[r].Load() }

// Total is what all reasons cost.
func (d *Drops) Total() (lines, bytes uint64) {
	for r := batch.Reason(0); r < batch.Reasons; r++ {
		lines += d.lines[r].Load()
		bytes += d.bytes[r].Load()
	}
	return lines, bytes
}

// New is a store in a folder.
func New(root string, limits Limits, log *slog.Logger) (*Store, error) {
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	return &Store{root: root, limits: limits, log: log, closed: map[string]int64{}}, nil
}

// Total is what all logs that were opened take on disk.
func (s *Store) Total() int64 { return s.total.Load() }

// laneName is the file that says whose lines these are.
const laneName = "lane.json"

// Open opens a container's log, or begins one, and keeps the lane beside it.
func (s *Store) Open(lane route.Lane) (*Log, error) {
	l, err := s.open(lane.Container, Bounds{Most: lane.SpoolMax, OnFull: lane.OnFull})
	if err != nil {
		return nil, err
	}
	text, err := json.MarshalIndent(lane, "", "  ")
	if err == nil {
		err = replace(filepath.Join(l.folder, laneName), text)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("spool of %s: %w", lane.Container, err), l.Close())
	}
	return l, nil
}

// Lanes are those on disk. A folder whose lane cannot be read is named in the error; the others are given all the same.
func (s *Store) Lanes() ([]route.Lane, error) {
	folders, err := os.ReadDir(s.root)
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	var lanes []route.Lane
	var problems []error
	for _, f := range folders {
		text, err := os.ReadFile(filepath.Join(s.root, f.Name(), laneName))
		var lane route.Lane
		if err == nil {
			err = json.Unmarshal(text, &lane)
		}
		if err == nil && lane.Container != f.Name() {
			err = fmt.Errorf("%s names the container %q", laneName, lane.Container)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("spool of %s: %w", f.Name(), err))
			continue
		}
		lanes = append(lanes, lane)
	}
	return lanes, errors.Join(problems...)
}

// LastChange is when the container's log last grew or was acknowledged.
func (l *Log) LastChange() time.Time {
	var last time.Time
	l.mu.Lock()
	path := l.segments[len(l.segments)-1].path(l.folder)
	l.mu.Unlock()
	for _, p := range []string{path, filepath.Join(l.folder, cursorName)} {
		if info, err := os.Stat(p); err == nil && info.ModTime().After(last) {
			last = info.ModTime()
		}
	}
	return last
}

// Remove deletes a log that is closed. What Kafka lacks is counted as expired.
func (s *Store) Remove(l *Log) error {
	l.mu.Lock()
	held, unsent := l.held(), l.unsent
	l.mu.Unlock()
	if err := os.RemoveAll(l.folder); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("spool of %s: %w", l.ID, err)
	}
	s.forget(l.ID, held)
	s.Dropped.add(batch.Expired, unsent, 0)
	return nil
}

// opened counts a log in, once: it may have been closed before.
func (s *Store) opened(id string, held int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total.Add(held - s.closed[id])
	delete(s.closed, id)
}

func (s *Store) shut(id string, held int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed[id] = held
}

func (s *Store) forget(id string, held int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total.Add(-held)
	delete(s.closed, id)
}

// Refused counts a line that Kafka takes in no form.
func (s *Store) Refused(l *Log, bytes int) {
	l.mu.Lock()
	l.unsent -= min(1, l.unsent)
	l.mu.Unlock()
	s.Dropped.add(batch.Refused, 1, uint64(bytes))
}

// torn counts the lines of a segment that cannot be read.
func (s *Store) torn(l *Log, seg segment) {
	l.mu.Lock()
	until := seg.lines
	for i, g := range l.segments {
		if g.base == seg.base && i+1 < len(l.segments) {
			until = l.segments[i+1].lines
		}
	}
	l.mu.Unlock()
	good := uint64(0)
	_, _, err := scan(seg.path(l.folder), l.table, seg.base, func(it item, _ int64) {
		if it.gap == nil && !it.fragment.More {
			good++
		}
	})
	lost := uint64(0)
	if until > seg.lines+good {
		lost = until - seg.lines - good
	}
	l.mu.Lock()
	l.unsent -= min(lost, l.unsent)
	l.mu.Unlock()
	s.Dropped.add(batch.Torn, lost, 0)
	s.log.Error("a segment of the spool is damaged: the rest of it is lost", "container", l.ID, "file", seg.path(l.folder), "lines", lost, "cause", err)
}
