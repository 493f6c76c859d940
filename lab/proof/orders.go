package proof

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/rolling-swarm/rolling/lab/parts"
)

const ordersService = "orders_web"

// An answer is what an instance of examples/orders says of itself and of who asked.
type answer struct {
	Hostname string `json:"hostname"`
	Address  string `json:"address"`
	Remote   string `json:"remote"`
	Release  string `json:"release"`
}

// ask sends one request to an instance of orders from the router's network.
func (w *World) ask(ctx context.Context, to netip.Addr, path string) (answer, error) {
	c := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DialContext: w.Lab.DialContext("router"), DisableKeepAlives: true}}
	target := fmt.Sprintf("http://%s:8080%s", to, path)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return answer{}, err
	}
	resp, err := c.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return answer{}, fmt.Errorf("GET %s: %w", target, err)
	}
	var a answer
	if resp.StatusCode != http.StatusOK {
		return a, fmt.Errorf("GET %s: %s: %s", target, resp.Status, body)
	}
	if err := json.Unmarshal(body, &a); err != nil {
		return a, fmt.Errorf("GET %s: %w: %s", target, err, body)
	}
	return a, nil
}

// askThrough has one instance ask another, and returns what the other said.
func (w *World) askThrough(ctx context.Context, through, to netip.Addr) (answer, error) {
	return w.ask(ctx, through, "/peer?url="+url.QueryEscape(fmt.Sprintf("http://%s:8080/", to)))
}

// getFromRouter fetches a page from the router's network, with the token of the lab's nginx.
func (w *World) getFromRouter(ctx context.Context, target string) (string, error) {
	c := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DialContext: w.Lab.DialContext("router"), DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer "+parts.NginxToken)
	resp, err := c.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 8<<20))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s: %s", target, resp.Status, body)
	}
	return string(body), err
}
