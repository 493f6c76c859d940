package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/template"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v4"
)

// output says in which form a command prints its data.
type output struct {
	form   string // table, wide, json, yaml
	quiet  bool   // ids alone
	format string // a Go template over each object's JSON
}

func (o *output) flags(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&o.form, "output", "o", "table", "table, wide, json or yaml")
	cmd.Flags().BoolVarP(&o.quiet, "quiet", "q", false, "print names alone")
	cmd.Flags().StringVar(&o.format, "format", "", "a Go template for each object, over the names of -o json: '{{.name}}'")
	before := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := oneOf(cmd, "output", "quiet", "format", "content"); err != nil {
			return err
		}
		if !slices.Contains([]string{"table", "wide", "json", "yaml"}, o.form) {
			return usage(cmd, "-o %s: want table, wide, json or yaml", o.form)
		}
		if _, err := o.template(); err != nil {
			return usage(cmd, "--format: %v", err)
		}
		return before(cmd, args)
	}
}

// oneOf refuses two answers to one question.
func oneOf(cmd *cobra.Command, names ...string) error {
	var said []string
	for _, n := range names {
		if f := cmd.Flags().Lookup(n); f != nil && f.Changed {
			said = append(said, "--"+n)
		}
	}
	if len(said) > 1 {
		return usage(cmd, "%s contradict each other: want one of them", strings.Join(said, " and "))
	}
	return nil
}

func (o *output) template() (*template.Template, error) {
	return template.New("format").Option("missingkey=error").Funcs(template.FuncMap{
		"join": func(list []any, by string) string {
			var words []string
			for _, x := range list {
				words = append(words, fmt.Sprint(x))
			}
			return strings.Join(words, by)
		},
		"json":  func(x any) (string, error) { b, err := json.Marshal(x); return string(b), err },
		"lower": strings.ToLower, "upper": strings.ToUpper,
	}).Parse(o.format)
}

// column is one of a table.
type column[T any] struct {
	title string
	wide  bool // only in the form wide
	cell  func(T) string
}

// view is how objects of one kind are shown.
type view[T any] struct {
	id      func(T) string
	columns []column[T]
	text    func(T) string // of one object alone; nil: a table of one line
	exact   bool           // the text is a file's content, byte for byte
}

// showAll prints a list.
func showAll[T any](c *commands, o output, v view[T], items []item[T]) error {
	switch {
	case o.quiet || o.format != "":
		return each(c.Out, o, v, items)
	case o.form == "json" || o.form == "yaml":
		raw := []json.RawMessage{}
		for _, it := range items {
			raw = append(raw, it.raw)
		}
		text, err := json.Marshal(raw)
		if err != nil {
			return err
		}
		return structured(c.Out, o.form, text)
	}
	return table(c, o.form == "wide", v.columns, items)
}

// showOne prints one object.
func showOne[T any](c *commands, o output, v view[T], it item[T]) error {
	switch {
	case o.quiet || o.format != "":
		return each(c.Out, o, v, []item[T]{it})
	case o.form == "json" || o.form == "yaml":
		return structured(c.Out, o.form, it.raw)
	case v.text != nil && v.exact:
		_, err := io.WriteString(c.Out, v.text(it.is))
		return err
	case v.text != nil:
		_, err := io.WriteString(c.Out, printable(strings.TrimRight(v.text(it.is), "\n"))+"\n")
		return err
	}
	return table(c, o.form == "wide", v.columns, []item[T]{it})
}

func each[T any](out io.Writer, o output, v view[T], items []item[T]) error {
	form, err := o.template()
	if err != nil {
		return err
	}
	for _, it := range items {
		if o.quiet {
			if _, err := fmt.Fprintln(out, v.id(it.is)); err != nil {
				return err
			}
			continue
		}
		var object any
		if err := json.Unmarshal(it.raw, &object); err != nil {
			return err
		}
		var line bytes.Buffer
		if err := form.Execute(&line, object); err != nil {
			return fmt.Errorf("--format: %w", err)
		}
		if _, err := fmt.Fprintln(out, line.String()); err != nil {
			return err
		}
	}
	return nil
}

func structured(out io.Writer, form string, raw json.RawMessage) error {
	if form == "json" {
		var b bytes.Buffer
		if err := json.Indent(&b, raw, "", "  "); err != nil {
			return err
		}
		_, err := fmt.Fprintln(out, strings.TrimRight(b.String(), "\n"))
		return err
	}
	text, err := toYAML(raw)
	if err != nil {
		return err
	}
	_, err = out.Write(text)
	return err
}

// toYAML keeps the order of JSON's keys, which is the document's: JSON is YAML already, in another style.
func toYAML(raw []byte) ([]byte, error) {
	var root yaml.Node
	if err := yaml.Unmarshal(raw, &root); err != nil {
		return nil, err
	}
	plain(&root)
	return yaml.Marshal(&root)
}

func plain(n *yaml.Node) {
	n.Style = 0
	if n.Kind == yaml.ScalarNode && n.Tag == "!!str" && strings.Contains(n.Value, "\n") {
		n.Style = yaml.LiteralStyle // readable, but the encoder gets text wrong that begins with space
		if strings.TrimLeft(n.Value, " \t\r\n") != n.Value {
			n.Style = yaml.DoubleQuotedStyle
		}
	}
	for _, child := range n.Content {
		plain(child)
	}
}

// table prints aligned columns; colours are put on afterwards, since a terminal does not count them.
func table[T any](c *commands, wide bool, columns []column[T], items []item[T]) error {
	columns = slices.DeleteFunc(slices.Clone(columns), func(k column[T]) bool { return k.wide && !wide })
	rows := [][]string{{}}
	for _, k := range columns {
		rows[0] = append(rows[0], k.title)
	}
	for _, it := range items {
		row := make([]string, len(columns))
		for i, k := range columns {
			row[i] = strings.ReplaceAll(printable(k.cell(it.is)), "\n", " ")
			if row[i] == "" {
				row[i] = "-"
			}
		}
		rows = append(rows, row)
	}
	return grid(c, rows)
}

func grid(c *commands, rows [][]string) error {
	widths := map[int]int{}
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			text := cell
			if c.Color {
				text = colored(cell)
			}
			line.WriteString(text)
			if i < len(row)-1 {
				line.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2))
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	_, err := io.WriteString(c.Out, b.String())
	return err
}

// colored marks the words that say how something went. The word is always there too: colour alone says nothing.
func colored(word string) string {
	const reset = "\x1b[0m"
	switch word {
	case "succeeded", "ready":
		return "\x1b[32m" + word + reset
	case "running", "progressing", "paused":
		return "\x1b[33m" + word + reset
	case "failed", "rolled_back", "timed_out", "cancelled", "down":
		return "\x1b[31m" + word + reset
	}
	return word
}
