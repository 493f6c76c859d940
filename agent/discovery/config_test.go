package discovery

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caarlos0/env/v11"
)

func TestConfigReadsTheEnvironment(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := env.ParseAsWithOptions[Config](env.Options{Environment: map[string]string{
		"ROLLING_NGINX": "http://10.0.0.5:8082,unix:/run/nginx.sock", "ROLLING_NGINX_TOKEN_FILE": file,
		"ROLLING_ZOOKEEPER": "zk1:2181,zk2", "ROLLING_ZOOKEEPER_AUTH": "rolling:secret", "ROLLING_CLUSTER": "dc1"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	if len(c.Nginx) != 2 || c.nginxToken() != "secret" || len(c.ZooKeeper) != 2 || c.zooKeeperAuth() != "rolling:secret" || c.Cluster != "dc1" {
		t.Errorf("got %+v", c)
	}
	l, err := Open(c, "unix:///var/run/docker.sock", "n1", slog.New(slog.DiscardHandler))
	if err != nil || len(l.registries) != 2 {
		t.Errorf("got %v, %v", l, err)
	}
	if _, err := Open(c, "unix:///var/run/docker.sock", "", slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a node without a name was accepted")
	}
}

func TestConfigReportsAllProblemsAtOnce(t *testing.T) {
	if err := (Config{}).Validate(); err != nil {
		t.Errorf("without settings: %v", err)
	}
	c := Config{Nginx: []string{"10.0.0.5"}, NginxToken: "a", NginxTokenFile: "b", ZooKeeper: []string{"zk1:x"}, ZooKeeperAuth: "a", ZooKeeperAuthFile: "b:c", Cluster: "a/b"}
	err := c.Validate()
	if err == nil {
		t.Fatal("no problem")
	}
	for _, want := range []string{"ROLLING_NGINX: ", "ROLLING_NGINX_TOKEN_FILE", "ROLLING_ZOOKEEPER: ", "ROLLING_ZOOKEEPER_AUTH_FILE", "ROLLING_CLUSTER"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not name %s", err, want)
		}
	}
}
