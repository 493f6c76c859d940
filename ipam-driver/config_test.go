package main

import (
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"
)

func TestDefaultsWork(t *testing.T) {
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "ROLLING_") {
			t.Setenv(name, "")
			if err := os.Unsetenv(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	c, err := readConfig()
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		Socket: "/run/docker/plugins/ipam.sock", State: "/var/lib/rolling/ipam", Engine: "unix:///run/docker.sock", Plugin: "rolling/ipam:latest",
		Rest: time.Minute, LostRest: 24 * time.Hour, LogLevel: slog.LevelInfo,
	}
	if c != want || c.StatusSocket() != "/var/lib/rolling/ipam/ipam.sock" {
		t.Fatalf("got %+v", c)
	}
}

func TestAllProblemsAreSaidAtOnce(t *testing.T) {
	for k, v := range map[string]string{
		"ROLLING_SOCKET": "ipam.sock", "ROLLING_STATE": "/" + strings.Repeat("x", 120), "ROLLING_ENGINE": "", "ROLLING_PLUGIN": "",
		"ROLLING_REST": "-1s", "ROLLING_LOST_REST": "-2s", "ROLLING_METRICS_LISTEN": "9323",
	} {
		t.Setenv(k, v)
	}
	_, err := readConfig()
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"settings: 5 problems:", `ROLLING_SOCKET: "ipam.sock": want an absolute path`, "ROLLING_STATE: ", "ROLLING_REST: -1s", "ROLLING_LOST_REST: -2s", "ROLLING_METRICS_LISTEN: "} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("lacks %q:\n%v", want, err)
		}
	}
}

func TestAValueOfTheWrongKindIsNamed(t *testing.T) {
	t.Setenv("ROLLING_REST", "soon")
	if _, err := readConfig(); err == nil || !strings.Contains(err.Error(), "Rest") {
		t.Fatalf("got %v", err)
	}
}
