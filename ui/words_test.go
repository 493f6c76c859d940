package ui

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func words(t *testing.T) map[Language]map[string]string {
	t.Helper()
	all := map[Language]map[string]string{}
	for _, l := range Languages() {
		text, err := files.ReadFile("words/" + string(l) + ".json")
		if err != nil {
			t.Fatal(err)
		}
		w, err := parseWords(text)
		if err != nil {
			t.Fatal(err)
		}
		all[l] = w.texts
		d := json.NewDecoder(bytes.NewReader(text))
		seen := map[string]bool{}
		for i := 0; ; i++ {
			token, err := d.Token()
			if err != nil {
				break
			}
			key, isText := token.(string)
			if !isText || i%2 == 0 {
				continue
			}
			if seen[key] {
				t.Errorf("%s: %s stands twice", l, key)
			}
			seen[key] = true
		}
		if len(seen) != len(w.texts) {
			t.Errorf("%s: %d keys read, %d kept", l, len(seen), len(w.texts))
		}
	}
	return all
}

var placeholder = regexp.MustCompile(`\{[a-z]+\}`)

func placeholders(text string) string {
	found := placeholder.FindAllString(text, -1)
	slices.Sort(found)
	return strings.Join(slices.Compact(found), " ")
}

func TestBothLanguagesSayTheSame(t *testing.T) {
	all := words(t)
	for _, a := range Languages() {
		for _, b := range Languages() {
			for key, text := range all[a] {
				other, ok := all[b][key]
				if !ok {
					t.Errorf("%s has %s, %s has not", a, key, b)
					continue
				}
				if x, y := placeholders(text), placeholders(other); x != y {
					t.Errorf("%s: %s has %q, %s has %q", key, a, x, b, y)
				}
				if strings.TrimSpace(other) == "" || strings.ContainsAny(other, "<>&") {
					t.Errorf("%s: %s says %q: want a text, and no HTML", key, b, other)
				}
			}
		}
	}
	han := regexp.MustCompile(`\p{Han}`)
	for key, text := range all[Chinese] {
		if same := all[English][key] == text; !han.MatchString(text) && !same {
			t.Errorf("%s: the Chinese text %q has no Chinese word", key, text)
		}
	}
	for key, text := range all[English] {
		if han.MatchString(text) {
			t.Errorf("%s: the English text %q has a Chinese word", key, text)
		}
	}
}

// TestEveryWordIsUsedAndThere looks for keys in the templates and in the door's source. A family is a key's first word
// that is completed by a value: every key below it counts as used.
func TestEveryWordIsUsedAndThere(t *testing.T) {
	used, families := map[string]string{}, map[string]bool{}
	scan := func(where string, text []byte) {
		for _, m := range regexp.MustCompile(`(?:\bt|\bplural|\bv\.t\(|\bSay\(|\bHas\(|planPage\(view,|key := ) ?"([a-z][a-z0-9_.-]*)"`).FindAllSubmatch(text, -1) {
			if key, whole := string(m[1]), !bytes.HasSuffix(m[1], []byte(".")); whole {
				used[key] = where
			} else {
				families[strings.TrimSuffix(key, ".")] = true
			}
		}
		for _, m := range regexp.MustCompile(`"((?:outcome|task)\.[a-z_]+)"`).FindAllSubmatch(text, -1) {
			used[string(m[1])] = where
		}
		for _, m := range regexp.MustCompile(`\bword "([a-z]+)"`).FindAllSubmatch(text, -1) {
			families[string(m[1])] = true
		}
		for _, m := range regexp.MustCompile(`"([a-z]+)\." ?\+`).FindAllSubmatch(text, -1) {
			families[string(m[1])] = true
		}
	}
	for _, folder := range []string{"pages", "parts"} {
		err := fs.WalkDir(files, folder, func(name string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				text, err := files.ReadFile(name)
				scan(name, text)
				return err
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	sources, err := filepath.Glob("../manager/pages/*.go")
	if err != nil || len(sources) < 5 {
		t.Fatalf("%v %v", sources, err)
	}
	for _, name := range sources {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		scan(name, text)
	}
	if len(used) < 100 || len(families) < 6 {
		t.Fatalf("only %d keys and %d families found: the test looks in the wrong way", len(used), len(families))
	}
	all := words(t)[English]
	for key, where := range used {
		if all[key] == "" && !families[key] {
			t.Errorf("%s says %s, and there is no such word", where, key)
		}
	}
	for key := range all {
		family, _, _ := strings.Cut(key, ".")
		if used[key] == "" && !families[family] {
			t.Errorf("nobody says %s", key)
		}
	}
}

func TestSay(t *testing.T) {
	w := Words{map[string]string{"one": "{n} task|{n} tasks", "zh": "{n} 个", "two": "{a} and {b}", "plain": "x"}}
	for _, c := range []struct {
		name, key, want string
		pairs           []any
	}{
		{"one has its own form", "one", "1 task", []any{"n", 1}},
		{"none is many", "one", "0 tasks", []any{"n", 0}},
		{"a language without forms has one", "zh", "1 个", []any{"n", uint64(1)}},
		{"a value is not read as a placeholder", "two", "{b} and x", []any{"a", "{b}", "b", "x"}},
		{"a missing key is said as it is", "nope", "nope", nil},
		{"no pairs", "plain", "x", nil},
		{"an odd pair is left out", "two", "{a} and {b}", []any{"a"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := w.Say(c.key, c.pairs...); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func TestChoose(t *testing.T) {
	for header, want := range map[string]Language{
		"": English, "zh-CN,zh;q=0.9,en;q=0.8": Chinese, "en-GB,en;q=0.9,zh;q=0.5": English, "de,fr": English, "fr, zh-TW;q=0.3": Chinese,
		"en;q=0.2, zh;q=0.7": Chinese, "zh;q=x, en": English, "ZH-hans": Chinese, "zh;q=0": English, ",,;": English, "zh;q=1e400": English,
	} {
		if got := Choose(header); got != want {
			t.Errorf("%q: %s, want %s", header, got, want)
		}
	}
}

func FuzzChoose(f *testing.F) {
	f.Add("zh-CN,zh;q=0.9")
	f.Fuzz(func(t *testing.T, header string) {
		if l, known := Known(string(Choose(header))); !known {
			t.Error(fmt.Sprint(l))
		}
	})
}
