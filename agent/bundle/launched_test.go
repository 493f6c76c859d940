package bundle

import (
	"maps"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func framed() Bundle {
	return Bundle{Alias: "rolling/log:latest", Build: "sha256:bbbbbbbbbbbb", Frame: "ffffffffffff", Defaults: map[string]string{"ROLLING_A": "1", "ROLLING_B": ""}}
}

func TestStepsOfAPluginWithALauncher(t *testing.T) {
	values := map[string]string{"ROLLING_A": "1", "ROLLING_B": ""}
	have := func(enabled bool, build, frame string, values map[string]string) Installed {
		return Installed{Present: true, Enabled: enabled, Build: build, Frame: frame, Values: values}
	}
	for _, c := range []struct {
		name string
		have Installed
		want string
	}{
		{"a missing plugin has its program before it starts", Installed{},
			"lay ROLLING_A=1 ROLLING_B= (not installed), create (not installed), enable (not installed), await (not installed)"},
		{"what is as it should be is left alone", have(true, "sha256:bbbbbbbbbbbb", "ffffffffffff", values), ""},
		{"another build is laid beside the plugin, which stays", have(true, "sha256:aaaaaaaaaaaa", "ffffffffffff", values),
			"lay ROLLING_A=1 ROLLING_B= (build aaaaaaaaaaaa runs, bbbbbbbbbbbb is wanted), await (build aaaaaaaaaaaa runs, bbbbbbbbbbbb is wanted)"},
		{"so are other settings", have(true, "sha256:bbbbbbbbbbbb", "ffffffffffff", map[string]string{"ROLLING_A": "2", "ROLLING_B": ""}),
			"lay ROLLING_A=1 ROLLING_B= (settings differ), await (settings differ)"},
		{"a disabled one is enabled", have(false, "sha256:bbbbbbbbbbbb", "ffffffffffff", values),
			"lay ROLLING_A=1 ROLLING_B= (disabled), enable (disabled), await (disabled)"},
		{"another frame needs a new creation, without force", have(true, "sha256:bbbbbbbbbbbb", "eeeeeeeeeeee", values),
			"rehearse (frame eeeeeeeeeeee is installed, ffffffffffff is wanted), retire (frame eeeeeeeeeeee is installed, ffffffffffff is wanted), lay ROLLING_A=1 ROLLING_B= (frame eeeeeeeeeeee is installed, ffffffffffff is wanted), create (frame eeeeeeeeeeee is installed, ffffffffffff is wanted), enable (frame eeeeeeeeeeee is installed, ffffffffffff is wanted), await (frame eeeeeeeeeeee is installed, ffffffffffff is wanted)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, err := framed().With(nil)
			if err != nil {
				t.Fatal(err)
			}
			var words []string
			for _, s := range Steps(w, c.have) {
				words = append(words, s.String())
			}
			if got := strings.Join(words, ", "); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

// launching is the toy model of an engine with a launcher in it, whose plugin a container may use.
type launching struct {
	t    *rapid.T
	b    Bundle
	have Installed
	laid Installed
	used bool
}

func (l *launching) do(s Step) (done bool) {
	must := func(ok bool) {
		if !ok {
			l.t.Fatalf("%s: the engine refuses it: it has %+v", s, l.have)
		}
	}
	switch s.Verb {
	case Lay:
		l.laid = Installed{Build: l.b.Build, Values: map[string]string{}}
		for _, setting := range s.Settings {
			name, value, _ := strings.Cut(setting, "=")
			l.laid.Values[name] = value
		}
	case Await:
		must(l.have.Enabled)
		l.have.Build, l.have.Values = l.laid.Build, l.laid.Values
	case Create:
		must(!l.have.Present)
		l.have = Installed{Present: true, Frame: l.b.Frame}
	case Enable:
		must(l.have.Present && !l.have.Enabled)
		l.have.Enabled = true
	case Retire:
		must(l.have.Present)
		if l.used {
			return false
		}
		l.have = Installed{}
	case Rehearse:
	default:
		l.t.Fatalf("%s would delete the pipes", s)
	}
	return true
}

// TestAPluginInUseIsNeverTakenAway starts anywhere, cuts off anywhere, and wants the plugin as wanted if nobody uses it,
// and there in any case.
func TestAPluginInUseIsNeverTakenAway(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := framed()
		value := rapid.SampledFrom([]string{"", "1", "2"})
		w, err := b.With(rapid.MapOf(rapid.SampledFrom([]string{"ROLLING_A", "ROLLING_B"}), value).Draw(t, "asked"))
		if err != nil {
			t.Fatal(err)
		}
		l := &launching{t: t, b: b}
		if rapid.Bool().Draw(t, "present") {
			l.have = Installed{Present: true, Enabled: rapid.Bool().Draw(t, "enabled"), Frame: rapid.SampledFrom([]string{b.Frame, "e", ""}).Draw(t, "frame"),
				Build: rapid.SampledFrom([]string{b.Build, "a", ""}).Draw(t, "build"), Values: maps.Clone(b.Defaults)}
			l.used = l.have.Enabled && rapid.Bool().Draw(t, "used")
		}
		began := l.have
		for range rapid.IntRange(0, 4).Draw(t, "cuts") {
			steps := Steps(w, l.have)
			for _, s := range steps[:rapid.IntRange(0, len(steps)).Draw(t, "done")] {
				if !l.do(s) {
					break
				}
			}
		}
		for _, s := range Steps(w, l.have) {
			if !l.do(s) {
				break
			}
		}
		switch {
		case l.used && began.Frame != b.Frame:
			if l.have.Frame != began.Frame || !l.have.Enabled {
				t.Fatalf("it was in use and ended as %+v", l.have)
			}
		case len(Steps(w, l.have)) > 0:
			t.Fatalf("done and decided again: %v", Steps(w, l.have))
		case !l.have.Enabled || l.have.Build != w.Build:
			t.Fatalf("ended as %+v", l.have)
		}
	})
}
