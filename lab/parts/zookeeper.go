package parts

import (
	"context"
	_ "embed" // pom.xml
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

//go:embed zookeeper/pom.xml
var zookeeperPom string

const zookeeperPort = "2181"

// zookeeper is one server of ZooKeeper. It forces no write to the disk: the lab proves nothing about that.
func zookeeper() Part {
	return Part{
		Name:     "zookeeper",
		Does:     "ZooKeeper on port " + zookeeperPort + " of the router",
		Packages: []string{"default-jre-headless", "maven"},
		Within:   40 * time.Second,
		Prepare: func(ctx context.Context, s Site) (Program, error) {
			libraries, err := jars(ctx, s.Cache, "zookeeper", zookeeperPom)
			if err != nil {
				return Program{}, err
			}
			file := filepath.Join(s.Folder, "zoo.cfg")
			if err := os.WriteFile(file, []byte(zookeeperConfig(s)), 0o644); err != nil {
				return Program{}, fmt.Errorf("zookeeper: %w", err)
			}
			return Program{Path: "java", Args: []string{"-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-Dzookeeper.forceSync=no",
				"-cp", libraries + "/*", "org.apache.zookeeper.server.quorum.QuorumPeerMain", file}}, nil
		},
		Ready: zookeeperAnswers,
	}
}

// zookeeperConfig: without enableServer=false it takes port 8080 of every address; the short tick allows the short
// sessions of tests.
func zookeeperConfig(s Site) string {
	return fmt.Sprintf(`tickTime=500
initLimit=10
syncLimit=5
dataDir=%s/data
clientPort=%s
clientPortAddress=%s
minSessionTimeout=1000
maxSessionTimeout=60000
maxClientCnxns=0
admin.enableServer=false
4lw.commands.whitelist=ruok,srvr,mntr
snapshot.trust.empty=true
`, s.Folder, zookeeperPort, s.Router)
}

// ZooKeeperAddress is where clients connect.
func ZooKeeperAddress(s Site) string { return s.Router.String() + ":" + zookeeperPort }

// zookeeperAnswers: the port answers before the server serves, so a mere answer is too early.
func zookeeperAnswers(ctx context.Context, s Site) error {
	conn, err := s.Dial(ctx, "tcp", ZooKeeperAddress(s))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return err
		}
	}
	if _, err := io.WriteString(conn, "srvr"); err != nil {
		return err
	}
	text, err := io.ReadAll(conn)
	if err != nil {
		return err
	}
	if !strings.Contains(string(text), "Mode: standalone") {
		return fmt.Errorf("zookeeper: it does not serve yet: %.80q", text)
	}
	return nil
}
