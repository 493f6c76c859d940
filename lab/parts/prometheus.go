package parts

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/rolling-swarm/rolling/internal/contract"
)

const prometheusPort = "9090"

// prometheus is Debian's own, scraping the exporter of every node.
func prometheus() Part {
	return Part{
		Name:     "prometheus",
		Does:     "Prometheus on port " + prometheusPort + " of the router, scraping rolling/metrics on every node",
		Packages: []string{"prometheus"},
		Within:   30 * time.Second,
		Prepare: func(_ context.Context, s Site) (Program, error) {
			file := filepath.Join(s.Folder, "prometheus.yml")
			if err := os.WriteFile(file, []byte(prometheusConfig(s)), 0o644); err != nil {
				return Program{}, fmt.Errorf("prometheus: %w", err)
			}
			return Program{Path: "prometheus", Args: []string{"--config.file=" + file, "--storage.tsdb.path=" + filepath.Join(s.Folder, "data"),
				"--web.listen-address=" + net.JoinHostPort(s.Router.String(), prometheusPort), "--storage.tsdb.retention.time=1d", "--log.level=warn"}}, nil
		},
		Ready: func(ctx context.Context, s Site) error { return answers(ctx, s, Prometheus(s)+"/-/ready") },
	}
}

// Prometheus is its address.
func Prometheus(s Site) string {
	return "http://" + net.JoinHostPort(s.Router.String(), prometheusPort)
}

func prometheusConfig(s Site) string {
	var targets []string
	for _, a := range append(append(s.Managers[:0:0], s.Managers...), s.Workers...) {
		targets = append(targets, strconv.Quote(net.JoinHostPort(a.String(), strconv.Itoa(contract.MetricsPort))))
	}
	return fmt.Sprintf(`global: {scrape_interval: 2s, scrape_timeout: 2s}
scrape_configs:
  - job_name: rolling
    static_configs: [{targets: [%s]}]
`, strings.Join(targets, ", "))
}
