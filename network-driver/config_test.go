package main

import (
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
	if c.ASN != contract.ASN || c.Port != contract.BGPPort || c.Hold != 9*time.Second || c.State != contract.StateRoot+"/net" || c.Socket != "/run/docker/plugins/net.sock" {
		t.Errorf("defaults %+v", c)
	}
}

func TestSettingsAreTaken(t *testing.T) {
	c, err := read(map[string]string{"ROLLING_ASN": "65001", "ROLLING_BGP_HOLD": "3s", "ROLLING_ROUTERS": "10.98.0.1:179", "ROLLING_POOLS": "10.210.0.0/16", "ROLLING_LOG_LEVEL": "debug"})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.routers) != 1 || c.routers[0].ASN != 65001 || len(c.pools) != 1 || c.Hold != 3*time.Second {
		t.Errorf("read %+v", c)
	}
}

func TestAllProblemsAreNamedAtOnce(t *testing.T) {
	_, err := read(map[string]string{
		"ROLLING_ASN": "0", "ROLLING_BGP_PORT": "70000", "ROLLING_BGP_HOLD": "1500ms", "ROLLING_BGP_MAX_PREFIXES": "0", "ROLLING_SOCKET": "net.sock",
		"ROLLING_STATE": "net", "ROLLING_METRICS_LISTEN": "9324", "ROLLING_ROUTERS": "here", "ROLLING_POOLS": "10.0.0.1/8",
	})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{
		"settings: 9 problems", "ROLLING_ASN: 0 is reserved", "ROLLING_BGP_PORT: 70000 is not a port", "ROLLING_BGP_HOLD: 1.5s: want whole seconds from 3s to 1m30s",
		"ROLLING_BGP_MAX_PREFIXES: 0", `ROLLING_SOCKET: "net.sock": want an absolute path`, `ROLLING_STATE: "net"`, "ROLLING_METRICS_LISTEN",
		`ROLLING_ROUTERS: router "here"`, `ROLLING_POOLS: pool "10.0.0.1/8"`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v\nlacks %q", err, want)
		}
	}
	for _, bad := range []map[string]string{{"ROLLING_ASN": "many"}, {"ROLLING_LOG_LEVEL": "loud"}, {"ROLLING_BGP_HOLD": "nine"}} {
		if _, err := read(bad); err == nil {
			t.Errorf("%v was accepted", bad)
		}
	}
}
