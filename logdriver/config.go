package main

import (
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/internal/settings"
	"github.com/rolling-swarm/rolling/logdriver/kafka"
	"github.com/rolling-swarm/rolling/logdriver/route"
)

// Config is every setting, with a default that works. In the plugin's config.json each is settable.
type Config struct {
	Socket        string        `env:"ROLLING_SOCKET" envDefault:"/run/docker/plugins/log.sock"` // where the engine calls
	State         string        `env:"ROLLING_STATE" envDefault:"/var/lib/rolling/log"`          // folder, mounted from the host
	Pipes         string        `env:"ROLLING_PIPES" envDefault:"/run/docker/logging"`           // where the engine makes its pipes
	Brokers       []string      `env:"ROLLING_KAFKA_BROKERS"`                                    // host:port with commas; empty: lines stay in the spool
	TLS           bool          `env:"ROLLING_KAFKA_TLS" envDefault:"false"`
	CAFile        string        `env:"ROLLING_KAFKA_CA_FILE"`   // PEM, below the state's folder; empty: the system's authorities
	CertFile      string        `env:"ROLLING_KAFKA_CERT_FILE"` // the plugin's own certificate, and its key
	KeyFile       string        `env:"ROLLING_KAFKA_KEY_FILE"`
	SASL          string        `env:"ROLLING_KAFKA_SASL"` // PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512; empty: no password
	User          string        `env:"ROLLING_KAFKA_USER"`
	PasswordFile  string        `env:"ROLLING_KAFKA_PASSWORD_FILE" envDefault:"kafka.password"` // below the state's folder, read at each connection
	Compression   string        `env:"ROLLING_KAFKA_COMPRESSION" envDefault:"snappy"`           // none, snappy, lz4, zstd, gzip
	Linger        time.Duration `env:"ROLLING_KAFKA_LINGER" envDefault:"20ms"`                  // how long a request waits for more lines
	CreateTopics  bool          `env:"ROLLING_KAFKA_CREATE_TOPICS" envDefault:"true"`
	Partitions    int32         `env:"ROLLING_KAFKA_PARTITIONS" envDefault:"-1"`  // of a topic that is made; -1: the broker's default
	Replication   int16         `env:"ROLLING_KAFKA_REPLICATION" envDefault:"-1"` // likewise
	Buffer        string        `env:"ROLLING_KAFKA_BUFFER" envDefault:"64m"`     // lines on their way, in memory
	SpoolMax      string        `env:"ROLLING_SPOOL_MAX" envDefault:"4g"`         // of all containers together
	ContainerMax  string        `env:"ROLLING_SPOOL_CONTAINER_MAX" envDefault:"512m"`
	Keep          string        `env:"ROLLING_KEEP" envDefault:"16m"`     // of each container, for docker logs, beside what Kafka lacks
	KeepFor       time.Duration `env:"ROLLING_KEEP_FOR" envDefault:"24h"` // after the container ended
	Cluster       string        `env:"ROLLING_CLUSTER"`                   // {{.Cluster}} in templates
	MetricsListen string        `env:"ROLLING_METRICS_LISTEN"`            // host:port for /metrics, besides the socket in the state's folder
	LogLevel      slog.Level    `env:"ROLLING_LOG_LEVEL" envDefault:"info"`
	Build         string        `env:"ROLLING_BUILD"` // digest of the bundle, shown in /debug/state

	buffer, spoolMax, containerMax, keep int64
}

const (
	leastBuffer   = 1 << 20
	longestLinger = 5 * time.Second
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
	problems.Sockets(c.Socket, c.StatusSocket())
	problems.Folder("ROLLING_PIPES", c.Pipes)
	problems.Address("ROLLING_METRICS_LISTEN", c.MetricsListen, ":9325")
	c.checkSpool(bad)
	c.checkKafka(bad)
	return problems.Err()
}

func (c *Config) checkSpool(bad func(setting, format string, args ...any)) {
	for _, s := range []struct {
		name, text string
		into       *int64
		least      int64
	}{
		{"ROLLING_KAFKA_BUFFER", c.Buffer, &c.buffer, leastBuffer}, {"ROLLING_SPOOL_MAX", c.SpoolMax, &c.spoolMax, 16 * route.LeastSpool},
		{"ROLLING_SPOOL_CONTAINER_MAX", c.ContainerMax, &c.containerMax, route.LeastSpool}, {"ROLLING_KEEP", c.Keep, &c.keep, 0},
	} {
		n, err := route.Size(s.text)
		switch {
		case err != nil:
			bad(s.name, "%w", err)
		case n < s.least:
			bad(s.name, "%q: want at least %d bytes", s.text, s.least)
		}
		*s.into = n
	}
	if c.containerMax > c.spoolMax {
		bad("ROLLING_SPOOL_CONTAINER_MAX", "%q: is more than ROLLING_SPOOL_MAX (%s)", c.ContainerMax, c.SpoolMax)
	}
	if c.KeepFor < 0 {
		bad("ROLLING_KEEP_FOR", "%s: want 0s or more", c.KeepFor)
	}
}

func (c *Config) checkKafka(bad func(setting, format string, args ...any)) {
	for _, b := range c.Brokers {
		if _, _, err := net.SplitHostPort(b); err != nil {
			bad("ROLLING_KAFKA_BROKERS", "%q: want host:port", b)
		}
	}
	known := []string{"", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"}
	switch {
	case !slices.Contains(known, c.SASL):
		near := contract.Nearest(c.SASL, known[1:])
		bad("ROLLING_KAFKA_SASL", "%q: want PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512; nearest: %q", c.SASL, near)
	case c.SASL != "" && c.User == "":
		bad("ROLLING_KAFKA_USER", "is empty: %s needs one", c.SASL)
	case c.SASL == "" && c.User != "":
		bad("ROLLING_KAFKA_SASL", "is empty, and ROLLING_KAFKA_USER is %q: say how the password is given", c.User)
	}
	if codecs := []string{"none", "snappy", "lz4", "zstd", "gzip"}; !slices.Contains(codecs, c.Compression) {
		bad("ROLLING_KAFKA_COMPRESSION", "%q: want %s", c.Compression, strings.Join(codecs, ", "))
	}
	if c.Linger < 0 || c.Linger > longestLinger {
		bad("ROLLING_KAFKA_LINGER", "%s: want 0s to %s", c.Linger, longestLinger)
	}
	if c.Partitions == 0 || c.Partitions < -1 {
		bad("ROLLING_KAFKA_PARTITIONS", "%d: want 1 or more, or -1 for the broker's default", c.Partitions)
	}
	if c.Replication == 0 || c.Replication < -1 {
		bad("ROLLING_KAFKA_REPLICATION", "%d: want 1 or more, or -1 for the broker's default", c.Replication)
	}
	if (c.CertFile == "") != (c.KeyFile == "") {
		bad("ROLLING_KAFKA_CERT_FILE", "%q with ROLLING_KAFKA_KEY_FILE %q: want both or none", c.CertFile, c.KeyFile)
	}
	for setting, file := range map[string]*string{"ROLLING_KAFKA_CA_FILE": &c.CAFile, "ROLLING_KAFKA_CERT_FILE": &c.CertFile,
		"ROLLING_KAFKA_KEY_FILE": &c.KeyFile, "ROLLING_KAFKA_PASSWORD_FILE": &c.PasswordFile} {
		path, err := c.below(*file)
		if err != nil {
			bad(setting, "%w", err)
		}
		*file = path
	}
}

// below makes a path of a file's name. Only what lies below the state's folder is seen by the plugin.
func (c *Config) below(file string) (string, error) {
	if file == "" {
		return "", nil
	}
	path := file
	if !filepath.IsAbs(path) {
		path = filepath.Join(c.State, path)
	}
	if rel, err := filepath.Rel(c.State, path); err != nil || !filepath.IsLocal(rel) {
		return file, fmt.Errorf("%q: want a file below %s, which is all that the plugin sees of the host", file, c.State)
	}
	return path, nil
}

// StatusSocket is where /metrics, /healthz, /readyz and /debug/state are.
func (c *Config) StatusSocket() string { return filepath.Join(c.State, "log.sock") }

// kafka are the settings of the client.
func (c *Config) kafka() kafka.Settings {
	return kafka.Settings{
		Brokers: c.Brokers, TLS: c.TLS, CAFile: c.CAFile, CertFile: c.CertFile, KeyFile: c.KeyFile,
		Mechanism: c.SASL, User: c.User, PasswordFile: c.PasswordFile, Compression: c.Compression, Linger: c.Linger,
		Create: c.CreateTopics, Partitions: c.Partitions, Replication: c.Replication,
	}
}
