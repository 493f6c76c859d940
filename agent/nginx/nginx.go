// Package nginx keeps the members of any number of nginxes equal to what was decided. It knows the HTTP door of our lua
// module (lua/rolling.lua) and which version each nginx holds; it refuses to know services, tasks and why a set is what
// it is. One nginx that is slow or away delays no other, and gets the newest set when it is back.
package nginx

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/rolling-swarm/rolling/agent/member"
)

const (
	// lookEvery is how often an nginx in step is asked for its version: one that restarted may hold an old dump.
	lookEvery = time.Second
	// retryFirst and retryMost bound the pause after a failure, which doubles in between.
	retryFirst, retryMost = 250 * time.Millisecond, 2 * time.Second
	// answerWithin bounds one request.
	answerWithin = 3 * time.Second
)

// A Fleet is the nginxes that are kept in step.
type Fleet struct {
	targets []*target
}

// New makes a Fleet of the nginxes' addresses: http://HOST:PORT, https://HOST:PORT or unix:/PATH, each with /upstreams as
// the path unless it names another. The token may be empty only where every address is on this machine.
func New(addresses []string, token string, log *slog.Logger) (*Fleet, error) {
	if err := Check(addresses, token); err != nil {
		return nil, err
	}
	f := &Fleet{}
	for _, a := range addresses {
		place, err := parse(a)
		if err != nil {
			return nil, err
		}
		f.targets = append(f.targets, newTarget(place, token, log))
	}
	return f, nil
}

// Check says what is wrong with the settings, all problems at once.
func Check(addresses []string, token string) error {
	var problems []string
	for _, a := range addresses {
		p, err := parse(a)
		if err != nil {
			problems = append(problems, err.Error())
			continue
		}
		if token == "" && !p.local() {
			problems = append(problems, fmt.Sprintf("nginx %s: it is on another machine, so a token is needed", a))
		}
	}
	if len(problems) > 0 {
		return fmt.Errorf("%s", strings.Join(problems, "; "))
	}
	return nil
}

// place is where an nginx's door is.
type place struct {
	name   string // as the settings have it
	socket string // of a unix socket, "" for TCP
	url    string
	host   string
}

func (p place) local() bool {
	if p.socket != "" || p.host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(p.host)
	return err == nil && a.IsLoopback()
}

const doorPath = "/upstreams"

func parse(address string) (place, error) {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		if !strings.HasPrefix(path, "/") {
			return place{}, fmt.Errorf("nginx %q: want unix:/PATH", address)
		}
		return place{name: address, socket: path, url: "http://nginx" + doorPath}, nil
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" {
		return place{}, fmt.Errorf("nginx %q: want http://HOST:PORT, https://HOST:PORT or unix:/PATH", address)
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = doorPath
	}
	return place{name: address, url: u.String(), host: u.Hostname()}, nil
}

// Set gives all nginxes a new decision to follow. It does not wait for them.
func (f *Fleet) Set(d member.Decision) {
	for _, t := range f.targets {
		t.set(&d)
	}
}

// Standing says how far each nginx is.
func (f *Fleet) Standing() []member.Standing {
	var all []member.Standing
	for _, t := range f.targets {
		all = append(all, t.show())
	}
	return all
}

// Run keeps the nginxes in step until ctx ends, which is when this agent no longer leads; the decision ends with it.
func (f *Fleet) Run(ctx context.Context) error {
	var running sync.WaitGroup
	for _, t := range f.targets {
		running.Go(func() { t.run(ctx) })
	}
	running.Wait()
	for _, t := range f.targets {
		t.set(nil)
	}
	return ctx.Err()
}
