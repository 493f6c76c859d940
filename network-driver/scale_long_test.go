//go:build lab && long

package main

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/docker/go-plugins-helpers/network"

	"github.com/rolling-swarm/rolling/network-driver/lan"
)

// largestMemory is the goal for a node of 500 containers.
const largestMemory = 60 // MB

func TestFiveHundredContainersOnOneNode(t *testing.T) {
	const containers = 500
	s := newHost(t)
	r := newRig(t, s, "ROLLING_LOG_LEVEL=warn", "ROLLING_BGP_HOLD=90s")
	r.engine.swarm("10.98.0.21", member{"10.98.0.21", true})
	r.start()
	r.createNetwork(net1, "10.210.0.0/16", "169.254.1.1/32")
	took := map[string][]time.Duration{}
	timed := func(name string, request any) {
		t.Helper()
		begun := time.Now()
		err := r.call(name, request, nil)
		for err != nil && strings.Contains(err.Error(), "the plugin is busy") { // others keep the kernel's one lock for links
			err = r.call(name, request, nil)
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		took[name] = append(took[name], time.Since(begun))
	}
	before := r.cpu()
	for i := 1; i <= containers; i++ {
		address := fmt.Sprintf("10.210.%d.%d/32", i/250, i%250+1)
		timed("CreateEndpoint", network.CreateEndpointRequest{NetworkID: net1, EndpointID: endpointID(i), Interface: &network.EndpointInterface{Address: address}})
		timed("Join", network.JoinRequest{NetworkID: net1, EndpointID: endpointID(i)})
	}
	t.Logf("%.1f ms of CPU for each container that came", (r.cpu()-before)*1000/containers)
	before = r.cpu()
	time.Sleep(10 * time.Second)
	t.Logf("idle: %.1f %% of a CPU", (r.cpu()-before)*10)
	r.kill()
	begun := time.Now()
	r.start()
	t.Logf("serves %v after its start", time.Since(begun).Round(time.Millisecond))
	if got := len(r.state().Links); got != containers {
		t.Errorf("%d links, want %d", got, containers)
	}
	lan.Eventually(t, 30*time.Second, "all are announced again", func() error {
		text, err := r.page("/metrics")
		if err == nil && !strings.Contains(text, fmt.Sprintf("rolling_net_endpoints_joined %d", containers)) {
			err = fmt.Errorf("metrics say otherwise")
		}
		return err
	})
	rss := r.memory()
	t.Logf("memory: %d MB", rss)
	if rss > largestMemory {
		t.Errorf("the plugin holds %d MB at %d endpoints, goal %d", rss, containers, largestMemory)
	}
	for i := 1; i <= containers; i++ {
		timed("Leave", network.LeaveRequest{NetworkID: net1, EndpointID: endpointID(i)})
		timed("DeleteEndpoint", network.DeleteEndpointRequest{NetworkID: net1, EndpointID: endpointID(i)})
	}
	for _, name := range []string{"CreateEndpoint", "Join", "Leave", "DeleteEndpoint"} {
		d := took[name]
		slices.Sort(d)
		t.Logf("%-14s p50 %v p99 %v", name, d[len(d)/2].Round(10*time.Microsecond), d[len(d)*99/100].Round(10*time.Microsecond))
	}
	if got := s.Must("ip -br link"); strings.Contains(got, "rl") {
		t.Errorf("links are left:\n%s", got)
	}
}

// cpu is what the plugin has used, in seconds.
func (r *rig) cpu() float64 {
	r.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", r.proc.Process.Pid))
	if err != nil {
		r.t.Fatal(err)
	}
	f := strings.Fields(string(text[strings.LastIndexByte(string(text), ')'):]))
	user, err1 := strconv.Atoi(f[12])
	system, err2 := strconv.Atoi(f[13])
	if err1 != nil || err2 != nil {
		r.t.Fatal(err1, err2)
	}
	return float64(user+system) / 100 // the kernel counts to userspace in hundredths
}

// memory is the resident set in MB.
func (r *rig) memory() int {
	r.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.proc.Process.Pid))
	if err != nil {
		r.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	kb, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		r.t.Fatal(err)
	}
	return kb / 1024
}
