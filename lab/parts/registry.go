package parts

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

const registryPort = "5000"

// registry is the company's image registry: Debian's docker-registry, plain HTTP, deletion allowed.
func registry() Part {
	return Part{
		Name:     "registry",
		Does:     "image registry on port " + registryPort + " of the router",
		Packages: []string{"docker-registry"},
		Within:   20 * time.Second,
		Prepare: func(_ context.Context, s Site) (Program, error) {
			file := filepath.Join(s.Folder, "config.yml")
			if err := os.WriteFile(file, []byte(registryConfig(s)), 0o644); err != nil {
				return Program{}, fmt.Errorf("registry: %w", err)
			}
			return Program{Path: "docker-registry", Args: []string{"serve", file}}, nil
		},
		Ready: func(ctx context.Context, s Site) error {
			return answers(ctx, s, "http://"+net.JoinHostPort(s.Router.String(), registryPort)+"/v2/")
		},
	}
}

func registryConfig(s Site) string {
	return fmt.Sprintf(`version: 0.1
log: {level: warn}
storage:
  filesystem: {rootdirectory: %s}
  delete: {enabled: true}
http:
  addr: %s
`, filepath.Join(s.Folder, "data"), net.JoinHostPort(s.Router.String(), registryPort))
}

// answers is nil when the address answers with 200 in the router's network.
func answers(ctx context.Context, s Site, url string) error {
	c := http.Client{Transport: &http.Transport{DialContext: s.Dial, DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // read only
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, resp.Status)
	}
	return nil
}
