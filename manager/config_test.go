package main

import (
	"strings"
	"testing"
)

func TestSettingsHaveDefaultsThatWork(t *testing.T) {
	for _, name := range []string{"ROLLING_URL", "ROLLING_SOCKET", "ROLLING_LISTEN", "ROLLING_ENGINE", "ROLLING_STATE", "ROLLING_PLAIN_REGISTRIES", "ROLLING_LOG_FORMAT", "ROLLING_LINE_LISTEN", "ROLLING_LINE_SECRET"} {
		t.Setenv(name, "")
	}
	c, err := readConfig()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	if len(c.addresses) != 1 || c.addresses[0].String() != "unix:///run/rolling/rolling.sock" || c.URL != "unix:///run/rolling/rolling.sock" {
		t.Errorf("served on %v, asked at %s; want the socket alone", c.addresses, c.URL)
	}
}

func TestEverythingWrongWithTheSettingsIsSaidAtOnce(t *testing.T) {
	for name, value := range map[string]string{
		"ROLLING_SOCKET": "rolling.sock", "ROLLING_LISTEN": "127.0.0.1:2400, 0.0.0.0:80,nowhere", "ROLLING_ENGINE": "/var/run/docker.sock",
		"ROLLING_STATE": "state", "ROLLING_PLAIN_REGISTRIES": "http://registry:5000", "ROLLING_LOG_FORMAT": "xml",
		"ROLLING_LINE_LISTEN": "7420", "ROLLING_LINE_SECRET": "secret",
	} {
		t.Setenv(name, value)
	}
	c, err := readConfig()
	if err != nil {
		t.Fatal(err)
	}
	err = c.Validate()
	if err == nil {
		t.Fatal("no error")
	}
	for _, says := range []string{
		"9 problems", "ROLLING_LINE_LISTEN: ", "ROLLING_LINE_SECRET: ", "ROLLING_SOCKET: ", `ROLLING_LISTEN: address "0.0.0.0:80" is not loopback`, `ROLLING_LISTEN: address "nowhere"`,
		`ROLLING_ENGINE: "/var/run/docker.sock"`, `ROLLING_STATE: "state"`, "ROLLING_PLAIN_REGISTRIES: ", "ROLLING_LOG_FORMAT: ",
	} {
		if !strings.Contains(err.Error(), says) {
			t.Errorf("the error does not say %q:\n%v", says, err)
		}
	}
}

func TestASettingThatCannotBeReadIsNamed(t *testing.T) {
	t.Setenv("ROLLING_LOG_LEVEL", "loud")
	if _, err := readConfig(); err == nil || !strings.Contains(err.Error(), "LogLevel") && !strings.Contains(err.Error(), "ROLLING_LOG_LEVEL") {
		t.Errorf("%v", err)
	}
}
