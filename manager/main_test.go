package main

import (
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) { testscript.Main(m, map[string]func(){"rolling": main}) }

// TestScripts runs the program itself, server and commands, with a store of its own and no Swarm. The word "served"
// waits until the server answers.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"), RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			folder, err := os.MkdirTemp("", "rolling-main-") // a socket's path has a limit
			if err != nil {
				return err
			}
			env.Defer(func() { _ = os.RemoveAll(folder) })
			env.Setenv("DIR", folder)
			env.Setenv("ROLLING_SOCKET", filepath.Join(folder, "s"))
			env.Setenv("ROLLING_STATE", filepath.Join(folder, "state"))
			env.Setenv("ROLLING_ENGINE", "unix://"+filepath.Join(folder, "no-docker.sock"))
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){"served": served},
	})
}

// served waits until somebody answers on the socket.
func served(ts *testscript.TestScript, _ bool, _ []string) {
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("unix", ts.Getenv("ROLLING_SOCKET"))
		if err == nil {
			ts.Check(c.Close())
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("nobody serves: %v", err)
		}
	}
}
