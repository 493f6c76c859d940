package loader

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// lookAgain is how often a lock that another process holds is tried.
const lookAgain = 100 * time.Millisecond

// Alone gives a function that takes the lock of that file, for as long as another agent of this node may have it: two of
// them, of different builds, must not take a plugin from each other half-way. The lock ends with its process.
func Alone(path string) func(ctx context.Context) (release func(), err error) {
	return func(ctx context.Context) (func(), error) {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return nil, err
		}
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, err
		}
		release := func() { f.Close() } //nolint:errcheck // nothing was written
		for {
			err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
			if err == nil {
				return release, nil
			}
			if !errors.Is(err, syscall.EWOULDBLOCK) {
				release()
				return nil, fmt.Errorf("lock %s: %w", path, err)
			}
			select {
			case <-ctx.Done():
				release()
				return nil, fmt.Errorf("lock %s: another agent holds it: %w", path, ctx.Err())
			case <-time.After(lookAgain):
			}
		}
	}
}
