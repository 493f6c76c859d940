// Command launcher is what the engine starts as the plugin rolling/log. It runs the plugin's program as its child, and
// changes that for another one while the engine, and the pipes that containers write their lines into, notice nothing:
// the engine's own ways to another build (upgrade, remove and create) delete those pipes. This package knows processes,
// sockets and the folder of internal/worker; it knows nothing of logs.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

const usage = `usage: launcher FOLDER SOCKET PROGRAM
FOLDER is where other programs are laid, SOCKET is where the program listens when it works, PROGRAM is the one that came along
`

func main() {
	if len(os.Args) != 4 {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(64)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	l := launcher{
		folder: os.Args[1], socket: os.Args[2], builtIn: os.Args[3], environment: os.Environ(), scratch: os.TempDir(),
		listens: listensWithin, log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	}
	if err := l.Run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "launcher:", err)
		os.Exit(1)
	}
}
