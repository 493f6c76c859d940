package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caarlos0/env/v11"

	"github.com/rolling-swarm/rolling/internal/contract"
)

func read(given map[string]string) (Config, error) {
	c, err := env.ParseAsWithOptions[Config](env.Options{Environment: given})
	if err != nil {
		return c, err
	}
	return c, c.Validate()
}

func TestTheDefaultsWork(t *testing.T) {
	c, err := read(nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.ASN != contract.ASN || c.Port != contract.BGPPort || c.Hold != 9*time.Second || c.detect != 100*time.Millisecond || c.key != "" || c.State != contract.StateRoot+"/net" || c.Socket != "/run/docker/plugins/net.sock" {
		t.Errorf("defaults %+v", c)
	}
}

func TestSettingsAreTaken(t *testing.T) {
	state := t.TempDir()
	for name, text := range map[string]string{"inside": "one\n", "tor": "two"} {
		if err := errors.Join(os.MkdirAll(filepath.Join(state, "passwords"), 0o700), os.WriteFile(filepath.Join(state, "passwords", name), []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	c, err := read(map[string]string{"ROLLING_STATE": state, "ROLLING_ASN": "65001", "ROLLING_BGP_HOLD": "3s", "ROLLING_ROUTERS": "10.98.0.1:179+password=tor+bfd,10.98.0.2+password=tor",
		"ROLLING_BGP_PASSWORD": "inside", "ROLLING_BGP_TTL_SECURITY": "2", "ROLLING_DETECT": "50ms", "ROLLING_BFD": "300ms",
		"ROLLING_POOLS": "10.210.0.0/16", "ROLLING_LOG_LEVEL": "debug"})
	if err != nil {
		t.Fatal(err)
	}
	if c.key != "one" || c.keys["tor"] != "two" || c.detect != 50*time.Millisecond || c.TTLSecurity != 2 || c.BFD != 300*time.Millisecond || !c.routers[0].BFD {
		t.Errorf("read %+v", c)
	}
	if c, err := read(map[string]string{"ROLLING_DETECT": "off"}); err != nil || c.detect != 0 {
		t.Errorf("off: %v, %v", c.detect, err)
	}
	if len(c.routers) != 2 || c.routers[0].ASN != 65001 || len(c.pools) != 1 || c.Hold != 3*time.Second {
		t.Errorf("read %+v", c)
	}
}

func TestAllProblemsAreNamedAtOnce(t *testing.T) {
	_, err := read(map[string]string{
		"ROLLING_ASN": "0", "ROLLING_BGP_PORT": "70000", "ROLLING_BGP_HOLD": "1500ms", "ROLLING_BGP_MAX_PREFIXES": "0", "ROLLING_SOCKET": "net.sock",
		"ROLLING_STATE": "net", "ROLLING_METRICS_LISTEN": "9324", "ROLLING_BGP_PASSWORD": "../secret", "ROLLING_BGP_TTL_SECURITY": "255", "ROLLING_DETECT": "1ms", "ROLLING_BFD": "1m",
		"ROLLING_ROUTERS": "here 10.0.0.1+bdf", "ROLLING_POOLS": "10.0.0.1/8",
	})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{
		"settings: 13 problems", "ROLLING_ASN: 0 is reserved", "ROLLING_BGP_PORT: 70000 is not a port", "ROLLING_BGP_HOLD: 1.5s: want whole seconds from 3s to 1m30s",
		"ROLLING_BGP_MAX_PREFIXES: 0", `ROLLING_SOCKET: "net.sock": want an absolute path`, `ROLLING_STATE: "net/net.sock"`, "ROLLING_METRICS_LISTEN",
		`ROLLING_ROUTERS: router "here"`, `router "10.0.0.1": bdf: is not an option`, `ROLLING_BGP_PASSWORD: "../secret": want the name of a file`,
		"ROLLING_BGP_TTL_SECURITY: 255", `ROLLING_DETECT: "1ms": want off, or 10ms to 2s`, "ROLLING_BFD: 1m0s", `ROLLING_POOLS: pool "10.0.0.1/8"`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v\nlacks %q", err, want)
		}
	}
	for _, bad := range []map[string]string{{"ROLLING_ASN": "many"}, {"ROLLING_LOG_LEVEL": "loud"}, {"ROLLING_BGP_HOLD": "nine"}, {"ROLLING_BGP_PASSWORD": "nosuch"}, {"ROLLING_ROUTERS": "10.0.0.1+password=nosuch"}} {
		if _, err := read(bad); err == nil {
			t.Errorf("%v was accepted", bad)
		}
	}
}
