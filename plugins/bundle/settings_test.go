package bundle

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/rolling-swarm/rolling/internal/contract"
)

const checkout = "../.."

// settings reads which variables a program's config.go knows, with their defaults.
func settings(t *testing.T, program string) map[string]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(checkout, program, "config.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		field, ok := n.(*ast.Field)
		if !ok || field.Tag == nil {
			return true
		}
		text, err := strconv.Unquote(field.Tag.Value)
		if err != nil {
			t.Fatal(err)
		}
		name, _, _ := strings.Cut(reflect.StructTag(text).Get("env"), ",")
		if name != "" {
			found[name] = reflect.StructTag(text).Get("envDefault")
		}
		return true
	})
	if len(found) == 0 {
		t.Fatalf("%s/config.go names no settings: the test looks in the wrong place", program)
	}
	return found
}

// inside says whether a setting is a place inside the plugin, or the plugin's own name: the bundle decides it, not the user.
func inside(alias, value string) bool {
	return strings.HasPrefix(value, "/") || strings.HasPrefix(value, "unix:///") || value == alias
}

// TestEachSettingOfAPluginIsInItsConfigurationWithTheSameDefault: a user sees only config.json, the program reads only
// its own config.go.
func TestEachSettingOfAPluginIsInItsConfigurationWithTheSameDefault(t *testing.T) {
	for _, r := range Recipes() {
		t.Run(r.Alias, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join(checkout, r.Config))
			if err != nil {
				t.Fatal(err)
			}
			c, err := ReadConfig(text)
			if err != nil {
				t.Fatal(err)
			}
			program := settings(t, r.Package)
			for _, e := range c.Env {
				if e.Name == contract.BuildVariable {
					continue
				}
				value, known := program[e.Name]
				if !known {
					t.Errorf("%s: %s is no setting of %s", r.Config, e.Name, r.Package)
				} else if value != e.Value {
					t.Errorf("%s: %s is %q, the program's own default is %q", r.Config, e.Name, e.Value, value)
				}
				delete(program, e.Name)
			}
			for name, value := range program {
				if name != contract.BuildVariable && !inside(r.Alias, value) {
					t.Errorf("%s: %s (default %q) is missing: nobody could set it", r.Config, name, value)
				}
			}
		})
	}
}

func TestTheCommittedConfigurationsAreGood(t *testing.T) {
	for _, r := range Recipes() {
		if _, err := New(r.Alias, filepath.Join(checkout, r.Config), write(t, "program", "ELF")); err != nil {
			t.Error(err)
		}
	}
}
