// Package bundle makes and checks the bundles of the managed plugins: a config.json and a root file system, as
// `docker plugin create` wants them. It knows which program and which files belong to which plugin. It refuses to know
// the engine: what is done with a bundle is the agent's business.
//
// A bundle is stamped with the digest of its own content, so an agent can tell an installed build from the one it
// carries, and the same sources give the same stamp on every machine with the same Debian packages.
package bundle

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/internal/tree"
)

const (
	configFile = "config.json"
	root       = "rootfs"
	// nameFile and buildFile make each root file system one of its own: engines (20.10 and 28.5 were tried) refuse a
	// plugin whose root file system is, byte for byte, that of another plugin or of another build.
	nameFile  = root + "/etc/rolling/plugin"
	buildFile = root + "/etc/rolling/build"
	// PackagesFile lists the Debian packages whose files are in the bundle.
	PackagesFile = root + "/etc/rolling/packages"
)

// A Bundle is a plugin before it is installed.
type Bundle struct {
	Name   string // ipam, net
	Alias  string // rolling/ipam:latest
	Config Config
	files  *tree.Tree // the root file system below rootfs/
	stamp  string     // in the root file system of one that was read
}

// New begins a bundle: its committed configuration and its program.
func New(alias, configPath, program string) (*Bundle, error) {
	name, _, _ := strings.Cut(path.Base(alias), ":")
	text, err := os.ReadFile(configPath)
	if err != nil {
		return nil, fmt.Errorf("bundle %s: %w", name, err)
	}
	b := &Bundle{Name: name, Alias: alias, files: &tree.Tree{}}
	if b.Config, err = ReadConfig(text); err != nil {
		return nil, fmt.Errorf("bundle %s: %s: %w", name, configPath, err)
	}
	if err := b.Config.Check(name); err != nil {
		return nil, fmt.Errorf("bundle %s: %s: %w", name, configPath, err)
	}
	b.files.AddText(nameFile, alias+"\n", 0o644)
	for _, folder := range []string{"run", "tmp", "var/lib/rolling/" + name} {
		b.files.AddFolder(root+"/"+folder, 0o755)
	}
	if err := b.files.AddFile(root+b.Config.Entrypoint[0], program, 0o755); err != nil {
		return nil, fmt.Errorf("bundle %s: %w", name, err)
	}
	return b, nil
}

// Build is the digest of the content: of the configuration and every file, without their stamps.
func (b *Bundle) Build() (string, error) {
	text, err := b.Config.Text("")
	if err != nil {
		return "", fmt.Errorf("bundle %s: %w", b.Name, err)
	}
	digest, err := b.files.Without(buildFile).With(configFile, text).Digest()
	if err != nil {
		return "", fmt.Errorf("bundle %s: %w", b.Name, err)
	}
	return digest, nil
}

// Write lays the bundle into folder, stamped, and says whether anything was written: a folder that holds this very
// build is left alone. What was written is kept only if prove finds the root file system good.
func (b *Bundle) Write(folder string, prove func(rootfs string) error) (build string, changed bool, err error) {
	if build, err = b.Build(); err != nil {
		return "", false, err
	}
	if there, err := Read(folder); err == nil && there.Config.Build() == build && there.Check() == nil {
		return build, false, nil
	}
	text, err := b.Config.Text(build)
	if err != nil {
		return "", false, fmt.Errorf("bundle %s: %w", b.Name, err)
	}
	growing := folder + ".growing"
	if err := errors.Join(os.RemoveAll(growing), b.files.With(buildFile, build+"\n").With(configFile, text).Write(growing)); err != nil {
		return "", false, fmt.Errorf("bundle %s: %w", b.Name, err)
	}
	if err := prove(filepath.Join(growing, root)); err != nil {
		return "", false, fmt.Errorf("bundle %s: %w", b.Name, err)
	}
	// Not atomic: a run that ends between the two leaves no bundle, and the next one makes it.
	if err := errors.Join(os.RemoveAll(folder), os.Rename(growing, folder)); err != nil {
		return "", false, fmt.Errorf("bundle %s: %w", b.Name, err)
	}
	return build, true, nil
}

// Read reads a bundle that was written.
func Read(folder string) (*Bundle, error) {
	text, err := os.ReadFile(filepath.Join(folder, configFile))
	if err != nil {
		return nil, fmt.Errorf("bundle %s: %w: make it with `make plugins`", folder, err)
	}
	b := &Bundle{Name: filepath.Base(folder), files: &tree.Tree{}}
	if b.Config, err = ReadConfig(text); err != nil {
		return nil, fmt.Errorf("bundle %s: config.json: %w", folder, err)
	}
	if err := b.files.AddAll(root, filepath.Join(folder, root)); err != nil {
		return nil, fmt.Errorf("bundle %s: %w", folder, err)
	}
	if b.Alias, err = word(folder, nameFile); err == nil {
		b.stamp, err = word(folder, buildFile)
	}
	if err != nil {
		return nil, fmt.Errorf("bundle %s: %w", folder, err)
	}
	return b, nil
}

func word(folder, file string) (string, error) {
	text, err := os.ReadFile(filepath.Join(folder, file))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil // Check finds it out
	}
	return strings.TrimSpace(string(text)), err
}

// Check reports everything that is wrong with the bundle as a whole.
func (b *Bundle) Check() error {
	problems := []error{b.Config.Check(b.Name)}
	bad := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if known := aliases(); !slices.Contains(known, b.Alias) {
		bad("%s: says %q: want one of %s", nameFile, b.Alias, strings.Join(known, ", "))
	}
	if len(b.Config.Entrypoint) > 0 && !b.files.Has(root+b.Config.Entrypoint[0]) {
		bad("%s: the program %s is not in the root file system", configFile, b.Config.Entrypoint[0])
	}
	build, err := b.Build()
	if err != nil {
		problems = append(problems, err)
	} else if stamp := b.Config.Build(); stamp != build || b.stamp != build {
		bad("%s of %s is %q, %s says %q, the content's digest is %q: make it again", contract.BuildVariable, configFile, stamp, buildFile, b.stamp, build)
	}
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("bundle %s: %w", b.Name, err)
	}
	return nil
}

func aliases() []string {
	var all []string
	for _, r := range Recipes() {
		all = append(all, r.Alias)
	}
	return all
}
