package rollout

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"sync"
	"time"

	"github.com/rolling-swarm/rolling/lab"
)

const (
	// clients ask at the same time, each again after a pause: enough to see a moment's outage, and little beside the rollout.
	clients = 2
	pause   = 10 * time.Millisecond
	patient = 5 * time.Second
)

// A load sends steady requests and remembers what came of them.
type load struct {
	stop context.CancelFunc
	done sync.WaitGroup

	mu       sync.Mutex // guards the rest
	answers  int
	failures []string
	first    map[string]time.Time // member's address → its first answer
}

// begin asks the upstream through the lab's nginx until the load is ended.
func (b *bench) begin(ctx context.Context, upstream string) *load {
	ctx, stop := context.WithCancel(ctx)
	l := &load{stop: stop, first: map[string]time.Time{}}
	for range clients {
		l.done.Go(func() {
			c := http.Client{Timeout: patient, Transport: &http.Transport{DialContext: b.Lab.DialContext(lab.Router)}}
			defer c.CloseIdleConnections()
			for ctx.Err() == nil {
				member, err := ask(ctx, &c, "http://"+b.Lab.Address(lab.Router).String()+"/", upstream)
				if ctx.Err() != nil {
					return // a request that this process broke off says nothing
				}
				l.note(time.Now(), member, err)
				time.Sleep(pause)
			}
		})
	}
	return l
}

func (l *load) note(at time.Time, member string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.failures = append(l.failures, fmt.Sprintf("%s %v", at.Format("15:04:05.000"), err))
		return
	}
	l.answers++
	if _, seen := l.first[member]; !seen {
		l.first[member] = at
	}
}

// members are those that have answered, and when first.
func (l *load) members() map[string]time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.first)
}

// end stops the load. It may come twice.
func (l *load) end() (requests int, failures []string) {
	l.stop()
	l.done.Wait()
	return l.answers + len(l.failures), l.failures
}

// ask sends one request with the upstream's name as its host, and tells which member answered.
func ask(ctx context.Context, c *http.Client, gateway, upstream string) (member string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, gateway, nil)
	if err != nil {
		return "", err
	}
	req.Host = upstream
	resp, err := c.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close() //nolint:errcheck // read only
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return "", fmt.Errorf("answer of %s: %w", upstream, err)
	}
	var a struct {
		Address string `json:"address"`
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s", resp.Status, body)
	}
	if err := json.Unmarshal(body, &a); err != nil || a.Address == "" {
		return "", fmt.Errorf("answer of %s names no member: %.200q", upstream, body)
	}
	return a.Address, nil
}
