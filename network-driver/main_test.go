package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// asPlugin makes this test binary the plugin itself: a process of its own, which can be killed.
const asPlugin = "ROLLING_TEST_AS_PLUGIN"

func TestMain(m *testing.M) {
	if os.Getenv(asPlugin) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestBadSettingsEndThePluginWithAllOfThemNamed(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(self)
	c.Env = append(os.Environ(), asPlugin+"=1", "ROLLING_BGP_PORT=0", "ROLLING_ROUTERS=here", "ROLLING_SOCKET="+t.TempDir()+"/net.sock")
	out, err := c.CombinedOutput()
	if err == nil || c.ProcessState.ExitCode() != 1 {
		t.Errorf("ended with %v", err)
	}
	for _, want := range []string{"network-driver: settings: 2 problems", "ROLLING_BGP_PORT", "ROLLING_ROUTERS"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%s\nlacks %q", out, want)
		}
	}
}
