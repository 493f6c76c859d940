package bundle

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/internal/program"
	"github.com/rolling-swarm/rolling/plugins/bundle/debian"
)

// A Recipe says what a plugin is made of.
type Recipe struct {
	Alias    string
	Package  string // the Go package of its program
	Config   string // its committed config.json
	Iptables bool   // both kinds of iptables come into its root file system
	Launched bool   // plugins/launcher runs the program, since the engine's ways to another build cost this plugin its pipes
}

// Recipes are the plugins of this checkout, by paths below its root.
func Recipes() []Recipe {
	return []Recipe{
		{Alias: contract.PluginIPAM, Package: "./ipam-driver", Config: "plugins/ipam/config.json"},
		{Alias: contract.PluginNet, Package: "./network-driver", Config: "plugins/net/config.json", Iptables: true},
		{Alias: contract.PluginLog, Package: "./logdriver", Config: "plugins/log/config.json", Launched: true},
		{Alias: contract.PluginMetrics, Package: "./exporter", Config: "plugins/metrics/config.json"},
	}
}

// A Maker makes bundles in the folder Out. What it downloads stays in Cache.
type Maker struct {
	Out, Cache string
	Log        func(format string, args ...any)
}

// Make builds the plugin's program and lays its bundle into Out/NAME, if that does not hold the same build already.
func (m Maker) Make(ctx context.Context, r Recipe) error {
	built := filepath.Join(m.Out, ".work", filepath.Base(r.Package))
	if err := program.Build(ctx, r.Package, built); err != nil {
		return fmt.Errorf("bundle %s: %w", r.Alias, err)
	}
	b, err := New(r.Alias, r.Config, built)
	if err != nil {
		return err
	}
	if r.Launched {
		launcher := filepath.Join(m.Out, ".work", "launcher")
		if err := program.Build(ctx, "./plugins/launcher", launcher); err != nil {
			return fmt.Errorf("bundle %s: %w", r.Alias, err)
		}
		if err := b.Launch(launcher); err != nil {
			return err
		}
	}
	packages, prove := "", func(string) error { return nil }
	if r.Iptables {
		unpacked, err := debian.Unpack(ctx, "iptables", m.Cache)
		if err != nil {
			return fmt.Errorf("bundle %s: %w", b.Name, err)
		}
		if err := b.addIptables(unpacked); err != nil {
			return fmt.Errorf("bundle %s: %w", b.Name, err)
		}
		packages = ", " + strings.Join(unpacked.Packages, " ")
		prove = func(rootfs string) error { return tryIptables(ctx, rootfs) }
	}
	folder := filepath.Join(m.Out, b.Name)
	build, changed, err := b.Write(folder, prove)
	if err != nil {
		return err
	}
	word := "unchanged"
	if changed {
		word = "made"
	}
	m.Log("%s %s %s%s", folder, word, build, packages)
	return nil
}

// iptablesNames are how callers name the two programs; which kind of rules a node's engine uses is the node's affair.
func iptablesNames() map[string]string {
	names := map[string]string{}
	for _, kind := range []string{"nft", "legacy"} {
		for _, family := range []string{"iptables", "ip6tables"} {
			for _, verb := range []string{"", "-save", "-restore"} {
				names[family+"-"+kind+verb] = "xtables-" + kind + "-multi"
			}
		}
	}
	return names
}

// addIptables takes all of iptables' extensions, a megabyte: which ones are needed depends on the rules that others made,
// since a rule that cannot be read hides its whole table.
func (b *Bundle) addIptables(u debian.Unpacked) error {
	programs, err := u.Glob("usr/sbin/xtables-*-multi")
	if err != nil {
		return err
	}
	extensions, err := u.Glob("usr/lib/*/xtables/*.so")
	if err != nil {
		return err
	}
	needed, err := u.Needed(append(programs, extensions...))
	if err != nil {
		return err
	}
	for _, p := range append(programs, extensions...) {
		needed[p] = filepath.Join(u.Folder, p)
	}
	for place, file := range needed {
		if err := b.files.AddFile(root+"/"+place, file, 0o755); err != nil {
			return err
		}
	}
	for name, target := range iptablesNames() {
		b.files.AddLink(root+"/usr/sbin/"+name, target)
	}
	b.files.AddText(PackagesFile, strings.Join(u.Packages, "\n")+"\n", 0o644)
	return nil
}

// tryIptables runs the programs with nothing but the root file system around them. Who is not root gets a user
// namespace for it.
func tryIptables(ctx context.Context, rootfs string) error {
	absolute, err := filepath.Abs(rootfs)
	if err != nil {
		return err
	}
	for name := range iptablesNames() {
		cmd := exec.CommandContext(ctx, "/usr/sbin/"+name, "--version")
		cmd.Dir, cmd.Env = "/", []string{}
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: absolute}
		confine(cmd.SysProcAttr)
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "tables") {
			return fmt.Errorf("%s does not run in %s: %w: %s", name, rootfs, err, strings.TrimSpace(string(out)))
		}
	}
	return nil
}

// confine makes chroot possible for a user who is not root.
func confine(a *syscall.SysProcAttr) {
	if syscall.Geteuid() == 0 {
		return
	}
	a.Cloneflags = syscall.CLONE_NEWUSER
	a.UidMappings = []syscall.SysProcIDMap{{HostID: syscall.Geteuid(), Size: 1}}
	a.GidMappings = []syscall.SysProcIDMap{{HostID: syscall.Getegid(), Size: 1}}
}
