package main

import (
	"context"
	"crypto/rand"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/manager/line"
	"github.com/rolling-swarm/rolling/manager/line/pki"
)

func TestTheLineOpensWhereItsSecretIs(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	made, err := pki.Make(time.Now(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, made.Manager, 0o600); err != nil {
		t.Fatal(err)
	}
	nodes, err := openLine(line.Config{Listen: "127.0.0.1:0", Secret: secret}, log)
	if err != nil || nodes == nil {
		t.Fatalf("%v, %v", nodes, err)
	}
	if _, _, err := nodes.Routes(t.Context()); err == nil || !strings.Contains(err.Error(), "none has a line") {
		t.Errorf("routes of nobody: %v", err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := unlessEnded(ctx, nodes.run(ctx)); err != nil {
		t.Errorf("told to end: %v", err)
	}
	nodes.listen = "127.0.0.1:port"
	if err := nodes.run(t.Context()); err == nil || !strings.Contains(err.Error(), "ROLLING_LINE_LISTEN") {
		t.Errorf("an address that is none: %v", err)
	}
}

func TestWithoutItsSecretThereIsNoLineAndNoError(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	for name, c := range map[string]line.Config{
		"no secret":  {Listen: ":0", Secret: filepath.Join(t.TempDir(), "none")},
		"no address": {Secret: "/dev/null"},
	} {
		if nodes, err := openLine(c, log); nodes != nil || err != nil {
			t.Errorf("%s: %v, %v", name, nodes, err)
		}
	}
	if _, err := openLine(line.Config{Listen: ":0", Secret: "/dev/null"}, log); err == nil || !strings.Contains(err.Error(), "rolling line init") {
		t.Errorf("a secret that is none: %v", err)
	}
}
