package loader

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"

	"github.com/rolling-swarm/rolling/agent/bundle"
	"github.com/rolling-swarm/rolling/internal/worker"
)

const (
	// lookForWorker is how often the launcher's word is read.
	lookForWorker = 100 * time.Millisecond
	// awaitWithin: the old program has 8 s to end, the new one 10 s to listen.
	awaitWithin = 25 * time.Second
)

func (e *Engine) workers(name string) string { return filepath.Join(e.state, name, worker.Folder) }

// running puts what the launcher says in the place of what the engine knows: another program and other settings may have
// been laid since the plugin was created. What cannot be read is nothing: the program is laid again, and said again.
func (e *Engine) running(i bundle.Installed, alias string) bundle.Installed {
	s, err := worker.ReadStatus(e.workers(bundle.Bundle{Alias: alias}.Name()))
	if err != nil {
		s = worker.Status{}
	}
	i.Build, i.Values = s.Build, s.Settings
	return i
}

func (e *Engine) lay(b bundle.Bundle, settings []string) error {
	program, known := e.programs[b.Alias]
	if !known {
		return errors.New("there is no bundle of it")
	}
	if err := e.makeFolders(b.Folders); err != nil {
		return err
	}
	values := map[string]string{}
	for _, s := range settings {
		name, value, _ := strings.Cut(s, "=")
		values[name] = value
	}
	_, err := worker.Lay(e.workers(b.Name()), program, b.Build, values)
	return err
}

// await waits until the launcher has dealt with what was laid.
func (e *Engine) await(ctx context.Context, b bundle.Bundle) error {
	ctx, cancel := context.WithTimeout(ctx, awaitWithin)
	defer cancel()
	order, err := worker.Ordered(e.workers(b.Name()))
	if err != nil {
		return err
	}
	for {
		s, err := worker.ReadStatus(e.workers(b.Name()))
		switch {
		case err != nil: // half of an old one: the launcher says it anew
		case s.Order == order && s.Problem != "":
			return errors.New(s.Problem)
		case s.Order == order:
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("its launcher does not take up build %s within %s", bundle.Short(b.Build), awaitWithin)
		case <-time.After(lookForWorker):
		}
	}
}

// retire asks without force, so that the engine itself says whether a container uses the plugin: no look of ours could
// know of one that starts meanwhile.
func (e *Engine) retire(ctx context.Context, b bundle.Bundle) error {
	got, err := e.api.PluginInspect(ctx, b.Alias, client.PluginInspectOptions{})
	if err != nil {
		return err
	}
	if got.Plugin.Enabled {
		_, err := e.api.PluginDisable(ctx, b.Alias, client.PluginDisableOptions{})
		if errdefs.IsConflict(err) {
			return fmt.Errorf("%w: %w", bundle.ErrInUse, err)
		}
		if err != nil {
			return err
		}
	}
	_, err = e.api.PluginRemove(ctx, b.Alias, client.PluginRemoveOptions{})
	if errdefs.IsConflict(err) { // it was disabled by force, and the containers wait for it
		_, again := e.api.PluginEnable(ctx, b.Alias, client.PluginEnableOptions{Timeout: 0})
		return errors.Join(fmt.Errorf("%w: %w", bundle.ErrInUse, err), again)
	}
	return err
}
