// Command bundle makes the bundles of the managed plugins. It runs in the checkout's root:
// go run ./plugins/bundle/cmd -out build/plugins.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/rolling-swarm/rolling/plugins/bundle"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(64)
	case err != nil:
		fmt.Fprintln(os.Stderr, "bundle:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	config, err := ReadConfig(args)
	if err != nil {
		return err
	}
	maker := bundle.Maker{Out: config.Out, Cache: config.Cache, Log: func(format string, args ...any) { fmt.Printf(format+"\n", args...) }}
	for _, r := range bundle.Recipes() {
		if !slices.Contains(config.Names, nameOf(r)) {
			continue
		}
		if err := maker.Make(ctx, r); err != nil {
			return err
		}
	}
	return nil
}
