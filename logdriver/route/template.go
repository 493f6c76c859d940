package route

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"text/template"
	"text/template/parse"
)

const defaultKey = "{{.Container}}"

// fields are what the templates of topic and key may name.
type fields struct {
	Project, Environment, Service, Slot, Release, Node, Cluster string
	Container                                                   string // the ID's first 12 characters
	Name                                                        string // the container's
	Labels                                                      map[string]string
}

// tagFields are what Docker's own option `tag` may name.
type tagFields struct {
	ID, FullID, Name, ImageID, ImageFullID, ImageName, DaemonName string
}

func parseTemplate(text string) (*template.Template, error) {
	if text == "" {
		return nil, errors.New("is empty")
	}
	return template.New("").Option("missingkey=zero").Parse(text)
}

// checkTemplate names every field that data lacks, with the nearest that it has.
func checkTemplate(text string, data any) error {
	t, err := parseTemplate(text)
	if err != nil {
		return fmt.Errorf("%q: %s", text, strings.TrimPrefix(err.Error(), "template: "))
	}
	var known []string
	of := reflect.TypeOf(data)
	for i := range of.NumField() {
		known = append(known, of.Field(i).Name)
	}
	var problems []string
	walk(t.Root, func(field string) {
		if _, ok := of.FieldByName(field); !ok {
			problems = append(problems, fmt.Sprintf("{{.%s}} is unknown%s", field, didYouMean(field, known)))
		}
	})
	if len(problems) > 0 {
		return fmt.Errorf("%q: %s (known: %s)", text, strings.Join(problems, "; "), strings.Join(known, ", "))
	}
	if err := t.Execute(new(strings.Builder), data); err != nil {
		return fmt.Errorf("%q: %w", text, err)
	}
	return nil
}

// walk visits the first name of every field that the template reads.
func walk(n parse.Node, visit func(field string)) {
	switch n := n.(type) {
	case *parse.ListNode:
		if n == nil {
			return
		}
		for _, inner := range n.Nodes {
			walk(inner, visit)
		}
	case *parse.ActionNode:
		walk(n.Pipe, visit)
	case *parse.PipeNode:
		if n == nil {
			return
		}
		for _, c := range n.Cmds {
			for _, arg := range c.Args {
				walk(arg, visit)
			}
		}
	case *parse.FieldNode:
		visit(n.Ident[0])
	case *parse.IfNode:
		walk(n.Pipe, visit)
		walk(n.List, visit)
		walk(n.ElseList, visit)
	}
}

func fill(text string, data any) (string, error) {
	t, err := parseTemplate(text)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	err = t.Execute(&b, data)
	return b.String(), err
}

// longestTopic is Kafka's bound.
const longestTopic = 249

// CleanTopic makes a topic's name of any text: Kafka takes letters, digits, dot, underscore and hyphen.
func CleanTopic(text string) string {
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '_', r == '-':
			return r
		}
		return '_'
	}, text)
	if len(name) > longestTopic {
		name = name[:longestTopic]
	}
	if name == "" || name == "." || name == ".." {
		return "_"
	}
	return name
}
