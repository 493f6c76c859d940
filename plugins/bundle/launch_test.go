package bundle

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rolling-swarm/rolling/internal/contract"
)

// launched makes a bundle with a launcher, of a configuration and two programs.
func launched(t *testing.T, config, launcher, program string) (frame, build string) {
	t.Helper()
	b, err := New(contract.PluginNet, write(t, "config.json", config), write(t, "net", program))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Launch(write(t, "launcher", launcher)); err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(t.TempDir(), "net")
	build, _ = lay(t, b, folder)
	got, err := Read(folder)
	if err != nil {
		t.Fatal(err)
	}
	if err := got.Check(); err != nil {
		t.Error(err)
	}
	if want := []string{"/launcher", "/var/lib/rolling/net/worker", "/run/docker/plugins/net.sock", "/net"}; !slices.Equal(got.Config.Entrypoint, want) {
		t.Errorf("entrypoint %q, want %q", got.Config.Entrypoint, want)
	}
	for _, e := range got.Config.Env {
		if e.Name == contract.FrameVariable {
			frame = e.Value
		}
	}
	return frame, build
}

func TestAFrameIsAllButProgramAndSettings(t *testing.T) {
	frame, build := launched(t, good, "L", "P")
	if frame == "" || strings.Contains(frame, ":") {
		t.Errorf("the frame is %q", frame)
	}
	for _, c := range []struct {
		name, old, new, launcher, program string
		same                              bool
	}{
		{"another program", "", "", "L", "P2", true},
		{"another default", `"value": "64512"`, `"value": "64513"`, "L", "P", true},
		{"another launcher", "", "", "L2", "P", false},
		{"another capability", `["CAP_NET_ADMIN"]`, `["CAP_NET_RAW"]`, "L", "P", false},
		{"another mount's option", `["rbind", "rw"]`, `["bind", "rw"]`, "L", "P", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, b := launched(t, strings.Replace(good, c.old, c.new, 1), c.launcher, c.program)
			if (f == frame) != c.same || b == build {
				t.Errorf("frame %s, was %s; build %s, was %s", f, frame, b, build)
			}
		})
	}
}
