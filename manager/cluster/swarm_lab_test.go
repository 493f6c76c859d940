//go:build lab

package cluster_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/moby/moby/api/types/swarm"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/lab"
	"github.com/rolling-swarm/rolling/manager/cluster"
	"github.com/rolling-swarm/rolling/manager/cluster/clustertest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := lab.CloseShared(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func TestARealSwarmIsASwarm(t *testing.T) {
	checkReal(t, lab.Shared(t))
}

func checkReal(t *testing.T, l *lab.Lab) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := l.LoadShell(ctx); err != nil {
		t.Fatal(err)
	}
	api, err := l.Client("n2") // most likely not the leader: its engine passes on what it is asked
	if err != nil {
		t.Fatal(err)
	}
	defer api.Close()
	program := func(script string) swarm.ContainerSpec {
		return swarm.ContainerSpec{Image: lab.ShellImage, Command: []string{"sh", "-c", script}}
	}
	w := clustertest.World{
		Swarm: cluster.Of(api), Driver: contract.PluginNet, IPAM: contract.PluginIPAM,
		Good:   program("echo " + clustertest.GoodLine + "; trap exit TERM; while :; do sleep 1 & wait $!; done"),
		Crash:  program("echo " + clustertest.CrashLine + "; exit 3"),
		Absent: swarm.ContainerSpec{Image: "10.99.0.1:5000/nobody/has:this"},
	}
	for _, c := range clustertest.Checks() {
		t.Run(c.Name, func(t *testing.T) { c.Do(t, w) })
	}
}
