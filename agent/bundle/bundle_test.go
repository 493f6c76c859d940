package bundle

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func sample() Bundle {
	return Bundle{Alias: "rolling/net:latest", Build: "sha256:bbbbbbbbbbbbbbbb", Defaults: map[string]string{"ROLLING_ASN": "64512", "ROLLING_ROUTERS": ""}}
}

func want(t testing.TB, asked string) Want {
	t.Helper()
	settings, err := Asked(asked)
	if err != nil {
		t.Fatal(err)
	}
	w, err := sample().With(settings)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestSteps(t *testing.T) {
	const old, now = "sha256:aaaaaaaaaaaaaaaa", "sha256:bbbbbbbbbbbbbbbb"
	values := func(asn, routers string) map[string]string {
		return map[string]string{"ROLLING_ASN": asn, "ROLLING_ROUTERS": routers, "ROLLING_BUILD": "x"}
	}
	for _, c := range []struct {
		name  string
		asked string
		have  Installed
		want  string
	}{
		{"a missing plugin is created and started", "", Installed{},
			"create (not installed)\nenable (not installed)"},
		{"a missing plugin gets the settings asked for before it starts", "ROLLING_ROUTERS=10.99.0.1", Installed{},
			"create (not installed)\nset ROLLING_ROUTERS=10.99.0.1 (not installed)\nenable (not installed)"},
		{"a setting asked for that is the default is not set", "ROLLING_ASN=64512", Installed{},
			"create (not installed)\nenable (not installed)"},
		{"what is as it should be is left alone", "", Installed{Present: true, Enabled: true, Build: now, Values: values("64512", "")},
			""},
		{"what is as it was asked for is left alone", "ROLLING_ASN=64513", Installed{Present: true, Enabled: true, Build: now, Values: values("64513", "")},
			""},
		{"a start that was cut off is finished", "", Installed{Present: true, Enabled: false, Build: now, Values: values("64512", "")},
			"enable (disabled)"},
		{"a start that was cut off before the settings is finished with them", "ROLLING_ASN=64513", Installed{Present: true, Enabled: false, Build: now, Values: values("64512", "")},
			"set ROLLING_ASN=64513 (settings differ)\nenable (settings differ)"},
		{"another build replaces the old one", "", Installed{Present: true, Enabled: true, Build: old, Values: values("64512", "")},
			"rehearse (build aaaaaaaaaaaa is installed, bbbbbbbbbbbb is wanted)\ndisable (build aaaaaaaaaaaa is installed, bbbbbbbbbbbb is wanted)\nremove (build aaaaaaaaaaaa is installed, bbbbbbbbbbbb is wanted)\ncreate (build aaaaaaaaaaaa is installed, bbbbbbbbbbbb is wanted)\nenable (build aaaaaaaaaaaa is installed, bbbbbbbbbbbb is wanted)"},
		{"another build gets its settings anew, whatever the old one had", "ROLLING_ASN=64513", Installed{Present: true, Enabled: false, Build: old, Values: values("64513", "10.0.0.1")},
			"rehearse (build aaaaaaaaaaaa is installed, bbbbbbbbbbbb is wanted)\nremove (build aaaaaaaaaaaa is installed, bbbbbbbbbbbb is wanted)\ncreate (build aaaaaaaaaaaa is installed, bbbbbbbbbbbb is wanted)\nset ROLLING_ASN=64513 (build aaaaaaaaaaaa is installed, bbbbbbbbbbbb is wanted)\nenable (build aaaaaaaaaaaa is installed, bbbbbbbbbbbb is wanted)"},
		{"a plugin of someone else under our alias is replaced", "", Installed{Present: true, Enabled: true, Build: "", Values: nil},
			"rehearse (build unknown is installed, bbbbbbbbbbbb is wanted)\ndisable (build unknown is installed, bbbbbbbbbbbb is wanted)\nremove (build unknown is installed, bbbbbbbbbbbb is wanted)\ncreate (build unknown is installed, bbbbbbbbbbbb is wanted)\nenable (build unknown is installed, bbbbbbbbbbbb is wanted)"},
		{"a changed setting restarts the plugin", "ROLLING_ROUTERS=10.99.0.1", Installed{Present: true, Enabled: true, Build: now, Values: values("64512", "")},
			"disable (settings differ)\nset ROLLING_ROUTERS=10.99.0.1 (settings differ)\nenable (settings differ)"},
		{"a setting no longer asked for goes back to its default", "", Installed{Present: true, Enabled: true, Build: now, Values: values("64513", "10.0.0.1")},
			"disable (settings differ)\nset ROLLING_ASN=64512 ROLLING_ROUTERS= (settings differ)\nenable (settings differ)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var lines []string
			for _, s := range Steps(want(t, c.asked), c.have) {
				lines = append(lines, s.String())
			}
			if got := strings.Join(lines, "\n"); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

// engine is the toy model: what each step does, and what the real engine refuses.
type engine struct {
	t     *rapid.T
	b     Bundle
	have  Installed
	count int
}

func (e *engine) do(s Step) {
	e.count++
	must := func(ok bool, why string) {
		if !ok {
			e.t.Fatalf("%s: the engine refuses it: %s; it has %+v", s, why, e.have)
		}
	}
	switch s.Verb {
	case Create:
		must(!e.have.Present, "already exists")
		e.have = Installed{Present: true, Build: e.b.Build, Values: maps.Clone(e.b.Defaults)}
	case Set:
		must(e.have.Present && !e.have.Enabled, "cannot set on an active plugin")
		for _, setting := range s.Settings {
			name, value, _ := strings.Cut(setting, "=")
			e.have.Values[name] = value
		}
	case Enable:
		must(e.have.Present && !e.have.Enabled, "already enabled")
		e.have.Enabled = true
	case Disable:
		must(e.have.Enabled, "already disabled")
		e.have.Enabled = false
	case Remove:
		must(e.have.Present && !e.have.Enabled, "is enabled")
		e.have = Installed{}
	}
}

// TestFromWhereverStepsWereCutOffDecidingAgainLeadsToTheSameEnd starts anywhere, cuts off anywhere, and wants one end.
func TestFromWhereverStepsWereCutOffDecidingAgainLeadsToTheSameEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.SampledFrom([]string{"", "64512", "64513", "10.0.0.1"})
		b := sample()
		w, err := b.With(rapid.MapOf(rapid.SampledFrom(slices.Collect(maps.Keys(b.Defaults))), value).Draw(t, "asked"))
		if err != nil {
			t.Fatal(err)
		}
		e := &engine{t: t, b: b}
		if rapid.Bool().Draw(t, "present") {
			e.have = Installed{
				Present: true,
				Enabled: rapid.Bool().Draw(t, "enabled"),
				Build:   rapid.SampledFrom([]string{b.Build, "sha256:a", ""}).Draw(t, "build"),
				Values:  rapid.MapOf(rapid.SampledFrom([]string{"ROLLING_ASN", "ROLLING_ROUTERS", "OLD"}), value).Draw(t, "values"),
			}
		}
		for range rapid.IntRange(0, 4).Draw(t, "cuts") {
			steps := Steps(w, e.have)
			for _, s := range steps[:rapid.IntRange(0, len(steps)).Draw(t, "done")] {
				e.do(s)
			}
		}
		for _, s := range Steps(w, e.have) {
			e.do(s)
		}
		if again := Steps(w, e.have); len(again) > 0 {
			t.Fatalf("done and decided again: %v", again)
		}
		if !e.have.Enabled || e.have.Build != w.Build {
			t.Fatalf("ended as %+v", e.have)
		}
		for name, value := range w.Values {
			if e.have.Values[name] != value {
				t.Fatalf("%s is %q, want %q", name, e.have.Values[name], value)
			}
		}
	})
}

func TestAsked(t *testing.T) {
	for _, c := range []struct{ name, text, want, problem string }{
		{"nothing", "", "", ""},
		{"several, with any space between", " A=1\n B=x,y  C= ", "A=1 B=x,y C=", ""},
		{"a value with an equals sign", "A=b=c", "A=b=c", ""},
		{"a name without a value", "A=1 B", "", `"B": want NAME=VALUE`},
		{"a value without a name", "=1", "", `"=1": want NAME=VALUE`},
		{"a name twice", "A=1 A=2", "", "A: is there twice"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Asked(c.text)
			if c.problem != "" {
				if err == nil || !strings.Contains(err.Error(), c.problem) {
					t.Errorf("got %v, want %s", err, c.problem)
				}
				return
			}
			if text := strings.Join(differences(nil, got), " "); err != nil || text != c.want {
				t.Errorf("got %q, %v, want %q", text, err, c.want)
			}
		})
	}
}

func FuzzAsked(f *testing.F) {
	for _, seed := range []string{"", "A=1 B=2", "A", "A=1 A=2", "=", "A==\t\u00a0B=é"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		asked, err := Asked(text)
		if err != nil {
			return
		}
		again, err := Asked(strings.Join(differences(nil, asked), " "))
		if err != nil || !maps.Equal(asked, again) {
			t.Errorf("%q reads as %v, which reads as %v, %v", text, asked, again, err)
		}
	})
}

func TestASettingThatThePluginDoesNotHaveIsRefusedWithWhatWasMeant(t *testing.T) {
	_, err := sample().With(map[string]string{"ROLLING_ROUTER": "x", "LOUD": "1"})
	for _, part := range []string{"rolling/net:latest has no setting ROLLING_ROUTER; did you mean ROLLING_ROUTERS?", "no setting LOUD: want one of ROLLING_ASN, ROLLING_ROUTERS"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("got %v, want %s", err, part)
		}
	}
}

func TestPausesGrowAndEnd(t *testing.T) {
	for failures, want := range map[int]time.Duration{1: 5 * time.Second, 2: 10 * time.Second, 4: 40 * time.Second, 1000000: 5 * time.Minute} {
		if got := Pause(failures); got != want {
			t.Errorf("after %d failures: %s, want %s", failures, got, want)
		}
	}
}
