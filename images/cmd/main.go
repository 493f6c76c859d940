// Command images makes the container images of this checkout, one tar each, and pushes one if asked. It runs in the
// checkout's root: go run ./images/cmd -out build/images; go run ./images/cmd -push 10.99.0.1:5000/orders/web orders.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/rolling-swarm/rolling/images"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(64)
	case err != nil:
		fmt.Fprintln(os.Stderr, "images:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	known := slices.Sorted(maps.Keys(images.Recipes("")))
	config, err := ReadConfig(args, known)
	if err != nil {
		return err
	}
	recipes := images.Recipes(config.Plugins)
	for _, name := range config.Names {
		digest, err := images.Make(ctx, recipes[name], name, config.Out)
		if err != nil {
			return err
		}
		fmt.Printf("%s %s\n", filepath.Join(config.Out, name+".tar"), digest)
	}
	if config.Push == "" {
		return nil
	}
	byDigest, err := images.Push(ctx, filepath.Join(config.Out, config.Names[0]+".tar"), config.Push)
	if err != nil {
		return err
	}
	fmt.Println(byDigest)
	return nil
}
