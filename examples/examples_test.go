// Package examples holds complete projects and stacks. Its tests check what the files promise; that they also run is
// proved in the lab.
package examples

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"

	"github.com/rolling-swarm/rolling/internal/contract"
)

func load(t *testing.T, file string, env map[string]string) (*types.Project, error) {
	t.Helper()
	return loader.LoadWithContext(context.Background(), types.ConfigDetails{
		ConfigFiles: []types.ConfigFile{{Filename: file}},
		Environment: env,
	}, func(o *loader.Options) { o.SetProjectName("example", true) })
}

func stack(t *testing.T, file string, env map[string]string) *types.Project {
	t.Helper()
	p, err := load(t, file, env)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAStackWithoutItsImageIsRefusedWithAWord(t *testing.T) {
	for file, variable := range map[string]string{"orders/stack.yml": "ORDERS_IMAGE", "rolling/rolling-stack.yml": "ROLLING_AGENT_IMAGE"} {
		if _, err := load(t, file, nil); err == nil || !strings.Contains(err.Error(), variable) {
			t.Errorf("%s: got %v, want a word on %s", file, err, variable)
		}
	}
}

// labels are every label that the contract names.
func labels() []string {
	return []string{contract.Project, contract.Environment, contract.Service, contract.Release,
		contract.DiscoveryNginx, contract.DiscoveryZooKeeper, contract.DiscoveryWeight, contract.AllowFrom, contract.Drain}
}

func TestEachStackUsesOnlyNamesOfTheContract(t *testing.T) {
	files, err := filepath.Glob("*/*stack.yml")
	if err != nil || len(files) < 2 {
		t.Fatalf("stacks: %v, %v", files, err)
	}
	for _, file := range files {
		t.Run(file, func(t *testing.T) {
			p := stack(t, file, map[string]string{"ORDERS_IMAGE": "a", "ROLLING_AGENT_IMAGE": "a"})
			for name, n := range p.Networks {
				if strings.HasPrefix(n.Driver, "rolling/") && n.Driver != contract.PluginNet {
					t.Errorf("network %s: driver %s, want %s", name, n.Driver, contract.PluginNet)
				}
				if n.Driver == contract.PluginNet && n.Ipam.Driver != contract.PluginIPAM {
					t.Errorf("network %s: IPAM driver %q, want %s", name, n.Ipam.Driver, contract.PluginIPAM)
				}
				for key := range n.DriverOpts {
					if !slices.Contains(contract.NetworkOptions(), key) {
						t.Errorf("network %s: %s is no option", name, key)
					}
				}
			}
			for _, s := range p.Services {
				all := s.Labels
				if s.Deploy != nil {
					for k, v := range s.Deploy.Labels {
						all = all.Add(k, v)
					}
				}
				for key := range all {
					if strings.HasPrefix(key, contract.Prefix) && !slices.Contains(labels(), key) {
						t.Errorf("service %s: %s is no label", s.Name, key)
					}
				}
			}
		})
	}
}

func TestOrdersIsOwnedAndOnlySlowlyStopped(t *testing.T) {
	p := stack(t, "orders/stack.yml", map[string]string{"ORDERS_IMAGE": "registry.example/orders/web:1"})
	web, app := p.Services["web"], p.Networks["app"]
	if web.Image != "registry.example/orders/web:1" || *web.Deploy.Replicas != 3 || web.Deploy.EndpointMode != "dnsrr" {
		t.Errorf("image %s, %d replicas, %s", web.Image, *web.Deploy.Replicas, web.Deploy.EndpointMode)
	}
	for _, owned := range []map[string]string{web.Labels, web.Deploy.Labels, app.DriverOpts} {
		if owned[contract.Project] != "orders" || owned[contract.Environment] != "production" {
			t.Errorf("owner %v", owned)
		}
	}
	if app.DriverOpts[contract.Mode] != "routed" || app.Ipam.Config[0].Subnet != "10.210.3.0/24" {
		t.Errorf("network %v of %v", app.DriverOpts, app.Ipam.Config[0])
	}
	const drain = 8 * time.Second // DRAIN in web/config.go
	if time.Duration(*web.StopGracePeriod) <= drain {
		t.Errorf("killed after %s, drains for %s", time.Duration(*web.StopGracePeriod), drain)
	}
	if web.Deploy.UpdateConfig.Order != "start-first" || !slices.Equal(web.HealthCheck.Test, []string{"CMD", "/web", "-healthcheck"}) {
		t.Errorf("updated %s, checked by %v", web.Deploy.UpdateConfig.Order, web.HealthCheck.Test)
	}
}

func TestTheAgentMayDoWhatItNeedsAndNoMore(t *testing.T) {
	p := stack(t, "rolling/rolling-stack.yml", map[string]string{"ROLLING_AGENT_IMAGE": "a", "ROLLING_SET_NET": "ROLLING_ROUTERS=10.0.0.1"})
	agent := p.Services["agent"]
	if agent.Deploy.Mode != "global" || agent.Deploy.UpdateConfig.FailureAction != "rollback" || *agent.Deploy.UpdateConfig.Parallelism != 1 {
		t.Errorf("deployed as %+v", agent.Deploy)
	}
	if n := p.Networks["host"]; !bool(n.External) || n.Name != "host" {
		t.Errorf("network %+v", n)
	}
	if *agent.Environment["ROLLING_SET_NET"] != "ROLLING_ROUTERS=10.0.0.1" || *agent.Environment["ROLLING_SET_IPAM"] != "" {
		t.Errorf("settings %v", agent.Environment)
	}
	var mounts []string
	for _, v := range agent.Volumes {
		mounts = append(mounts, v.Source+":"+v.Target)
	}
	if want := "/var/run/docker.sock:/var/run/docker.sock /var/lib:/host/var/lib"; strings.Join(mounts, " ") != want {
		t.Errorf("mounts %v, want %s", mounts, want)
	}
	if state := *agent.Environment["ROLLING_STATE"]; state != "/host"+contract.StateRoot {
		t.Errorf("the state's folder is %s: the mount shows %s as /host%s", state, contract.StateRoot, contract.StateRoot)
	}
	if !agent.ReadOnly || !slices.Equal(agent.CapDrop, []string{"ALL"}) || agent.Privileged || len(agent.CapAdd) > 0 {
		t.Errorf("read-only %t, drops %v, adds %v", agent.ReadOnly, agent.CapDrop, agent.CapAdd)
	}
}
