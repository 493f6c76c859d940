package project

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Limits against files made to exhaust the manager: aliases can make a short file stand for billions of nodes.
const (
	maxBytes = 1 << 20
	maxNodes = 50_000
	maxDepth = 64
)

const (
	tagReset    = "!reset"    // Compose: this key vanishes when the file is merged
	tagOverride = "!override" // Compose: this value replaces, it is not merged
)

// tree reads a YAML document and gives its root mapping with every alias and merge key written out, so that
// what follows sees one plain value at each path.
func tree(file []byte) (*yaml.Node, []Problem) {
	if len(file) > maxBytes {
		return nil, []Problem{{"", fmt.Sprintf("%d bytes: want %d or fewer", len(file), maxBytes)}}
	}
	var document, second yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(file))
	if err := decoder.Decode(&document); errors.Is(err, io.EOF) || err == nil && len(document.Content) == 0 {
		return nil, []Problem{{"", "the file is empty"}}
	} else if err != nil {
		return nil, []Problem{{"", "not YAML: " + strings.TrimPrefix(err.Error(), "yaml: ")}}
	}
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		return nil, []Problem{{"", "more than one YAML document: a project is one file with one document"}}
	}
	c := copier{open: map[*yaml.Node]bool{}}
	root := c.copy("", document.Content[0], 0)
	if root == nil || c.stop {
		return nil, c.problems
	}
	if root.Kind != yaml.MappingNode {
		return nil, append(c.problems, Problem{"", "want a mapping at the top, got " + got(root)})
	}
	return root, c.problems
}

// copier copies a tree and writes aliases and merge keys out.
type copier struct {
	problems []Problem
	open     map[*yaml.Node]bool // the anchors being copied right now: meeting one again is a cycle
	nodes    int
	stop     bool // the tree is too large or a cycle: what was copied is not the whole
}

func (c *copier) fail(at, text string) *yaml.Node {
	if !c.stop {
		c.problems = append(c.problems, Problem{at, text})
	}
	c.stop = true
	return nil
}

func (c *copier) copy(at string, n *yaml.Node, depth int) *yaml.Node {
	if c.nodes++; c.stop || c.nodes > maxNodes || depth > maxDepth {
		return c.fail(at, fmt.Sprintf("the file stands for more than %d values or %d levels", maxNodes, maxDepth))
	}
	switch n.Kind {
	case yaml.AliasNode:
		if n.Alias == nil || c.open[n.Alias] {
			return c.fail(at, "the alias *"+n.Value+" contains itself")
		}
		c.open[n.Alias] = true
		defer delete(c.open, n.Alias)
		return c.copy(at, n.Alias, depth+1)
	case yaml.MappingNode:
		return c.mapping(at, n, depth)
	case yaml.SequenceNode:
		out := &yaml.Node{Kind: n.Kind, Tag: n.Tag, Style: n.Style, Line: n.Line}
		for i, item := range n.Content {
			if child := c.copy(at+"["+strconv.Itoa(i)+"]", item, depth+1); child != nil {
				out.Content = append(out.Content, child)
			}
		}
		return out
	default:
		return c.scalar(at, n)
	}
}

func (c *copier) scalar(at string, n *yaml.Node) *yaml.Node {
	tag := n.Tag
	switch n.ShortTag() {
	case "!!str", "!!int", "!!float", "!!bool", "!!null", tagReset, tagOverride:
	case "!!timestamp":
		tag = "!!str" // Compose has no dates: 2026-10-01 is text
	default:
		c.problems = append(c.problems, Problem{at, "the tag " + n.ShortTag() + " is not read"})
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: c.plain(at, n), Style: n.Style, Line: n.Line}
}

func (c *copier) mapping(at string, n *yaml.Node, depth int) *yaml.Node {
	out := &yaml.Node{Kind: yaml.MappingNode, Tag: n.Tag, Style: n.Style, Line: n.Line}
	var merged []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.ShortTag() == "!!merge" {
			merged = append(merged, c.copy(at, value, depth+1))
			continue
		}
		if key.Kind != yaml.ScalarNode || key.ShortTag() == "!!null" {
			c.problems = append(c.problems, Problem{at, "want a name as key, got " + got(key)})
			continue
		}
		path := join(at, key.Value)
		if child(out, key.Value) != nil {
			c.problems = append(c.problems, Problem{path, "this key stands twice (again on line " + strconv.Itoa(key.Line) + ")"})
			continue
		}
		if v := c.copy(path, value, depth+1); v != nil {
			out.Content = append(out.Content, text(key.Value), v)
		}
	}
	for _, m := range merged {
		c.merge(at, out, m)
	}
	return out
}

// merge adds the keys of m (a mapping or a list of them) that out has not got: YAML's rule for "<<".
func (c *copier) merge(at string, out, m *yaml.Node) {
	if m == nil {
		return
	}
	if m.Kind == yaml.SequenceNode {
		for _, item := range m.Content {
			c.merge(at, out, item)
		}
		return
	}
	if m.Kind != yaml.MappingNode {
		c.problems = append(c.problems, Problem{at, "<<: want a mapping, got " + got(m)})
		return
	}
	for i := 0; i+1 < len(m.Content); i += 2 {
		if child(out, m.Content[i].Value) == nil {
			out.Content = append(out.Content, m.Content[i], m.Content[i+1])
		}
	}
}

// plain undoes Compose's escape of a dollar sign. A variable is refused: its value would be that of the machine
// where the file happens to be read, and a release must mean the same everywhere.
func (c *copier) plain(at string, n *yaml.Node) string {
	if !strings.Contains(n.Value, "$") {
		return n.Value
	}
	if strings.Contains(strings.ReplaceAll(n.Value, "$$", ""), "$") {
		c.problems = append(c.problems, Problem{at, fmt.Sprintf("%q: variables are not read: write the value, or $$ for a dollar sign", n.Value)})
		return n.Value
	}
	return strings.ReplaceAll(n.Value, "$$", "$")
}

// text makes a string node that reads back as the same string, whatever it looks like ("1", "yes", "null").
func text(s string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s, Style: yaml.DoubleQuotedStyle}
}

// child gives the value under key in a mapping, or nil.
func child(n *yaml.Node, key string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// entries walks a mapping in the file's order. A nil node or one of another kind has none.
func entries(n *yaml.Node) func(yield func(string, *yaml.Node) bool) {
	return func(yield func(string, *yaml.Node) bool) {
		if n == nil || n.Kind != yaml.MappingNode {
			return
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			if !yield(n.Content[i].Value, n.Content[i+1]) {
				return
			}
		}
	}
}

// without gives the mapping n less some keys.
func without(n *yaml.Node, keys ...string) *yaml.Node {
	out := &yaml.Node{Kind: yaml.MappingNode, Tag: n.Tag}
	for key, value := range entries(n) {
		drop := false
		for _, k := range keys {
			drop = drop || k == key
		}
		if !drop {
			out.Content = append(out.Content, text(key), value)
		}
	}
	return out
}

func isNull(n *yaml.Node) bool {
	return n == nil || n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null"
}

// plainValue turns a tree into what Compose's own code works on. A value with the reset tag has no place in it.
func plainValue(n *yaml.Node) any {
	switch n.Kind {
	case yaml.MappingNode:
		out := map[string]any{}
		for key, v := range entries(n) {
			if v.Tag != tagReset {
				out[key] = plainValue(v)
			}
		}
		return out
	case yaml.SequenceNode:
		out := []any{}
		for _, item := range n.Content {
			out = append(out, plainValue(item))
		}
		return out
	}
	plain := *n
	if plain.Tag == tagOverride {
		plain.Tag = ""
	}
	var v any
	if err := plain.Decode(&v); err != nil {
		return n.Value // a number too large for any type, say: Compose's schema then refuses the text
	}
	return v
}

// got says what a node is, for "want …, got …".
func got(n *yaml.Node) string {
	switch {
	case isNull(n):
		return "nothing"
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.ShortTag() == "!!str":
		return strconv.Quote(n.Value)
	}
	return n.Value
}

func join(at, key string) string {
	if at == "" {
		return key
	}
	return at + "." + key
}
