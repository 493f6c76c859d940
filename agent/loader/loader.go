// Package loader carries out what agent/bundle decides: it reads bundles from a folder, asks the engine what is installed,
// and does one step at a time through the engine's API. It knows Docker's plugin calls and the folders of the host that a
// plugin wants. It decides nothing.
package loader

import (
	"archive/tar"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/plugin"
	"github.com/moby/moby/client"

	"github.com/rolling-swarm/rolling/agent/bundle"
	"github.com/rolling-swarm/rolling/internal/contract"
)

const (
	// askWithin bounds a question.
	askWithin = 10 * time.Second
	// createWithin: 30 MB are unpacked and hashed, 0.3 s on an idle machine.
	createWithin = 3 * time.Minute
	// changeWithin: an enable dials the plugin's socket for up to 10 s; a disable gives it 10 s to end.
	changeWithin = time.Minute
)

// An Engine is this node's engine.
type Engine struct {
	api      *client.Client
	state    string            // contract.StateRoot of the host, as seen here
	folders  map[string]string // of the bundles, by alias
	programs map[string]string // of those with a launcher
}

// New makes an Engine of the engine's address, such as unix:///var/run/docker.sock, and of the bundles that were found. It
// does not connect.
func New(host, state string, found []Found) (*Engine, error) {
	api, err := client.New(client.WithHost(host))
	if err != nil {
		return nil, fmt.Errorf("engine %s: %w", host, err)
	}
	e := &Engine{api: api, state: state, folders: map[string]string{}, programs: map[string]string{}}
	for _, f := range found {
		e.folders[f.Alias] = f.Folder
		if f.program != "" {
			e.programs[f.Alias] = f.program
		}
	}
	return e, nil
}

// Close ends idle connections.
func (e *Engine) Close() error { return e.api.Close() }

// Installed says what the engine has under that alias.
func (e *Engine) Installed(ctx context.Context, alias string) (bundle.Installed, error) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	got, err := e.api.PluginInspect(ctx, alias, client.PluginInspectOptions{})
	if errdefs.IsNotFound(err) {
		return bundle.Installed{}, nil
	}
	if err != nil {
		return bundle.Installed{}, fmt.Errorf("inspect plugin %s: %w", alias, err)
	}
	i := installed(got.Plugin)
	if i.Frame != "" {
		return e.running(i, alias), nil
	}
	return i, nil
}

func installed(p plugin.Plugin) bundle.Installed {
	i := bundle.Installed{Present: true, Enabled: p.Enabled, Values: map[string]string{}}
	for _, line := range p.Settings.Env {
		name, value, _ := strings.Cut(line, "=")
		i.Values[name] = value
	}
	i.Build, i.Frame = i.Values[contract.BuildVariable], i.Values[contract.FrameVariable]
	return i
}

// Do does one step for one plugin.
func (e *Engine) Do(ctx context.Context, b bundle.Bundle, step bundle.Step) error {
	within := changeWithin
	if step.Verb == bundle.Create || step.Verb == bundle.Rehearse {
		within = createWithin
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	if err := e.do(ctx, b, step); err != nil {
		return fmt.Errorf("%s plugin %s: %w", step.Verb, b.Alias, err)
	}
	return nil
}

func (e *Engine) do(ctx context.Context, b bundle.Bundle, step bundle.Step) (err error) {
	switch step.Verb {
	case bundle.Rehearse:
		return e.rehearse(ctx, b)
	case bundle.Create:
		return errors.Join(e.removeRehearsal(ctx, b), e.create(ctx, b, b.Alias))
	case bundle.Set:
		_, err = e.api.PluginSet(ctx, b.Alias, client.PluginSetOptions{Args: step.Settings})
	case bundle.Enable:
		if err = e.makeFolders(b.Folders); err != nil {
			return err
		}
		// Timeout 0: calls to the plugin are bounded by the plugin itself.
		if _, err = e.api.PluginEnable(ctx, b.Alias, client.PluginEnableOptions{Timeout: 0}); err != nil {
			err = fmt.Errorf("%w: what the plugin itself says stands in the engine's log", err)
		}
	case bundle.Disable:
		_, err = e.api.PluginDisable(ctx, b.Alias, client.PluginDisableOptions{Force: true})
	case bundle.Remove:
		_, err = e.api.PluginRemove(ctx, b.Alias, client.PluginRemoveOptions{Force: true})
	case bundle.Retire:
		return e.retire(ctx, b)
	case bundle.Lay:
		return e.lay(b, step.Settings)
	case bundle.Await:
		return e.await(ctx, b)
	default:
		err = errors.New("no such step")
	}
	return err
}

// rehearsal is the name under which a creation is tried.
func rehearsal(b bundle.Bundle) string { return "rolling/" + b.Name() + ":rehearsal" }

func (e *Engine) rehearse(ctx context.Context, b bundle.Bundle) error {
	if err := e.removeRehearsal(ctx, b); err != nil { // one that was killed left it
		return err
	}
	err := e.create(ctx, b, rehearsal(b))
	return errors.Join(err, e.removeRehearsal(ctx, b))
}

func (e *Engine) removeRehearsal(ctx context.Context, b bundle.Bundle) error {
	_, err := e.api.PluginRemove(ctx, rehearsal(b), client.PluginRemoveOptions{Force: true})
	if err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("remove %s: %w", rehearsal(b), err)
	}
	return nil
}

func (e *Engine) create(ctx context.Context, b bundle.Bundle, alias string) error {
	folder, known := e.folders[b.Alias]
	if !known {
		return errors.New("there is no bundle of it")
	}
	r, w := io.Pipe()
	packed := make(chan error, 1)
	go func() {
		err := pack(w, folder)
		packed <- err
		w.CloseWithError(err)
	}()
	_, err := e.api.PluginCreate(ctx, r, client.PluginCreateOptions{RepoName: alias})
	r.Close() //nolint:errcheck // ends the packing if the engine did not read to the end
	if broken := <-packed; broken != nil && !errors.Is(broken, io.ErrClosedPipe) {
		return fmt.Errorf("pack %s: %w", folder, broken)
	}
	return err
}

// pack writes a bundle as the engine wants it: config.json and rootfs/. A file that is never the same makes each root file
// system one of its own: the engine refuses one that it has already, be it under another name, or left by a creation in
// which the engine was killed, of which nothing else is left.
func pack(w io.Writer, folder string) error {
	out := tar.NewWriter(w)
	if err := out.AddFS(os.DirFS(folder)); err != nil {
		return err
	}
	once := rand.Text()
	if err := out.WriteHeader(&tar.Header{Name: "rootfs/etc/rolling/creation", Mode: 0o644, Size: int64(len(once))}); err != nil {
		return err
	}
	if _, err := io.WriteString(out, once); err != nil {
		return err
	}
	return out.Close()
}

// makeFolders makes what the plugin mounts: an engine refuses to start a plugin whose mount has no source.
func (e *Engine) makeFolders(folders []string) error {
	for _, f := range folders {
		below, ok := strings.CutPrefix(f, contract.StateRoot+"/")
		if !ok {
			continue
		}
		if err := os.MkdirAll(e.state, 0o755); err != nil {
			return fmt.Errorf("make the folder of its state: %w", err)
		}
		if err := os.MkdirAll(filepath.Join(e.state, filepath.FromSlash(below)), 0o700); err != nil {
			return fmt.Errorf("make the folder of its state: %w", err)
		}
	}
	return nil
}

// Watch calls changed once the engine answers, and whenever a plugin of the engine was changed by whomever, until the engine
// goes away or the context ends.
func (e *Engine) Watch(ctx context.Context, changed func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream := e.api.Events(ctx, client.EventsListOptions{Filters: make(client.Filters).Add("type", "plugin")})
	select {
	case err := <-stream.Err:
		return fmt.Errorf("engine: %w", err)
	default:
		changed()
	}
	for {
		select {
		case <-stream.Messages:
			changed()
		case err := <-stream.Err:
			return fmt.Errorf("engine: %w", err)
		}
	}
}
