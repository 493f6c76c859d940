package ui

import (
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

func load(t *testing.T) *Kit {
	t.Helper()
	k, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestHtmxIsTheOneThatWasLookedAt: what runs in every page is changed on purpose or not at all.
func TestHtmxIsTheOneThatWasLookedAt(t *testing.T) {
	const want = "a0abb04f2f45a1f89d1d4844023245537e5e6014c87b144553e0607b4cc32130"
	body, err := files.ReadFile("assets/vendor/htmx-4.0.1.min.js")
	if err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(body); hex.EncodeToString(sum[:]) != want {
		t.Errorf("htmx is %x: if it was changed on purpose, look at what changed and note its sum here", sum)
	}
	if _, err := files.ReadFile("assets/vendor/htmx-LICENSE.txt"); err != nil {
		t.Error(err)
	}
}

func TestAssetsHaveAddressesOfTheirContent(t *testing.T) {
	k := load(t)
	for name, kind := range map[string]string{"style.css": "text/css", "live.js": "text/javascript", "htmx-4.0.1.min.js": "text/javascript", "icon.svg": "image/svg+xml", "htmx-LICENSE.txt": "text/plain"} {
		url := k.URL(name)
		a, ok := k.Asset(url)
		if !ok || !strings.HasPrefix(a.Type, kind) || len(a.Body) == 0 || !regexp.MustCompile(`^/assets/.+\.[0-9a-f]{12}\.[a-z]+$`).MatchString(url) {
			t.Errorf("%s: %q %v", name, url, ok)
		}
		if len(a.Gzip) >= len(a.Body) {
			t.Errorf("%s grows from %d to %d bytes", name, len(a.Body), len(a.Gzip))
		}
	}
	if _, ok := k.Asset("/assets/nope.css"); ok || k.URL("nope") != "" {
		t.Error("there is something that is not there")
	}
}

// TestTemplatesNeedNothingThatThePolicyForbids: the pages' policy refuses styles and scripts in the page and anything from elsewhere.
func TestTemplatesNeedNothingThatThePolicyForbids(t *testing.T) {
	bad := regexp.MustCompile(`(?i)\sstyle=|<style|<script(?:>| [^>]*>[^<])|\son[a-z]+=|javascript:|hx-on|hx-vals|\bjs:|https?://|template\.HTML`)
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(name, ".html") {
			return err
		}
		text, err := files.ReadFile(name)
		for _, found := range bad.FindAllString(string(text), -1) {
			t.Errorf("%s: %q", name, found)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	css := string(mustAsset(t, "style.css"))
	if m := regexp.MustCompile(`url\(|@import`).FindString(css); m != "" {
		t.Errorf("the stylesheet asks for more: %s", m)
	}
}

func mustAsset(t *testing.T, name string) []byte {
	t.Helper()
	k := load(t)
	a, ok := k.Asset(k.URL(name))
	if !ok {
		t.Fatalf("there is no %s", name)
	}
	return a.Body
}

// tokens reads the colours: those of light and of dark, and those for browsers that know no light-dark().
func tokens(t *testing.T) (light, dark, old map[string]string) {
	t.Helper()
	light, dark, old = map[string]string{}, map[string]string{}, map[string]string{}
	text, err := files.ReadFile("assets/tokens.css")
	if err != nil {
		t.Fatal(err)
	}
	now, before, _ := strings.Cut(string(text), "@supports not")
	for _, m := range regexp.MustCompile(`--([a-z-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\);`).FindAllStringSubmatch(now, -1) {
		light[m[1]], dark[m[1]] = m[2], m[3]
	}
	for _, m := range regexp.MustCompile(`--([a-z-]+): (#[0-9a-f]{6});`).FindAllStringSubmatch(before, -1) {
		old[m[1]] = m[2]
	}
	if len(light) < 20 {
		t.Fatalf("only %d colours found", len(light))
	}
	return light, dark, old
}

func luminance(t *testing.T, hex string) float64 {
	t.Helper()
	sum := 0.0
	for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
		n, err := strconv.ParseUint(hex[1+2*i:3+2*i], 16, 8)
		if err != nil {
			t.Fatal(err)
		}
		c := float64(n) / 255
		if c <= 0.04045 {
			c /= 12.92
		} else {
			c = math.Pow((c+0.055)/1.055, 2.4)
		}
		sum += weight * c
	}
	return sum
}

// TestContrast holds WCAG 2.2 AA: 4.5 for text, 3 for what carries meaning or shows where a control is.
func TestContrast(t *testing.T) {
	light, dark, old := tokens(t)
	type pair struct {
		over, under string
		least       float64
	}
	var pairs []pair
	for _, under := range []string{"bg", "surface", "sunken", "raised"} {
		for _, over := range []string{"text", "muted", "accent", "accent-strong", "ok", "run", "warn", "bad", "idle"} {
			pairs = append(pairs, pair{over, under, 4.5})
		}
		pairs = append(pairs, pair{"edge", under, 3})
	}
	for _, tone := range []string{"ok", "run", "warn", "bad", "idle"} {
		pairs = append(pairs, pair{tone, tone + "-bg", 4.5}, pair{"text", tone + "-bg", 4.5})
	}
	pairs = append(pairs, pair{"on-accent", "accent", 4.5}, pair{"on-accent", "accent-strong", 4.5}, pair{"surface", "bad", 4.5},
		pair{"log-text", "log-bg", 4.5}, pair{"cpu", "surface", 3}, pair{"memory", "surface", 3})
	for name, set := range map[string]map[string]string{"light": light, "dark": dark} {
		for _, p := range pairs {
			a, b := luminance(t, set[p.over]), luminance(t, set[p.under])
			if ratio := (max(a, b) + 0.05) / (min(a, b) + 0.05); ratio < p.least {
				t.Errorf("%s: %s on %s: %.2f, want %.1f", name, p.over, p.under, ratio, p.least)
			}
		}
	}
	for name, colour := range light {
		if old[name] != colour {
			t.Errorf("old browsers get %s for --%s, others %s", old[name], name, colour)
		}
	}
}

func TestIconsAreThere(t *testing.T) {
	used := regexp.MustCompile(`icon "([a-z]+)"`)
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(name, ".html") {
			return err
		}
		text, err := files.ReadFile(name)
		for _, m := range used.FindAllSubmatch(text, -1) {
			if Icon(string(m[1])) == "" {
				t.Errorf("%s: there is no icon %s", name, m[1])
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
