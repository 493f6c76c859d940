package discovery

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/rolling-swarm/rolling/agent/nginx"
	"github.com/rolling-swarm/rolling/agent/swarm"
	"github.com/rolling-swarm/rolling/agent/zookeeper"
)

// Config is discovery's part of the agent's settings; the agent's config.go reads it from the environment.
type Config struct {
	// Nginx are the doors of the nginxes: http://HOST:PORT, https://HOST:PORT or unix:/PATH.
	Nginx []string `env:"ROLLING_NGINX"`
	// NginxToken is shown at these doors; needed unless all are on this machine. The second takes it from a file.
	NginxToken     string `env:"ROLLING_NGINX_TOKEN"`
	NginxTokenFile string `env:"ROLLING_NGINX_TOKEN_FILE,file"`
	// ZooKeeper are the servers of one ensemble: HOST or HOST:PORT.
	ZooKeeper []string `env:"ROLLING_ZOOKEEPER"`
	// ZooKeeperAuth is USER:PASSWORD for digest authentication. The second takes it from a file.
	ZooKeeperAuth     string `env:"ROLLING_ZOOKEEPER_AUTH"`
	ZooKeeperAuthFile string `env:"ROLLING_ZOOKEEPER_AUTH_FILE,file"`
	// Cluster marks what is ours in a ZooKeeper that several Swarms share. Empty means the Swarm's own ID; a name lasts
	// longer than that: a Swarm made anew under the same name clears what the one before left.
	Cluster string `env:"ROLLING_CLUSTER"`
}

// Validate says what is wrong, all problems at once.
func (c Config) Validate() error {
	var problems []error
	if c.NginxToken != "" && c.NginxTokenFile != "" {
		problems = append(problems, errors.New("ROLLING_NGINX_TOKEN and ROLLING_NGINX_TOKEN_FILE are both set: keep one"))
	}
	if c.ZooKeeperAuth != "" && c.ZooKeeperAuthFile != "" {
		problems = append(problems, errors.New("ROLLING_ZOOKEEPER_AUTH and ROLLING_ZOOKEEPER_AUTH_FILE are both set: keep one"))
	}
	if err := nginx.Check(c.Nginx, c.nginxToken()); err != nil {
		problems = append(problems, fmt.Errorf("ROLLING_NGINX: %w", err))
	}
	if len(c.ZooKeeper) > 0 {
		if err := zookeeper.Check(c.ZooKeeper, c.zooKeeperAuth()); err != nil {
			problems = append(problems, fmt.Errorf("ROLLING_ZOOKEEPER: %w", err))
		}
	}
	if strings.ContainsFunc(c.Cluster, notInName) {
		problems = append(problems, fmt.Errorf("ROLLING_CLUSTER=%q: want letters, digits, dots, dashes and underscores", c.Cluster))
	}
	return errors.Join(problems...)
}

func notInName(r rune) bool {
	letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
	return !letter && (r < '0' || r > '9') && !strings.ContainsRune("._-", r)
}

func (c Config) nginxToken() string {
	if c.NginxTokenFile != "" {
		return strings.TrimSpace(c.NginxTokenFile)
	}
	return c.NginxToken
}

func (c Config) zooKeeperAuth() string {
	if c.ZooKeeperAuthFile != "" {
		return strings.TrimSpace(c.ZooKeeperAuthFile)
	}
	return c.ZooKeeperAuth
}

// Open makes the Loop of the settings, for the engine at that address (unix:///var/run/docker.sock) and the node of that
// name. It connects to nothing.
func Open(c Config, engine, node string, log *slog.Logger) (*Loop, error) {
	if node == "" || strings.ContainsFunc(node, notInName) {
		return nil, fmt.Errorf("discovery: node name %q: want letters, digits, dots, dashes and underscores", node)
	}
	observer, err := swarm.New(engine)
	if err != nil {
		return nil, err
	}
	var registries []Registry
	if len(c.Nginx) > 0 {
		fleet, err := nginx.New(c.Nginx, c.nginxToken(), log)
		if err != nil {
			return nil, err
		}
		registries = append(registries, fleet)
	}
	if len(c.ZooKeeper) > 0 {
		register, err := zookeeper.New(c.ZooKeeper, c.zooKeeperAuth(), log)
		if err != nil {
			return nil, err
		}
		registries = append(registries, register)
	}
	return New(observer, registries, node, c.Cluster, log), nil
}
