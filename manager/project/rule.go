package project

import (
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rolling-swarm/rolling/internal/contract"
	"go.yaml.in/yaml/v4"
)

// walk collects problems while rules look at the tree, and knows what the file declares elsewhere.
type walk struct {
	problems []Problem
	declared map[string][]string // "networks" → names under the top-level key networks; also services, volumes, …
	files    map[string][]byte
	zone     func(string) (*time.Location, error)
}

func (w *walk) say(at, format string, args ...any) {
	w.problems = append(w.problems, Problem{at, fmt.Sprintf(format, args...)})
}

// A rule looks at the value at one path and says all that is wrong with it.
type rule func(w *walk, at string, n *yaml.Node)

// keys are the keys that a mapping may have; drops are those that Compose knows and Swarm would drop, each with
// what to do instead.
type (
	keys  map[string]rule
	drops map[string]string
)

// check applies a rule, and honours Compose's two merge tags: a reset value is gone, an overriding one is a value.
func check(w *walk, at string, n *yaml.Node, r rule) {
	switch n.Tag {
	case tagReset:
		return
	case tagOverride:
		plain := *n
		plain.Tag = ""
		n = &plain
	}
	r(w, at, n)
}

// object is a mapping with fixed keys. Keys that begin with x- are the user's own, as in Compose.
func object(known keys, dropped drops) rule {
	names := slices.Sorted(maps.Keys(known))
	return func(w *walk, at string, n *yaml.Node) {
		if n.Kind != yaml.MappingNode {
			w.say(at, "want a mapping, got %s", got(n))
			return
		}
		for key, value := range entries(n) {
			if r, ok := known[key]; ok {
				check(w, join(at, key), value, r)
			} else if why, ok := dropped[key]; ok {
				w.say(join(at, key), "Swarm would drop this key: %s", why)
			} else if !strings.HasPrefix(key, "x-") {
				w.say(join(at, key), "unknown key%s", meant(key, names))
			}
		}
	}
}

// meant is the "did you mean" of an error text, or nothing.
func meant(word string, known []string) string {
	if near := contract.Nearest(word, known); near != "" {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	return ""
}

// named is a mapping from names to values of one kind.
func named(name func(w *walk, at, name string), r rule) rule {
	return func(w *walk, at string, n *yaml.Node) {
		if n.Kind != yaml.MappingNode {
			w.say(at, "want a mapping, got %s", got(n))
			return
		}
		for key, value := range entries(n) {
			if name != nil {
				name(w, join(at, key), key)
			}
			check(w, join(at, key), value, r)
		}
	}
}

func listOf(r rule) rule {
	return func(w *walk, at string, n *yaml.Node) {
		if n.Kind != yaml.SequenceNode {
			w.say(at, "want a list, got %s", got(n))
			return
		}
		for i, item := range n.Content {
			check(w, at+"["+strconv.Itoa(i)+"]", item, r)
		}
	}
}

// byKind picks a rule by what the value is; a nil rule means that this kind is refused.
func byKind(want string, scalar, list, mapping rule) rule {
	return func(w *walk, at string, n *yaml.Node) {
		r := map[yaml.Kind]rule{yaml.ScalarNode: scalar, yaml.SequenceNode: list, yaml.MappingNode: mapping}[n.Kind]
		if r == nil || isNull(n) {
			w.say(at, "want %s, got %s", want, got(n))
			return
		}
		r(w, at, n)
	}
}

// orNothing lets a key stand without a value, as in "networks: {app: }".
func orNothing(r rule) rule {
	return func(w *walk, at string, n *yaml.Node) {
		if !isNull(n) {
			r(w, at, n)
		}
	}
}

// value checks a scalar by a function of its text that gives what is wanted instead, or "".
func value(tags []string, want string, wrong func(string) string) rule {
	return func(w *walk, at string, n *yaml.Node) {
		if n.Kind != yaml.ScalarNode || !slices.Contains(tags, n.ShortTag()) {
			w.say(at, "want %s, got %s", want, got(n))
			return
		}
		if wrong == nil {
			return
		}
		if text := wrong(n.Value); text != "" {
			w.say(at, "%s", text)
		}
	}
}

var (
	strTag    = []string{"!!str"}
	scalarTag = []string{"!!str", "!!int", "!!float", "!!bool"}
)

func word() rule    { return value(strTag, "text", nil) }
func scalar() rule  { return value(scalarTag, "text or a number", nil) }
func boolean() rule { return value([]string{"!!bool"}, "true or false", nil) }

// words is one text or a list of them.
func words() rule { return byKind("text or a list", scalar(), listOf(scalar()), nil) }

func matching(want string, pattern *regexp.Regexp) rule {
	return value(scalarTag, want, func(s string) string {
		if pattern.MatchString(s) {
			return ""
		}
		return fmt.Sprintf("%q: want %s", s, want)
	})
}

func whole(least, most int64) rule {
	return value([]string{"!!int"}, "a whole number", func(s string) string {
		n, err := strconv.ParseInt(strings.ReplaceAll(s, "_", ""), 0, 64)
		switch {
		case err != nil:
			return s + ": want a whole number in decimal"
		case n < least && most >= math.MaxInt32:
			return fmt.Sprintf("%d: want %d or more", n, least)
		case n < least || n > most:
			return fmt.Sprintf("%d: want %d to %d", n, least, most)
		}
		return ""
	})
}

func number(least, most float64) rule {
	return value([]string{"!!int", "!!float", "!!str"}, "a number", func(s string) string {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil || math.IsNaN(f) || f < least || f > most {
			return fmt.Sprintf("%s: want a number from %g to %g", s, least, most)
		}
		return ""
	})
}

func span(least, most time.Duration) rule {
	return value(strTag, `a duration such as "10s"`, func(s string) string {
		d, err := time.ParseDuration(s)
		switch {
		case err != nil:
			return fmt.Sprintf("%q: want a duration such as \"10s\" or \"1m30s\"", s)
		case d < least || d > most:
			return fmt.Sprintf("%s: want %s to %s", s, least, most)
		}
		return ""
	})
}

var sizePattern = regexp.MustCompile(`^[0-9]{1,15}(\.[0-9]{1,6})?\s?([kKmMgGtT]([iI]?[bB])?|[bB])?$`)

func size() rule { return matching(`a size such as "512M"`, sizePattern) }

// oneOf is a choice; what names the choice in "is not a …".
func oneOf(what string, choices ...string) rule {
	return value(strTag, what+" ("+strings.Join(choices, ", ")+")", func(s string) string {
		if slices.Contains(choices, s) {
			return ""
		}
		return fmt.Sprintf("%q is not %s (%s)%s", s, article(what), strings.Join(choices, ", "), meant(s, choices))
	})
}

func article(noun string) string {
	if strings.ContainsAny(noun[:1], "aeiou") {
		return "an " + noun
	}
	return "a " + noun
}

// reference is the name of something declared under a top-level key.
func reference(kind string) rule {
	return func(w *walk, at string, n *yaml.Node) {
		if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" {
			w.say(at, "want the name of one of the file's %s, got %s", kind, got(n))
			return
		}
		w.refer(at, kind, n.Value)
	}
}

func (w *walk) refer(at, kind, name string) {
	if !slices.Contains(w.declared[kind], name) {
		w.say(at, "%q is not declared under %s%s", name, kind, meant(name, w.declared[kind]))
	}
}

// pairs is a mapping of scalars, or a list of KEY=VALUE. Each pair goes to each, which may be nil.
func pairs(wantValue bool, each func(w *walk, at, key, value string)) rule {
	pair := func(w *walk, at, key, value string, has bool) {
		if !has && wantValue {
			w.say(at, "%s has no value: it would be that of the machine where the file is read; write %s=…, or leave it out", key, key)
		} else if each != nil {
			each(w, at, key, value)
		}
	}
	return byKind("a mapping or a list of KEY=VALUE", nil,
		listOf(func(w *walk, at string, n *yaml.Node) {
			if n.Kind != yaml.ScalarNode || isNull(n) {
				w.say(at, "want KEY=VALUE, got %s", got(n))
				return
			}
			key, value, has := strings.Cut(n.Value, "=")
			if key == "" || strings.TrimSpace(key) != key {
				w.say(at, "%q: want KEY=VALUE", n.Value)
				return
			}
			pair(w, at, key, value, has)
		}),
		func(w *walk, at string, n *yaml.Node) {
			for key, v := range entries(n) {
				if v.Tag == tagReset {
					continue
				}
				if v.Kind != yaml.ScalarNode {
					w.say(join(at, key), "want text or a number, got %s", got(v))
					continue
				}
				pair(w, join(at, key), key, v.Value, !isNull(v))
			}
		})
}
