package main

import (
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"

	"github.com/rolling-swarm/rolling/internal/settings"
	"github.com/rolling-swarm/rolling/network-driver/fabric"
	"github.com/rolling-swarm/rolling/network-driver/fastpath"
	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// Config is every setting, with a default that works. In the plugin's config.json each is settable.
type Config struct {
	Socket         string        `env:"ROLLING_SOCKET" envDefault:"/run/docker/plugins/net.sock"` // where the engine calls
	State          string        `env:"ROLLING_STATE" envDefault:"/var/lib/rolling/net"`          // folder, mounted from the host
	Engine         string        `env:"ROLLING_ENGINE" envDefault:"unix:///run/docker.sock"`      // asked in the background who the Swarm's members are
	NodeRun        string        `env:"ROLLING_NODE_RUN" envDefault:"/node-run"`                  // the node's /run, in which NetworkManager tells what it manages
	Sandboxes      string        `env:"ROLLING_SANDBOXES" envDefault:"/sandboxes/netns"`          // folder with the containers' network namespaces
	ASN            uint32        `env:"ROLLING_ASN" envDefault:"64512"`                           // of all nodes of the Swarm
	Port           int           `env:"ROLLING_BGP_PORT" envDefault:"1790"`                       // the same on all nodes
	Hold           time.Duration `env:"ROLLING_BGP_HOLD" envDefault:"9s"`                         // a silent neighbour is lost after it; keepalives go three times in it
	MaxPrefixes    uint32        `env:"ROLLING_BGP_MAX_PREFIXES" envDefault:"20000"`              // of one neighbour
	Password       string        `env:"ROLLING_BGP_PASSWORD"`                                     // TCP MD5 inside the Swarm: the name of a file in the state's folder passwords
	TTLSecurity    uint8         `env:"ROLLING_BGP_TTL_SECURITY" envDefault:"0"`                  // nodes are at most so many hops apart; 0: not checked
	Detect         string        `env:"ROLLING_DETECT" envDefault:"100ms"`                        // how often neighbours' kernels are asked whether they are there, or off
	BFD            time.Duration `env:"ROLLING_BFD" envDefault:"100ms"`                           // between two BFD packets to a router that wants them
	Routers        string        `env:"ROLLING_ROUTERS"`                                          // of the site: addr[:port][@asn][+option]…, with commas
	Pools          string        `env:"ROLLING_POOLS"`                                            // prefixes, with commas, outside which no address is taken from a neighbour; empty: any single address
	FastPath       string        `env:"ROLLING_FASTPATH" envDefault:"auto"`                       // auto, bpf, nft or off: how permitted packets pass the firewall's chains
	Outside        string        `env:"ROLLING_OUTSIDE" envDefault:"open"`                        // open or closed: whether the company's other networks may connect to every project
	MetricsAddress string        `env:"ROLLING_METRICS_LISTEN"`                                   // host:port for /metrics, besides the socket in the state's folder
	LogLevel       slog.Level    `env:"ROLLING_LOG_LEVEL" envDefault:"info"`
	IptablesNFT    string        `env:"ROLLING_IPTABLES_NFT" envDefault:"/usr/sbin/iptables-nft"`
	IptablesLegacy string        `env:"ROLLING_IPTABLES_LEGACY" envDefault:"/usr/sbin/iptables-legacy"`

	routers []fabric.Router
	pools   []netip.Prefix
	detect  time.Duration // 0: off
	key     string        // of TCP MD5 inside the Swarm
	keys    map[string]string
}

const (
	// RFC 4271: a hold time is 3 s at least.
	shortestHold = 3 * time.Second
	longestHold  = 90 * time.Second
	// Below the first a busy machine is taken for a dead one; above the second the hold time is as good.
	shortestPulse = 10 * time.Millisecond
	longestPulse  = 2 * time.Second
	longestKey    = 80 // TCP_MD5SIG_MAXKEYLEN of linux/tcp.h
)

// readConfig reads the environment and names all that is wrong with it at once.
func readConfig() (Config, error) {
	c, err := env.ParseAs[Config]()
	if err != nil {
		return c, fmt.Errorf("settings: %w", err)
	}
	return c, c.Validate()
}

// Validate reports all problems at once, and keeps what it read.
func (c *Config) Validate() error {
	var problems settings.Problems
	bad := problems.Add
	if c.ASN == 0 || c.ASN == 23456 || c.ASN == 65535 || c.ASN == 4294967295 {
		bad("ROLLING_ASN", "%d is reserved: want a private number such as 64512", c.ASN)
	}
	if c.Port < 1 || c.Port > 65535 {
		bad("ROLLING_BGP_PORT", "%d is not a port", c.Port)
	}
	if c.Hold < shortestHold || c.Hold > longestHold || c.Hold%time.Second != 0 {
		bad("ROLLING_BGP_HOLD", "%v: want whole seconds from %v to %v", c.Hold, shortestHold, longestHold)
	}
	if c.MaxPrefixes == 0 {
		bad("ROLLING_BGP_MAX_PREFIXES", "0 would take nothing from anybody")
	}
	problems.Sockets(c.Socket, c.StatusSocket())
	problems.Address("ROLLING_METRICS_LISTEN", c.MetricsAddress, ":9324")
	if !slices.Contains(fastpath.Wishes(), fastpath.Wish(c.FastPath)) {
		bad("ROLLING_FASTPATH", "%q is not a path: want one of %v", c.FastPath, fastpath.Wishes())
	}
	if c.Outside != "open" && c.Outside != "closed" {
		bad("ROLLING_OUTSIDE", "%q: want open or closed", c.Outside)
	}
	c.readDetection(bad)
	c.readLists(bad)
	c.readKeys(bad)
	return problems.Err()
}

// StatusSocket is where /metrics, /healthz, /readyz and /debug/state are.
func (c *Config) StatusSocket() string { return filepath.Join(c.State, "net.sock") }

func (c *Config) readLists(bad func(setting, format string, args ...any)) {
	var err error
	if c.routers, err = fabric.ParseRouters(c.Routers, c.ASN); err != nil {
		bad("ROLLING_ROUTERS", "%w", err)
	}
	if c.pools, err = topology.ParsePools(c.Pools); err != nil {
		bad("ROLLING_POOLS", "%w", err)
	}
}

func (c *Config) readDetection(bad func(setting, format string, args ...any)) {
	if c.TTLSecurity == 255 {
		bad("ROLLING_BGP_TTL_SECURITY", "255: want 0 to 254 hops")
	}
	if c.BFD < shortestPulse || c.BFD > longestPulse {
		bad("ROLLING_BFD", "%v: want %v to %v", c.BFD, shortestPulse, longestPulse)
	}
	if c.Detect == "off" {
		return
	}
	var err error
	if c.detect, err = time.ParseDuration(c.Detect); err != nil || c.detect < shortestPulse || c.detect > longestPulse {
		bad("ROLLING_DETECT", "%q: want off, or %v to %v", c.Detect, shortestPulse, longestPulse)
	}
}

// readKeys reads the files that settings name: a password in a setting would show in docker plugin inspect.
func (c *Config) readKeys(bad func(setting, format string, args ...any)) {
	c.keys = map[string]string{}
	read := func(setting, name string) string {
		key, err := c.readKey(name)
		if err != nil {
			bad(setting, "%w", err)
		}
		return key
	}
	if c.Password != "" {
		c.key = read("ROLLING_BGP_PASSWORD", c.Password)
	}
	for _, r := range c.routers {
		if _, known := c.keys[r.Password]; r.Password != "" && !known {
			c.keys[r.Password] = read("ROLLING_ROUTERS", r.Password)
		}
	}
}

func (c *Config) readKey(name string) (string, error) {
	if err := fabric.CheckFileName(name); err != nil {
		return "", fmt.Errorf("%q: %w", name, err)
	}
	text, err := os.ReadFile(filepath.Join(c.State, "passwords", name))
	if err != nil {
		return "", fmt.Errorf("password %q: %w: lay the file on every node that dials", name, err)
	}
	key := strings.TrimRight(string(text), "\r\n")
	if key == "" || len(key) > longestKey {
		return "", fmt.Errorf("password %q: its file holds %d bytes: want 1 to %d", name, len(key), longestKey)
	}
	return key, nil
}
