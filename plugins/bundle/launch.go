package bundle

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/internal/worker"
)

// launcherFile is where the launcher stands in the root file system.
const launcherFile = "/launcher"

// Launch puts the launcher in front of the program, and stamps the configuration with the digest of the frame: all that
// the engine keeps of the plugin, but for the program and the settings, which can be laid beside it.
func (b *Bundle) Launch(launcher string) error {
	program := b.Config.Entrypoint[0]
	if len(b.Config.Entrypoint) > 1 {
		return fmt.Errorf("bundle %s: entrypoint %q: a launcher gives its program no arguments", b.Name, b.Config.Entrypoint)
	}
	b.Config.Entrypoint = []string{launcherFile, path.Join(contract.StateRoot, b.Name, worker.Folder),
		"/run/docker/plugins/" + b.Config.Interface.Socket, program}
	if err := b.files.AddFile(root+launcherFile, launcher, 0o755); err != nil {
		return fmt.Errorf("bundle %s: %w", b.Name, err)
	}
	frame := b.Config
	frame.Env = nil
	text, err := json.Marshal(frame)
	if err != nil {
		return fmt.Errorf("bundle %s: %w", b.Name, err)
	}
	digest, err := b.files.Without(root+program).With(configFile, string(text)).Digest()
	if err != nil {
		return fmt.Errorf("bundle %s: %w", b.Name, err)
	}
	b.Config.Env = append(slices.Clone(b.Config.Env), Env{
		Name: contract.FrameVariable, Value: strings.TrimPrefix(digest, "sha256:"),
		Description: "digest of what only a new creation changes: with the same one, another build is laid beside the plugin",
	})
	return nil
}
