package lab

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/plugin"
	"github.com/moby/moby/api/types/swarm"
	"github.com/moby/moby/client"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/internal/worker"
	"github.com/rolling-swarm/rolling/lab/parts"
)

// DashboardPort is where the manager's dashboard is, on the loopback of its node.
const DashboardPort = 2400

const (
	stack = "rolling"
	// onNode is where nodes see what stage has laid into the lab's shared folder.
	onNode = "/lab/install"
	// installWithin covers the 20 s after which a node tells Swarm of a new plugin, and an upgrade of each.
	installWithin = 180 * time.Second
)

// Install builds this checkout and puts it on the lab's Swarm: plugins and the agent, through the agent's own
// stack file. Where an older build is installed, it is an upgrade.
func (l *Lab) Install(ctx context.Context) error {
	unlock, err := l.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	r, err := l.readRecord()
	if err != nil {
		return err
	}
	if err := l.stage(ctx); err != nil {
		return err
	}
	if err := l.waitReady(ctx, r); err != nil {
		return err
	}
	if err := l.loadImages(ctx, r); err != nil {
		return err
	}
	return l.deploy(ctx, r)
}

// settings are what the lab says to the programs: which images, that its router is a BGP neighbour, and where the parts
// nginx and zookeeper are or will be.
func (l *Lab) settings() ([]string, error) {
	agent, err := l.image("agent")
	if err != nil {
		return nil, err
	}
	manager, err := l.image("manager")
	if err != nil {
		return nil, err
	}
	site := parts.Site{Router: routerAddr}
	return append([]string{
		"ROLLING_AGENT_IMAGE=" + agent, "ROLLING_MANAGER_IMAGE=" + manager,
		"ROLLING_LISTEN=127.0.0.1:" + strconv.Itoa(DashboardPort), // in a lab, root is alone on its nodes
		"ROLLING_NGINX=" + parts.NginxDoor(site),
		"ROLLING_ZOOKEEPER=" + parts.ZooKeeperAddress(site),
	}, pluginSettings()...), nil
}

// pluginSettings tells rolling/net of the router, rolling/log of the part kafka and rolling/metrics of the part graphite,
// whether or not they are on. BFD is slow: the whole Swarm and its router share two processors, and a router that is kept
// waiting for half a second would drop all its sessions at once.
func pluginSettings() []string {
	return []string{
		"ROLLING_SET_NET=ROLLING_ROUTERS=" + routerAddr.String() + "+bfd ROLLING_BFD=500ms",
		"ROLLING_SET_LOG=ROLLING_KAFKA_BROKERS=" + parts.KafkaAddress(parts.Site{Router: routerAddr}) + " ROLLING_CLUSTER=" + MetricsCluster,
		fmt.Sprintf("ROLLING_SET_METRICS=ROLLING_GRAPHITE=%s ROLLING_INTERVAL=%s ROLLING_CLUSTER=%s ROLLING_METRICS_LISTEN=:%d",
			parts.GraphiteAddress(parts.Site{Router: routerAddr}), parts.GraphiteStep, MetricsCluster, contract.MetricsPort),
	}
}

// MetricsCluster is what Graphite's paths and topic templates call a lab's Swarm.
const MetricsCluster = "lab"

// loadEarly puts the plugins on nodes before they join the Swarm: a node tells Swarm of a plugin that comes
// later only after up to 20 s.
func (l *Lab) loadEarly(ctx context.Context, r record) error {
	started := time.Now()
	err := each(ctx, r.nodes(), func(ctx context.Context, node string) error {
		in, err := l.inSwarm(ctx, node)
		if err != nil || in {
			return err
		}
		load := append(append([]string{"env"}, pluginSettings()...), onNode+"/agent", "load", "--bundles", onNode+"/plugins")
		if _, err := l.Exec(ctx, node, load...); err != nil {
			return fmt.Errorf("load the plugins: %w", err)
		}
		return nil
	})
	l.logf("plugins loaded in %.1f s", time.Since(started).Seconds())
	return err
}

func (l *Lab) inSwarm(ctx context.Context, node string) (bool, error) {
	in := false
	err := l.with(node, func(c *client.Client) error {
		got, err := c.Info(ctx, client.InfoOptions{})
		in = got.Info.Swarm.LocalNodeState == swarm.LocalNodeStateActive
		return err
	})
	return in, err
}

// installed says that an earlier run has staged images here.
func (l *Lab) installed() bool {
	_, err := os.Stat(l.folder("shared", "install", "agent.tar"))
	return err == nil
}

// loadImages lays the agent's image on every node that has not this one yet, and the manager's on the node that it is
// bound to.
func (l *Lab) loadImages(ctx context.Context, r record) error {
	return each(ctx, r.nodes(), func(ctx context.Context, node string) error {
		if err := l.loadImage(ctx, node, "agent"); err != nil {
			return err
		}
		if node != r.nodes()[0] {
			return nil
		}
		return l.loadImage(ctx, node, "manager")
	})
}

func (l *Lab) loadImage(ctx context.Context, node, program string) error {
	image, err := l.image(program)
	if err != nil {
		return err
	}
	if _, err := l.Docker(ctx, node, "image", "inspect", image); err == nil {
		return nil
	}
	if _, err := l.Docker(ctx, node, "load", "-q", "-i", onNode+"/"+program+".tar"); err != nil {
		return fmt.Errorf("load the image of %s: %w", program, err)
	}
	_, err = l.Docker(ctx, node, "tag", "rolling/"+program+":dev", image)
	return err
}

// deploy deploys the stack, and waits until all of it is at work.
func (l *Lab) deploy(ctx context.Context, r record) error {
	env, err := l.settings()
	if err != nil {
		return err
	}
	leader, err := l.Leader(ctx)
	if err != nil {
		return fmt.Errorf("deploy the stack: %w", err)
	}
	if _, err := l.Docker(ctx, leader, "node", "update", "--label-add", "rolling.manager=true", r.nodes()[0]); err != nil {
		return fmt.Errorf("bind the manager to %s: %w", r.nodes()[0], err)
	}
	if _, err := l.Exec(ctx, leader, onNode+"/rolling", "line", "init"); err != nil {
		return fmt.Errorf("make the line's secrets: %w", err)
	}
	if err := l.makeNginxToken(ctx, leader); err != nil {
		return err
	}
	deploy := append(append([]string{"env"}, env...), "docker", "stack", "deploy", "--resolve-image", "never",
		"-c", onNode+"/rolling-stack.yml", "-c", onNode+"/nginx.yml", stack)
	if _, err := l.Exec(ctx, leader, deploy...); err != nil {
		return fmt.Errorf("deploy the stack: %w", err)
	}
	l.logf("stack %s deployed: %s", stack, strings.Join(env[:2], " "))
	return l.Eventually(ctx, installWithin, "manager, agents and plugins on every node", func() error {
		return errors.Join(l.stackRuns(ctx, r, leader), l.pluginsKnown(ctx, r))
	})
}

// makeNginxToken keeps what the part nginx wants to see as the secret that the stack names.
func (l *Lab) makeNginxToken(ctx context.Context, leader string) error {
	const name = "rolling-nginx-token"
	if _, err := l.Docker(ctx, leader, "secret", "inspect", name); err == nil {
		return nil
	}
	cmd := l.Command(ctx, leader, "docker", "secret", "create", name, "-")
	cmd.Stdin = strings.NewReader(parts.NginxToken)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("make secret %s: %w: %s", name, err, out)
	}
	return nil
}

// image is a name of a program's image that changes with its content, so that a new build is a change to Swarm.
func (l *Lab) image(program string) (string, error) {
	f, err := os.Open(l.folder("shared", "install", program+".tar"))
	if err != nil {
		return "", fmt.Errorf("image of %s: %w", program, err)
	}
	defer f.Close() //nolint:errcheck // read only
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("image of %s: %w", program, err)
	}
	return "rolling/" + program + ":dev-" + hex.EncodeToString(h.Sum(nil))[:12], nil
}

// stackRuns: of the stack's global service a task with the agent's image runs on every node, and one of the manager.
func (l *Lab) stackRuns(ctx context.Context, r record, leader string) error {
	agent, err := l.image("agent")
	if err != nil {
		return err
	}
	manager, err := l.image("manager")
	if err != nil {
		return err
	}
	return l.with(leader, func(c *client.Client) error {
		services, err := c.ServiceList(ctx, client.ServiceListOptions{Filters: make(client.Filters).Add("label", "com.docker.stack.namespace="+stack)})
		if err != nil {
			return err
		}
		if len(services.Items) != 2 {
			return fmt.Errorf("stack %s has %d services, want agent and manager", stack, len(services.Items))
		}
		for _, s := range services.Items {
			image, want := agent, len(r.nodes())
			if s.Spec.Mode.Global == nil {
				image, want = manager, 1
			}
			tasks, err := c.TaskList(ctx, client.TaskListOptions{Filters: make(client.Filters).Add("service", s.ID)})
			if err != nil {
				return err
			}
			if err := runs(tasks.Items, image, want); err != nil {
				return fmt.Errorf("service %s%s: %w", s.Spec.Name, story(s), err)
			}
		}
		return nil
	})
}

// story is what the Swarm says of the service's last update: a rollback is the usual end of a build that is ill.
func story(s swarm.Service) string {
	if s.UpdateStatus == nil {
		return ""
	}
	return fmt.Sprintf(" (%s: %s)", s.UpdateStatus.State, s.UpdateStatus.Message)
}

func runs(tasks []swarm.Task, image string, want int) error {
	on := map[string]bool{}
	trouble := ""
	for _, t := range tasks {
		if t.Status.State == swarm.TaskStateRunning && t.DesiredState == swarm.TaskStateRunning && t.Spec.ContainerSpec != nil && t.Spec.ContainerSpec.Image == image {
			on[t.NodeID] = true
		} else if t.Status.Err != "" {
			trouble = ": " + t.Status.Err
		}
	}
	if len(on) < want {
		return fmt.Errorf("%s runs on %d of %d nodes%s", image, len(on), want, trouble)
	}
	return nil
}

// pluginsKnown: each bundle is enabled on each node in this build, and Swarm knows that the node has it.
func (l *Lab) pluginsKnown(ctx context.Context, r record) error {
	builds, err := bundles(l.folder("shared", "install", "plugins"))
	if err != nil {
		return err
	}
	nodes, _, err := l.swarmNodes(ctx, r.nodes()[:r.Managers])
	if err != nil {
		return err
	}
	var errs []error
	for plugin, build := range builds {
		for _, node := range r.nodes() {
			if err := l.pluginOn(ctx, node, plugin, build); err != nil {
				errs = append(errs, err)
				continue
			}
			if !slices.ContainsFunc(nodes, func(n swarm.Node) bool { return n.Description.Hostname == node && tells(n, plugin) }) {
				errs = append(errs, fmt.Errorf("%s: Swarm does not know of plugin %s yet", node, plugin))
			}
		}
	}
	return errors.Join(errs...)
}

func tells(n swarm.Node, plugin string) bool {
	return n.Status.State == swarm.NodeStateReady &&
		slices.ContainsFunc(n.Description.Engine.Plugins, func(p swarm.PluginDescription) bool { return p.Name == plugin })
}

func (l *Lab) pluginOn(ctx context.Context, node, plugin, build string) error {
	return l.with(node, func(c *client.Client) error {
		got, err := c.PluginInspect(ctx, plugin, client.PluginInspectOptions{})
		if err != nil {
			return fmt.Errorf("%s: plugin %s: %w", node, plugin, err)
		}
		if !got.Plugin.Enabled {
			return fmt.Errorf("%s: plugin %s is not enabled", node, plugin)
		}
		runs, err := l.PluginBuild(node, got.Plugin)
		if err == nil && build != "" && runs != build {
			err = fmt.Errorf("%s: plugin %s is of build %q, not %s", node, plugin, runs, build)
		}
		return err
	})
}

// PluginBuild is the build of the program that runs as the plugin on that node: what the engine knows, or, where a
// launcher runs it, what that says.
func (l *Lab) PluginBuild(node string, p plugin.Plugin) (string, error) {
	build, launched := "", false
	for _, e := range p.Settings.Env {
		name, value, _ := strings.Cut(e, "=")
		if name == contract.BuildVariable {
			build = value
		}
		launched = launched || name == contract.FrameVariable
	}
	if !launched {
		return build, nil
	}
	name, _, _ := strings.Cut(path.Base(p.Name), ":")
	folder, err := l.Path(node, path.Join(contract.StateRoot, name, worker.Folder))
	if err != nil {
		return "", err
	}
	s, err := worker.ReadStatus(folder)
	if err == nil && s.Build == "" {
		return build, nil
	}
	return s.Build, err
}

// bundles reads which plugins a folder of bundles holds, and each one's build.
func bundles(folder string) (map[string]string, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*", "config.json"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("no bundle under %s: make plugins makes them", folder)
	}
	builds := map[string]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("bundle: %w", err)
		}
		var config struct {
			Env []struct{ Name, Value string }
		}
		if err := json.Unmarshal(text, &config); err != nil {
			return nil, fmt.Errorf("bundle %s: %w", file, err)
		}
		plugin := "rolling/" + filepath.Base(filepath.Dir(file)) + ":latest"
		builds[plugin] = ""
		for _, e := range config.Env {
			if strings.EqualFold(e.Name, contract.BuildVariable) {
				builds[plugin] = e.Value
			}
		}
	}
	return builds, nil
}
