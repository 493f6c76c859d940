// Command network-driver is the managed Docker plugin rolling/net: it wires a container to its node and tells the
// fabric where it is. This package is the wiring: it reads the settings, makes the rooms and joins them; it decides nothing.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	if err := command(); err != nil {
		fmt.Fprintln(os.Stderr, "network-driver:", err)
		os.Exit(1)
	}
}

func command() error {
	c, err := readConfig()
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: c.LogLevel}))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, c, log); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}
