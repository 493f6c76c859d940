package bundle

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/internal/contract"
)

const good = `{"description": "d", "documentation": "", "entrypoint": ["/net"], "workdir": "/",
 "interface": {"types": ["docker.networkdriver/1.0"], "socket": "net.sock"}, "network": {"type": "host"},
 "mounts": [{"name": "state", "description": "d", "type": "bind", "source": "/var/lib/rolling/net", "destination": "/var/lib/rolling/net", "options": ["rbind", "rw"]}],
 "env": [{"name": "ROLLING_BUILD", "description": "d", "value": ""}, {"name": "ROLLING_ASN", "description": "d", "value": "64512", "settable": ["value"]}],
 "linux": {"capabilities": ["CAP_NET_ADMIN"]}}`

func write(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return file
}

func sample(t *testing.T, program string) *Bundle {
	t.Helper()
	b, err := New(contract.PluginNet, write(t, "config.json", good), write(t, "net", program))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func takes(string) error { return nil }

func lay(t *testing.T, b *Bundle, folder string) (build string, changed bool) {
	t.Helper()
	build, changed, err := b.Write(folder, takes)
	if err != nil {
		t.Fatal(err)
	}
	return build, changed
}

func TestABundleIsStampedWithItsContent(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "net")
	build, changed := lay(t, sample(t, "ELF"), folder)
	got, err := Read(folder)
	if err != nil {
		t.Fatal(err)
	}
	if err := got.Check(); err != nil {
		t.Error(err)
	}
	if !changed || got.Config.Build() != build || got.Alias != contract.PluginNet || !strings.HasPrefix(build, "sha256:") {
		t.Errorf("changed %t, build %s, read back %s of %s", changed, build, got.Config.Build(), got.Alias)
	}
	if again, _ := lay(t, sample(t, "ELF"), filepath.Join(t.TempDir(), "net")); again != build {
		t.Errorf("the same content made elsewhere is build %s, not %s", again, build)
	}
	if other, _ := lay(t, sample(t, "ELF 2"), filepath.Join(t.TempDir(), "net")); other == build {
		t.Error("another program is the same build")
	}
}

func TestABundleIsLaidAgainOnlyIfSomethingChanged(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "net")
	lay(t, sample(t, "ELF"), folder)
	old := time.Unix(1000, 0)
	if err := os.Chtimes(filepath.Join(folder, "config.json"), old, old); err != nil {
		t.Fatal(err)
	}
	if _, changed := lay(t, sample(t, "ELF"), folder); changed {
		t.Error("the same content was laid again")
	}
	if s, err := os.Stat(filepath.Join(folder, "config.json")); err != nil || !s.ModTime().Equal(old) {
		t.Error("the same content was written again")
	}
	if _, changed := lay(t, sample(t, "ELF 2"), folder); !changed {
		t.Error("another program was not laid")
	}
	for _, damage := range []string{"rootfs/net", "rootfs/etc/rolling/plugin", "rootfs/etc/rolling/build", "config.json"} {
		if err := os.Remove(filepath.Join(folder, damage)); err != nil {
			t.Fatal(err)
		}
		if _, changed := lay(t, sample(t, "ELF 2"), folder); !changed {
			t.Errorf("%s is missing and was not laid again", damage)
		}
	}
}

func TestWhatDoesNotProveGoodLeavesTheOldBundle(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "net")
	before, _ := lay(t, sample(t, "ELF"), folder)
	refuse := func(string) error { return errors.New("iptables does not run") }
	if _, _, err := sample(t, "ELF 2").Write(folder, refuse); err == nil || !strings.Contains(err.Error(), "iptables does not run") {
		t.Errorf("got %v", err)
	}
	got, err := Read(folder)
	if err != nil || got.Config.Build() != before || got.Check() != nil {
		t.Errorf("left: %v, %v", got, err)
	}
	if _, _, err := sample(t, "ELF 2").Write(folder, refuse); err == nil {
		t.Error("the second try found it good")
	}
}

func TestCheckNamesEachDamage(t *testing.T) {
	for _, c := range []struct {
		name, file, text, want string
	}{
		{"a changed file", "rootfs/net", "virus", "make it again"},
		{"a file too many", "rootfs/more", "x", "make it again"},
		{"another build's root file system", "rootfs/etc/rolling/build", "sha256:1\n", "make it again"},
		{"another plugin's name", "rootfs/etc/rolling/plugin", "rolling/other:latest\n", `says "rolling/other:latest"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			folder := filepath.Join(t.TempDir(), "net")
			lay(t, sample(t, "ELF"), folder)
			if err := os.WriteFile(filepath.Join(folder, c.file), []byte(c.text), 0o755); err != nil {
				t.Fatal(err)
			}
			b, err := Read(folder)
			if err != nil {
				t.Fatal(err)
			}
			if err := b.Check(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

func TestAConfigurationThatWouldHurtLaterIsRefused(t *testing.T) {
	for _, c := range []struct{ name, old, new, want string }{
		{"a key that the engine would ignore", `"workdir"`, `"workDirectory"`, "unknown field"},
		{"a relative program", `["/net"]`, `["net"]`, "entrypoint"},
		{"another socket", `net.sock`, `x.sock`, `want "net.sock"`},
		{"no interface", `["docker.networkdriver/1.0"]`, `[]`, "interface.types"},
		{"a mount without a name", `"name": "state"`, `"name": ""`, "want a name of its own"},
		{"a state that is not on the host", `"source": "/var/lib/rolling/net"`, `"source": "/tmp"`, "forget everything"},
		{"a state that cannot be written", `"rw"`, `"ro"`, "forget everything"},
		{"a setting that cannot be set", `"value": "64512", "settable": ["value"]`, `"value": "64512"`, `(ROLLING_ASN): want "settable"`},
		{"a setting that is not ours", `ROLLING_ASN`, `ASN`, "begins with ROLLING_"},
		{"no stamp", `ROLLING_BUILD`, `ROLLING_OTHER`, "want ROLLING_BUILD once, got 0"},
		{"a stamp that can be set", `"value": ""}`, `"value": "", "settable": ["value"]}`, "must not be settable"},
		{"a capability without its prefix", `CAP_NET_ADMIN`, `NET_ADMIN`, "CAP_"},
		{"two configurations", `["CAP_NET_ADMIN"]}}`, `["CAP_NET_ADMIN"]}} {}`, "behind the configuration's end"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := strings.Replace(good, c.old, c.new, 1)
			if text == good {
				t.Fatal("the row changes nothing")
			}
			_, err := New(contract.PluginNet, write(t, "config.json", text), write(t, "net", "ELF"))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

func FuzzReadConfig(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := ReadConfig(text)
		if err != nil {
			return
		}
		_ = c.Check("net")
		out, err := c.Text("sha256:1")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ReadConfig([]byte(out)); err != nil {
			t.Errorf("%s is written as %s, which is refused: %v", text, out, err)
		}
	})
}
