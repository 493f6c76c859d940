// Command demo is `make demo`: it makes a Swarm of three managers on this machine, puts this checkout's plugins on
// it, and runs every proof of lab/proof, one line each. It leaves the lab running. It knows no promise by itself.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rolling-swarm/rolling/lab"
	"github.com/rolling-swarm/rolling/lab/parts"
	"github.com/rolling-swarm/rolling/lab/proof"
)

const name = "demo"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	begin := time.Now()
	root, err := os.Getwd()
	if err != nil {
		return err
	}
	if err := build(ctx); err != nil {
		return err
	}
	l := lab.Open(name)
	l.Log = func(format string, args ...any) { fmt.Fprintf(os.Stderr, "    "+format+"\n", args...) }
	if err := l.Down(ctx); err != nil { // an earlier demonstration may still run: each begins anew
		return err
	}
	start := time.Now()
	if err := l.Up(ctx, lab.Options{Name: name, Managers: 3, Install: true, Log: l.Log}); err != nil {
		return err
	}
	fmt.Printf("   lab: three managers with plugins and agent (%.1f s)\n", time.Since(start).Seconds())
	failed := prove(ctx, &proof.World{Lab: l, Root: root})
	fmt.Printf("\n%s in %.0f s. The lab goes on; remove it with make demo-down. Look around:\n", verdict(failed), time.Since(begin).Seconds())
	fmt.Printf(`  lab/lab status --name demo
  lab/lab exec --name demo n1 -- docker service ps orders-production_web
  lab/lab exec --name demo router -- ip route
  lab/lab exec --name demo router -- curl -s -H 'Host: orders' http://10.99.0.1/
  lab/lab exec --name demo n1 -- sh -c 'docker exec $(docker ps -qf name=rolling_manager) /rolling plan orders production'
`)
	for _, w := range windows() {
		address, err := w.open(ctx)
		if err != nil {
			fmt.Fprintln(os.Stderr, "demo:", err)
			failed++
			continue
		}
		fmt.Printf("%-10s http://%s/\n", w.what, address)
	}
	if failed > 0 {
		return errors.New(verdict(failed))
	}
	return nil
}

// window is something to look at with a browser: a port of this machine's 127.0.0.1 for a target in the lab.
type window struct {
	what, target string
	port         int
}

func windows() []window {
	return []window{
		{"dashboard", lab.Dashboard(), 2400},
		{"graphs", "router:" + parts.GraphiteWebPort, 2480},
	}
}

// tries is how many ports after the usual one may be taken by others.
const tries = 20

// open leaves a relay behind, which ends with the lab, and gives its address.
func (w window) open(ctx context.Context) (address string, err error) {
	for port := w.port; port < w.port+tries; port++ {
		var out, said bytes.Buffer
		cmd := exec.CommandContext(ctx, "lab/lab", "relay", "--name", name, strconv.Itoa(port), w.target)
		cmd.Stdout, cmd.Stderr = &out, &said
		if err = cmd.Run(); err == nil {
			address, _, _ = strings.Cut(out.String(), " ")
			return address, nil
		}
		err = fmt.Errorf("open the %s at port %d: %w: %s", w.what, port, err, strings.TrimSpace(said.String()))
	}
	return "", err
}

// build makes the plugins and images of this checkout, quietly unless it fails.
func build(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, "make", "--no-print-directory", "images").CombinedOutput()
	if err != nil {
		return fmt.Errorf("make images: %w\n%s", err, out)
	}
	return nil
}

// prove runs every proof, prints a line for each, and returns how many failed. A later proof is tried although an
// earlier one failed: its line then says what it lacks.
func prove(ctx context.Context, w *proof.World) int {
	failed := 0
	for _, p := range slices.Concat(proof.Ground(), proof.Release(), proof.Signals()) {
		if ctx.Err() != nil {
			return failed + 1
		}
		start := time.Now()
		seen, err := p.Run(ctx, w)
		took := time.Since(start).Seconds()
		if err != nil {
			failed++
			fmt.Printf("FAIL %2d %s: %v (%.1f s)\n", p.Number, p.Title, err, took)
			continue
		}
		fmt.Printf("ok   %2d %s: %s (%.1f s)\n", p.Number, p.Title, seen, took)
	}
	return failed
}

func verdict(failed int) string {
	if failed > 0 {
		return fmt.Sprintf("%d proofs FAILED", failed)
	}
	return "every proof is ok"
}
