package project

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write what the code says into the golden files")

// files are handed over with every case.
var files = map[string][]byte{"site.conf": []byte("listen 80;\n"), "empty.conf": {}, "password": []byte("hunter2")}

// zones knows two zones, so that no test depends on the machine's.
func zones(name string) (*time.Location, error) {
	switch name {
	case "UTC":
		return time.UTC, nil
	case "Asia/Shanghai":
		return time.FixedZone(name, 8*60*60), nil
	}
	return nil, errors.New("unknown")
}

func parse(file string, b []byte) (*Project, error) {
	return Parse(Input{File: file, Bytes: b, Files: files, Zone: zones})
}

// A golden file is the input, a line "----", and what is said about it.
func golden(t *testing.T, pattern string, answer func(input string) string) {
	names, err := filepath.Glob(pattern)
	if err != nil || len(names) == 0 {
		t.Fatalf("%s: no golden files (%v)", pattern, err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			input, want, _ := strings.Cut(string(b), "----\n")
			answered := answer(input)
			if *update {
				if err := os.WriteFile(name, []byte(input+"----\n"+answered), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if answered != want {
				t.Errorf("got:\n%s\nwant:\n%s", answered, want)
			}
		})
	}
}

func TestMistakesAreAllSaidAtOnceWithTheirPaths(t *testing.T) {
	golden(t, "testdata/bad/*.txt", func(input string) string {
		p, err := parse("rolling.yml", []byte(input))
		if err == nil || p != nil {
			return "no problem, which is one\n"
		}
		return err.Error() + "\n"
	})
}

func TestGoodFilesAreReadAsWritten(t *testing.T) {
	golden(t, "testdata/good/*.txt", func(input string) string {
		p, err := parse("rolling.yml", []byte(input))
		if err != nil {
			return err.Error() + "\n"
		}
		return describe(p)
	})
}

func describe(p *Project) string {
	var b strings.Builder
	fmt.Fprintf(&b, "project %s, source %+v\n", p.Name, p.Source)
	for _, e := range p.Environments {
		fmt.Fprintf(&b, "\n%s (%s) approvals=%d rollout=%+v\n", e.Name, e.Stage, e.Approvals, e.Rollout)
		for _, f := range e.Freezes {
			fmt.Fprintf(&b, "freeze %+v\n", f)
		}
		if len(e.Networks) > 0 {
			fmt.Fprintf(&b, "networks %v\n", e.Networks)
		}
		model, err := json.MarshalIndent(e.Model, "", "  ")
		if err != nil {
			return err.Error()
		}
		b.Write(model)
		b.WriteString("\n")
	}
	return b.String()
}
