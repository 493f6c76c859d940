package main

import (
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rolling-swarm/rolling/lab/bench/figure"
)

func TestReadConfig(t *testing.T) {
	for _, c := range []struct {
		name  string
		args  []string
		check func(Config) bool
		wrong string
	}{
		{"no name means every group", nil, func(c Config) bool { return slices.Equal(c.Groups, groups()) && c.Network.Rounds >= 50 }, ""},
		{"one group, fewer rounds", []string{"-rounds", "3", "net"}, func(c Config) bool { return slices.Equal(c.Groups, []string{"net"}) && c.Network.Rounds == 3 }, ""},
		{"a group that is not there yet", []string{"disk"}, nil, `"disk" is no group of benchmarks: there are net, ipam, rollout, manager, metrics, log`},
		{"more projects than a page has", []string{"-projects", "1001", "manager"}, nil, "-projects 1001: want 1000 or fewer, which is one page"},
		{"every problem at once", []string{"-rounds", "0", "-tasks", "-1", "-out", "", "x"}, nil, "\"x\" is no group of benchmarks: there are net, ipam, rollout, manager, metrics, log\n-rounds 0: want 1 or more\n-tasks -1: want 1 or more\n-out is empty: want a file for the figures"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := readConfig(c.args, io.Discard)
			if c.wrong != "" {
				if err == nil || err.Error() != c.wrong {
					t.Errorf("got %v, want %s", err, c.wrong)
				}
				return
			}
			if err != nil || !c.check(got) {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
	if _, err := readConfig([]string{"-h"}, io.Discard); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("-h: %v", err)
	}
}

func TestWriteReplacesTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "build", "bench.jsonl")
	for _, name := range []string{"first", "second"} {
		if err := write(path, []figure.Figure{figure.Alone(name, "s", 1, 1, "")}); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil || strings.Count(string(text), "\n") != 1 || !strings.Contains(string(text), `"second"`) {
		t.Errorf("the file holds %q, %v", text, err)
	}
	if left, _ := filepath.Glob(path + ".*"); len(left) > 0 {
		t.Errorf("%v is left", left)
	}
}
