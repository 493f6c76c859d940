package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/rolling-swarm/rolling/agent/bundle"
	"github.com/rolling-swarm/rolling/agent/loader"
)

func TestReadConfig(t *testing.T) {
	for _, c := range []struct {
		name    string
		args    string
		env     map[string]string
		command Command
		want    string // part of the error, none if empty
	}{
		{"run", "run", nil, Run, ""},
		{"load with a folder", "load --bundles /b", nil, Load, ""},
		{"health", "health", nil, Health, ""},
		{"remove", "remove", nil, Remove, ""},
		{"no command", "", nil, "", "usage:"},
		{"a command that is none", "runn", nil, "", `"runn" is no command`},
		{"a flag of another command", "run --bundles /b", nil, "", "usage:"},
		{"a word too many", "load now", nil, "", "usage:"},
		{"every problem at once", "run", map[string]string{"ROLLING_STATE": "x", "ROLLING_ENGINE": "y", "ROLLING_CHECK_EVERY": "1ms", "ROLLING_SET_NET": "z", "ROLLING_SET_LOG": "y"}, "",
			"ROLLING_STATE|ROLLING_ENGINE|ROLLING_CHECK_EVERY|ROLLING_SET_NET|ROLLING_SET_LOG"},
		{"a duration that is none", "run", map[string]string{"ROLLING_CHECK_EVERY": "soon"}, "", "soon"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for name, value := range c.env {
				t.Setenv(name, value)
			}
			command, _, err := ReadConfig(strings.Fields(c.args))
			if c.want == "" {
				if err != nil || command != c.command {
					t.Errorf("got %s, %v", command, err)
				}
				return
			}
			for part := range strings.SplitSeq(c.want, "|") {
				if err == nil || !strings.Contains(err.Error(), part) {
					t.Errorf("got %v, want %s", err, part)
				}
			}
			if usage := strings.Contains(c.want, "usage"); usage && !errors.Is(err, errUsage) {
				t.Errorf("%v is not told from other errors", err)
			}
		})
	}
}

func TestSettingsReachThePluginThatTheyAreFor(t *testing.T) {
	found := []loader.Found{
		{Bundle: bundle.Bundle{Alias: "rolling/ipam:latest", Defaults: map[string]string{"ROLLING_LOG_LEVEL": "info"}}},
		{Bundle: bundle.Bundle{Alias: "rolling/net:latest", Defaults: map[string]string{"ROLLING_LOG_LEVEL": "info", "ROLLING_ASN": "64512"}}},
	}
	wants, err := Config{SetIPAM: "ROLLING_LOG_LEVEL=debug", SetNet: "ROLLING_ASN=64513"}.Wants(found)
	if err != nil || len(wants) != 2 {
		t.Fatalf("got %v, %v", wants, err)
	}
	if wants[0].Values["ROLLING_LOG_LEVEL"] != "debug" || wants[1].Values["ROLLING_LOG_LEVEL"] != "info" || wants[1].Values["ROLLING_ASN"] != "64513" {
		t.Errorf("got %v, %v", wants[0].Values, wants[1].Values)
	}
	_, err = Config{SetIPAM: "ROLLING_ASN=1", SetNet: "ROLLING_ASM=1"}.Wants(found)
	for _, part := range []string{"ROLLING_SET_IPAM: rolling/ipam:latest has no setting ROLLING_ASN", "ROLLING_SET_NET: rolling/net:latest has no setting ROLLING_ASM; did you mean ROLLING_ASN?"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("got %v, want %s", err, part)
		}
	}
}
