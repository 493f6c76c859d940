package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/rolling-swarm/rolling/"

// programs are the folders that become a binary; none imports another's packages.
var programs = []string{"manager", "agent", "ipam-driver", "network-driver", "logdriver", "exporter"}

// cores are pure: beside the standard library's pure part they may import other cores of their own program,
// internal/contract and the like, Swarm's data types, and the libraries listed here (each one named by a record in docs/adr).
var cores = map[string][]string{
	"ipam-driver/pool":         nil,
	"network-driver/topology":  nil,
	"network-driver/fabric":    nil,
	"network-driver/liveness":  nil,
	"network-driver/vip":       nil,
	"logdriver/entry":          nil,
	"logdriver/batch":          nil,
	"logdriver/route":          nil,
	"exporter/naming":          nil,
	"exporter/sample":          nil,
	"exporter/dashboards":      nil,
	"agent/bundle":             nil,
	"agent/member":             nil,
	"agent/drain/stops":        nil,
	"manager/line/pki":         nil,
	"manager/project":          {"github.com/compose-spec/compose-go/v2", "go.yaml.in/yaml/v4"},
	"manager/release":          nil,
	"manager/network":          nil,
	"manager/spec":             {"github.com/compose-spec/compose-go/v2/types"},
	"manager/plan":             nil,
	"manager/rollout":          nil,
	"manager/doctor":           nil,
	"manager/access":           nil,
	"network-driver/isolation": nil,
	"agent/allow":              nil,
}

// swarmData is the module of plain types that Swarm's API is made of: no client, no I/O.
const swarmData = "github.com/moby/moby/api/types"

// edges import their own core, internal/contract and one client library; never a door, never each other.
var edges = map[string]bool{
	"ipam-driver/ledger": true, "ipam-driver/swarm": true,
	"network-driver/kernel": true, "network-driver/arp": true, "network-driver/fastpath": true, "network-driver/bgp": true, "network-driver/state": true, "network-driver/swarm": true, "network-driver/probe": true, "network-driver/nat": true, "network-driver/policy": true,
	"logdriver/pipe": true, "logdriver/spool": true, "logdriver/kafka": true,
	"exporter/cgroup": true, "exporter/engine": true, "exporter/graphite": true, "exporter/prometheus": true, "exporter/state": true,
	"agent/loader": true, "agent/swarm": true, "agent/zookeeper": true, "agent/nginx": true, "agent/policy": true,
	"agent/drain/docker": true, "agent/drain/record": true, "agent/line/docker": true, "agent/line/fabric": true, "agent/line/host": true, "agent/health/docker": true, "agent/line/ledger": true, "agent/line/meter": true, "manager/line/secrets": true,
	"manager/cluster": true, "manager/store": true, "manager/registry": true, "manager/probe": true,
}

var impure = []string{"os", "os/exec", "net", "net/http", "log", "log/slog", "context", "io/fs", "syscall", "math/rand", "math/rand/v2", "sync", "time/tzdata"}

var vagueNames = []string{"util", "utils", "common", "misc", "helpers", "types", "base"}

type source struct {
	room string // the package's folder, slashes, relative to the module
	file string
	tree *ast.File
	test bool
}

func sources(t *testing.T) []source {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	var found []source
	set := token.NewFileSet()
	err = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "build" || d.Name() == ".git" || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(p, ".go") {
			return nil
		}
		tree, err := parser.ParseFile(set, p, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		found = append(found, source{path.Dir(filepath.ToSlash(rel)), filepath.ToSlash(rel), tree, strings.HasSuffix(p, "_test.go")})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) < 5 {
		t.Fatalf("only %d Go files below %s: the test looks in the wrong place", len(found), root)
	}
	return found
}

func (s source) imports() []string {
	var all []string
	for _, i := range s.tree.Imports {
		all = append(all, strings.Trim(i.Path.Value, `"`))
	}
	return all
}

func program(room string) string {
	first, _, _ := strings.Cut(room, "/")
	if slices.Contains(programs, first) {
		return first
	}
	return ""
}

func TestNoProgramImportsAnotherProgram(t *testing.T) {
	for _, s := range sources(t) {
		own := program(s.room)
		if own == "" {
			continue
		}
		for _, i := range s.imports() {
			other := program(strings.TrimPrefix(i, module))
			if strings.HasPrefix(i, module) && other != "" && other != own {
				t.Errorf("%s imports %s: what two programs must agree on belongs in internal/contract", s.file, i)
			}
		}
	}
}

func TestCoresArePure(t *testing.T) {
	for _, s := range sources(t) {
		libraries, isCore := cores[s.room]
		if !isCore || s.test {
			continue
		}
		for _, i := range s.imports() {
			if problem := impurity(s.room, i, libraries); problem != "" {
				t.Errorf("%s imports %s: %s", s.file, i, problem)
			}
		}
		for _, call := range clockCalls(s.tree) {
			t.Errorf("%s calls %s: a core is given the time as a value", s.file, call)
		}
	}
}

func impurity(room, i string, libraries []string) string {
	switch {
	case slices.Contains(impure, i):
		return "a core has no I/O, clock, goroutine, logger or context"
	case !strings.Contains(strings.Split(i, "/")[0], "."):
		return "" // the standard library's pure part
	case i == module+"internal/contract", i == module+"internal/wire", i == module+"internal/allotment", i == module+"internal/permits", strings.HasPrefix(i, swarmData):
		return ""
	case strings.HasPrefix(i, module):
		other := strings.TrimPrefix(i, module)
		if _, ok := cores[other]; ok && program(other) == program(room) {
			return ""
		}
		return "a core imports only cores of its own program"
	}
	for _, l := range libraries {
		if i == l || strings.HasPrefix(i, l+"/") {
			return ""
		}
	}
	return "a core imports a library only after a record in docs/adr names it as pure"
}

func clockCalls(tree *ast.File) []string {
	var calls []string
	ast.Inspect(tree, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := sel.X.(*ast.Ident); ok && x.Name == "time" && x.Obj == nil &&
			slices.Contains([]string{"Now", "Since", "Until", "Sleep", "After", "Tick", "NewTimer", "NewTicker", "AfterFunc"}, sel.Sel.Name) {
			calls = append(calls, "time."+sel.Sel.Name)
		}
		return true
	})
	return calls
}

func TestEdgesImportNoDoorAndNoOtherEdge(t *testing.T) {
	for _, s := range sources(t) {
		if !edges[s.room] || s.test {
			continue
		}
		for _, i := range s.imports() {
			other, ours := strings.CutPrefix(i, module)
			if !ours || other == "internal/contract" || program(other) != program(s.room) {
				continue
			}
			if _, isCore := cores[other]; !isCore {
				t.Errorf("%s imports %s: an edge imports its core and one client library, never a door or another edge", s.file, i)
			}
		}
	}
}

func TestNoVaguePackageNames(t *testing.T) {
	for _, s := range sources(t) {
		if slices.Contains(vagueNames, path.Base(s.room)) || slices.Contains(vagueNames, s.tree.Name.Name) {
			t.Errorf("%s: package %s says nothing about what is in it", s.file, s.tree.Name.Name)
		}
	}
}

func TestEachPackageSaysWhatItKnows(t *testing.T) {
	docs := map[string]int{}
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		if _, seen := docs[s.room]; !seen {
			docs[s.room] = 0
		}
		if s.tree.Doc != nil {
			docs[s.room]++
		}
	}
	for room, n := range docs {
		if n != 1 {
			t.Errorf("package %s has %d package comments, want exactly one", room, n)
		}
	}
}

// TestEffectsStayAtTheDoorstep forbids, in the programs: init functions, the environment outside config.go, and the
// end of the process outside main.go.
func TestEffectsStayAtTheDoorstep(t *testing.T) {
	for _, s := range sources(t) {
		if s.test || program(s.room) == "" {
			continue
		}
		for _, d := range s.tree.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Name.Name == "init" && f.Recv == nil {
				t.Errorf("%s: func init: wire it in main.go", s.file)
			}
		}
		ast.Inspect(s.tree, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			x, ok := sel.X.(*ast.Ident)
			if !ok {
				return true
			}
			name := x.Name + "." + sel.Sel.Name
			if name == "os.Exit" && path.Base(s.file) != "main.go" {
				t.Errorf("%s: os.Exit outside main.go", s.file)
			}
			if slices.Contains([]string{"os.Getenv", "os.LookupEnv", "os.Environ"}, name) && path.Base(s.file) != "config.go" {
				t.Errorf("%s: %s outside config.go", s.file, name)
			}
			return true
		})
	}
}

// TestMutableStateHasAnOwner forbids package variables that change: only errors, compiled patterns, embedded files,
// tables written once and interface guards may stand at package level.
func TestMutableStateHasAnOwner(t *testing.T) {
	for _, s := range sources(t) {
		if s.test || program(s.room) == "" {
			continue
		}
		for _, name := range assignedPackageVariables(s.tree) {
			t.Errorf("%s: package variable %s is assigned in a function: give it an owner", s.file, name)
		}
	}
}

func assignedPackageVariables(tree *ast.File) []string {
	vars := map[string]bool{}
	for _, d := range tree.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.VAR {
			continue
		}
		for _, spec := range g.Specs {
			for _, n := range spec.(*ast.ValueSpec).Names {
				if n.Name == "_" {
					continue // an interface guard
				}
				vars[n.Name] = true
			}
		}
	}
	var assigned []string
	ast.Inspect(tree, func(n ast.Node) bool {
		a, ok := n.(*ast.AssignStmt)
		if !ok || a.Tok == token.DEFINE {
			return true
		}
		for _, l := range a.Lhs {
			if id, ok := l.(*ast.Ident); ok && vars[id.Name] && (id.Obj == nil || id.Obj.Kind == ast.Var && isPackageLevel(tree, id)) {
				assigned = append(assigned, id.Name)
			}
		}
		return true
	})
	return assigned
}

func isPackageLevel(tree *ast.File, id *ast.Ident) bool {
	spec, ok := id.Obj.Decl.(*ast.ValueSpec)
	if !ok {
		return false
	}
	for _, d := range tree.Decls {
		if g, ok := d.(*ast.GenDecl); ok {
			for _, s := range g.Specs {
				if s == spec {
					return true
				}
			}
		}
	}
	return false
}
