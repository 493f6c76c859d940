// Command web is the service of the example project orders: it answers who it is and who asked, so that a person, a
// test or a load balancer can see which instance was reached and whether addresses were kept on the way. It knows
// nothing of Docker, Swarm or Rolling: any program in a container looks like this to them.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	healthcheck := flag.Bool("healthcheck", false, "ask the service in this container whether it is healthy, and exit 0 or 1")
	flag.Parse()
	log := slog.New(slog.NewJSONHandler(os.Stdout, nil))
	config, err := ReadConfig()
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
		defer stop()
		if *healthcheck {
			err = probe(ctx, config)
		} else {
			err = serve(ctx, config, log)
		}
	}
	if err != nil {
		log.Error("web ends", "error", err)
		os.Exit(1)
	}
}

// serve answers until the context ends, then lets requests under way finish within the drain time.
func serve(ctx context.Context, config Config, log *slog.Logger) error {
	listener, err := net.Listen("tcp", config.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	log = log.With("host", config.Hostname, "release", config.Release)
	server := &http.Server{Handler: routes(config, log), ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	log.Info("serving", "address", listener.Addr().String())
	select {
	case err := <-failed:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	log.Info("draining", "within", config.Drain.String())
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), config.Drain)
	defer cancel()
	if err := server.Shutdown(drain); err != nil {
		return errors.Join(fmt.Errorf("drain: requests were still under way after %s: %w", config.Drain, err), server.Close())
	}
	log.Info("drained")
	return nil
}

// probe is the container's health check: an image from scratch has no curl.
func probe(ctx context.Context, config Config) error {
	_, port, err := net.SplitHostPort(config.Listen)
	if err != nil {
		return fmt.Errorf("LISTEN: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, config.PeerTimeout)
	defer cancel()
	_, err = get(ctx, "http://"+net.JoinHostPort("127.0.0.1", port)+"/healthz")
	return err
}
