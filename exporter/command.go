package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/rolling-swarm/rolling/exporter/dashboards"
)

// command runs what the arguments name instead of the plugin.
func command(args []string, to io.Writer) error {
	if args[0] != "dashboards" {
		return fmt.Errorf("no command %q: there is dashboards; without an argument this is the plugin", args[0])
	}
	var w dashboards.Wish
	var out string
	f := flag.NewFlagSet("exporter dashboards", flag.ContinueOnError)
	f.SetOutput(to)
	f.StringVar(&w.Project, "project", "", "the project")
	f.Func("environment", "an environment of it; give it once for each", func(text string) error {
		if text == "" {
			return errors.New("is empty")
		}
		w.Environments = append(w.Environments, text)
		return nil
	})
	f.StringVar(&w.Cluster, "cluster", "main", "ROLLING_CLUSTER of the plugin")
	f.StringVar(&w.Graphite, "graphite", "http://graphite:8080", "graphite-web, as Grafana reaches it")
	f.StringVar(&w.Folder, "folder", "/var/lib/grafana/dashboards/rolling", "where Grafana will find the dashboards")
	f.StringVar(&out, "out", "build/dashboards", "folder to write into")
	if err := f.Parse(args[1:]); err != nil {
		return err
	}
	if w.Project == "" || len(w.Environments) == 0 || f.NArg() > 0 {
		return fmt.Errorf("dashboards: want --project NAME and --environment NAME once or more, and no more than flags: got %s", strings.Join(args[1:], " "))
	}
	files, err := dashboards.Files(w)
	if err != nil {
		return err
	}
	for _, file := range files {
		path := filepath.Join(out, file.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("dashboards: %w", err)
		}
		if err := os.WriteFile(path, []byte(file.Text), 0o644); err != nil {
			return fmt.Errorf("dashboards: %w", err)
		}
	}
	return nil
}
