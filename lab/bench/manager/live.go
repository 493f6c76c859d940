package manager

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/client"

	"github.com/rolling-swarm/rolling/lab/bench/figure"
	"github.com/rolling-swarm/rolling/lab/bench/orders"
)

const (
	// tellWithin is far above what an event may take.
	tellWithin = 30 * time.Second
	// quietFor ends a round: Swarm's own work on the change before is over.
	quietFor = 4 * time.Second
)

// told is the stream of events of one environment.
type told struct {
	changed chan time.Time
	close   func()
}

// follow opens the stream; each moment is that of an event that Swarm's state has changed.
func (b *bench) follow(ctx context.Context) (*told, error) {
	ctx, cancel := context.WithCancel(ctx)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://manager/api/v1/events?project="+orders.Name+"&environment="+orders.Environment, nil)
	if err != nil {
		cancel()
		return nil, err
	}
	endless := *b.api.c
	endless.Timeout = 0
	got, err := endless.Do(r) //nolint:bodyclose // the reader below closes it
	if err != nil {
		cancel()
		return nil, fmt.Errorf("follow events: %w", err)
	}
	t := &told{changed: make(chan time.Time, 1000), close: cancel}
	go func() {
		defer got.Body.Close() //nolint:errcheck // only read
		defer close(t.changed)
		for lines := bufio.NewScanner(got.Body); lines.Scan(); {
			if lines.Text() == "event: environment.changed" {
				select {
				case t.changed <- time.Now():
				default: // nobody counts that many
				}
			}
		}
	}()
	return t, nil
}

// quiet waits until nothing has been told for a while.
func (t *told) quiet() {
	for {
		select {
		case _, more := <-t.changed:
			if !more {
				return
			}
		case <-time.After(quietFor):
			return
		}
	}
}

// after changes something and gives the time until it is told, from the moment before the change was asked for.
func (t *told) after(change func() error) (time.Duration, error) {
	t.quiet()
	begun := time.Now()
	if err := change(); err != nil {
		return 0, err
	}
	select {
	case at, more := <-t.changed:
		if !more {
			return 0, errors.New("the stream of events has ended")
		}
		return at.Sub(begun), nil
	case <-time.After(tellWithin):
		return 0, fmt.Errorf("no event within %s", tellWithin)
	}
}

// events measures how soon a listener is told of what others do in the Swarm.
func (b *bench) events(ctx context.Context) ([]figure.Figure, error) {
	if b.api.c == nil {
		return nil, errors.New("orders is not on the lab")
	}
	t, err := b.follow(ctx)
	if err != nil {
		return nil, err
	}
	defer t.close()
	var counts, ends []time.Duration
	for i := range 2 * b.set.Changes { // back and forth
		took, err := t.after(func() error { return b.scale(ctx, orders.Tasks+1-i%2) })
		if err != nil {
			return nil, err
		}
		counts = append(counts, took)
	}
	for range b.set.Changes {
		took, err := t.after(func() error { return b.kill(ctx) })
		if err != nil {
			return nil, err
		}
		ends = append(ends, took)
	}
	t.quiet()
	count, err := figure.Spread("manager.event_ms", "ms", figure.Milliseconds(counts), "a service scaled by hand, from before the engine is asked until a listener of the manager's events has it")
	if err != nil {
		return nil, err
	}
	end, err := figure.Spread("manager.event_task_ms", "ms", figure.Milliseconds(ends), "a container killed, from before docker kill until a listener has it: Swarm has no events of tasks, so they are polled")
	return []figure.Figure{count, end}, err
}

// scale changes the count as docker service scale does.
func (b *bench) scale(ctx context.Context, n int) error {
	leader, err := b.project.Lab.Leader(ctx)
	if err != nil {
		return err
	}
	return b.project.With(leader, func(c *client.Client) error {
		got, err := c.ServiceInspect(ctx, orders.Service, client.ServiceInspectOptions{})
		if err != nil {
			return err
		}
		spec, replicas := got.Service.Spec, uint64(n)
		spec.Mode.Replicated.Replicas = &replicas
		_, err = c.ServiceUpdate(ctx, got.Service.ID, client.ServiceUpdateOptions{Version: got.Service.Version, Spec: spec})
		return err
	})
}

// kill ends the container of one task that runs.
func (b *bench) kill(ctx context.Context) error {
	tasks, _, err := b.project.Tasks(ctx, orders.Service)
	if err != nil {
		return err
	}
	for _, t := range tasks {
		if t.Running {
			_, err := b.project.Lab.Docker(ctx, t.Node, "kill", t.Container)
			return err
		}
	}
	return fmt.Errorf("no task of %s runs", orders.Service)
}

var assetPattern = regexp.MustCompile(`/assets/[^"' )]+`)

// pages measures the dashboard's first page: how long the manager takes for it, and how much a browser loads the first time.
func (b *bench) pages(ctx context.Context) ([]figure.Figure, error) {
	if b.api.c == nil {
		return nil, errors.New("orders is not on the lab")
	}
	var took []time.Duration
	var size, assets int
	for range b.set.Lists {
		begun := time.Now()
		page, wire, err := b.load(ctx, "/")
		if err != nil {
			return nil, err
		}
		took = append(took, time.Since(begun))
		if assets > 0 {
			continue
		}
		size = wire
		found := assetPattern.FindAllString(page, -1)
		slices.Sort(found)
		for _, at := range slices.Compact(found) {
			_, wire, err := b.load(ctx, at)
			if err != nil {
				return nil, err
			}
			size, assets = size+wire, assets+1
		}
		if !strings.Contains(page, orders.Name) || assets == 0 {
			return nil, fmt.Errorf("the first page does not show %s, or has no assets:\n%.500s", orders.Name, page)
		}
	}
	ms, err := figure.Spread("manager.page_ms", "ms", figure.Milliseconds(took), "GET of the dashboard's first page over the manager's socket, Swarm observed anew")
	kb := figure.Alone("manager.page_kb", "kB", float64(size)/1000, 1, fmt.Sprintf("that page and its %d assets, compressed as a browser loads them the first time", assets))
	return []figure.Figure{ms, kb}, err
}

// load gives a page's text, and how many bytes came over the wire.
func (b *bench) load(ctx context.Context, path string) (text string, wire int, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://manager"+path, nil)
	if err != nil {
		return "", 0, err
	}
	r.Header.Set("Accept", "text/html")
	r.Header.Set("Accept-Encoding", "gzip")
	got, err := b.api.c.Do(r)
	if err != nil {
		return "", 0, fmt.Errorf("GET %s: %w", path, err)
	}
	defer got.Body.Close() //nolint:errcheck // only read
	body, err := io.ReadAll(io.LimitReader(got.Body, 64<<20))
	if err == nil && got.StatusCode != http.StatusOK {
		err = errors.New(got.Status)
	}
	if err != nil {
		return "", 0, fmt.Errorf("GET %s: %w", path, err)
	}
	if got.Header.Get("Content-Encoding") != "gzip" {
		return string(body), len(body), nil
	}
	plain, err := gzip.NewReader(strings.NewReader(string(body)))
	if err != nil {
		return "", 0, fmt.Errorf("GET %s: %w", path, err)
	}
	whole, err := io.ReadAll(plain)
	return string(whole), len(body), err
}
