// Package meter reads the recent measurements of a node's tasks from the metrics plugin's own page. It knows that page's
// form; it measures nothing, and a node without the plugin is one that has no samples.
package meter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/internal/wire"
)

const (
	answerWithin = 3 * time.Second
	// maxPage bounds the plugin's page: some 4 KiB a container, 2,000 containers.
	maxPage = 16 << 20
)

// Reader reads the measurements of this node.
type Reader struct {
	client *http.Client
}

// New makes a Reader that asks the plugin on that socket: metrics/metrics.sock in Rolling's folder of state.
func New(socket string) *Reader {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}
	return &Reader{client: &http.Client{Timeout: answerWithin, Transport: &http.Transport{DisableKeepAlives: true, DialContext: dial}}}
}

// Samples reads those of some tasks. Two containers of one task do not live at once: the last one on the page counts.
func (r *Reader) Samples(ctx context.Context, tasks []string) (wire.Samples, error) {
	p, err := r.page(ctx)
	if err != nil {
		return wire.Samples{}, err
	}
	all := wire.Samples{IntervalSeconds: p.IntervalSeconds, End: p.End, Tasks: map[string]wire.Sample{}}
	for _, c := range p.Containers {
		if c.Task != "" && slices.Contains(tasks, c.Task) {
			all.Tasks[c.Task] = wire.Sample{CPUCores: last(c.CPUCores), MemoryBytes: last(numbers(c.MemoryBytes))}
		}
	}
	return all, nil
}

func last(samples []*float64) []*float64 { return samples[max(0, len(samples)-wire.MaxSamples):] }

func numbers(whole []*uint64) []*float64 {
	all := make([]*float64, len(whole))
	for i, n := range whole {
		if n != nil {
			v := float64(*n)
			all[i] = &v
		}
	}
	return all
}

func (r *Reader) page(ctx context.Context) (contract.Recent, error) {
	var p contract.Recent
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://metrics/recent", nil)
	if err != nil {
		return p, err
	}
	resp, err := r.client.Do(req)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return p, fmt.Errorf("this node has no metrics plugin, or an older one: %w", err)
	case err != nil:
		return p, fmt.Errorf("ask the metrics plugin: %w", err)
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	if resp.StatusCode != http.StatusOK {
		return p, fmt.Errorf("ask the metrics plugin for recent measurements: it answers %s", resp.Status)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxPage)).Decode(&p); err != nil {
		return p, fmt.Errorf("read the metrics plugin's recent measurements: %w", err)
	}
	return p, nil
}
