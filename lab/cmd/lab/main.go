// Command lab makes, breaks and removes a Docker Swarm of several machines on this one.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := root().ExecuteContext(ctx)
	stop()
	os.Exit(status(err))
}

// usage is an error of how the command was called.
type usage struct{ error }

// ended is how a command on a node ended: it has spoken for itself.
type ended int

func (e ended) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

func status(err error) int {
	var exit ended
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return int(exit)
	case errors.As(err, &usage{}):
		fmt.Fprintln(os.Stderr, "lab:", err)
		return 64
	}
	fmt.Fprintln(os.Stderr, "lab:", err)
	return 1
}
