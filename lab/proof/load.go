package proof

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rolling-swarm/rolling/lab"
	"github.com/rolling-swarm/rolling/lab/parts"
)

// A load sends steady requests and remembers every answer: when it came, who gave it, and what went wrong.
type load struct {
	stop context.CancelFunc
	done sync.WaitGroup

	mu      sync.Mutex // guards the rest
	answers int
	failed  []failure
	first   map[string]time.Time // member's address → its first answer
	last    map[string]time.Time
}

type failure struct {
	at   time.Time // when the request was sent: what it ran into was there then
	what string
}

func newLoad(stop context.CancelFunc) *load {
	return &load{stop: stop, first: map[string]time.Time{}, last: map[string]time.Time{}}
}

func (l *load) note(at time.Time, member, wrong string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if wrong != "" {
		l.failed = append(l.failed, failure{at, wrong})
		return
	}
	l.answers++
	if _, seen := l.first[member]; !seen {
		l.first[member] = at
	}
	l.last[member] = at
}

// forget begins the record anew, and returns what it was.
func (l *load) forget() (answers int, failed []failure) {
	l.mu.Lock()
	defer l.mu.Unlock()
	answers, failed = l.answers, l.failed
	l.answers, l.failed = 0, nil
	l.first, l.last = map[string]time.Time{}, map[string]time.Time{}
	return answers, failed
}

// members are those that answered since the record began.
func (l *load) members() map[string]time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	seen := map[string]time.Time{}
	for m, at := range l.first {
		seen[m] = at
	}
	return seen
}

// end stops the load and says how many answers came, or why it was not without failure.
func (l *load) end(name string) (int, error) {
	answers, _, err := l.endSparing(name, time.Time{})
	return answers, err
}

// endSparing is end, but failures of requests that were sent before a moment are counted and no error.
func (l *load) endSparing(name string, before time.Time) (answers int, spared []failure, err error) {
	l.stop()
	l.done.Wait()
	answers, failed := l.forget()
	slices.SortFunc(failed, func(a, b failure) int { return a.at.Compare(b.at) })
	i := slices.IndexFunc(failed, func(f failure) bool { return !f.at.Before(before) })
	if i < 0 {
		i = len(failed)
	}
	spared, failed = failed[:i], failed[i:]
	if len(failed) > 0 {
		return answers, spared, fmt.Errorf("%d of %d requests through %s failed, the first at %s: %s", len(failed), len(failed)+answers, name, failed[0].at.Format("15:04:05.000"), failed[0].what)
	}
	if answers == 0 {
		return 0, spared, fmt.Errorf("no request went through %s", name)
	}
	return answers, spared, nil
}

// nginxLoad asks the upstream through the lab's nginx, two requests at a time, each client every 10 ms.
func (w *World) nginxLoad(ctx context.Context, upstream string) *load {
	ctx, stop := context.WithCancel(ctx)
	l := newLoad(stop)
	for range 2 {
		l.done.Go(func() {
			c := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DialContext: w.Lab.DialContext(lab.Router)}}
			defer c.CloseIdleConnections()
			for ctx.Err() == nil {
				sent := time.Now()
				member, err := askGateway(ctx, &c, w.Lab.Address(lab.Router).String(), upstream)
				switch {
				case ctx.Err() != nil:
				case err != nil:
					l.note(sent, "", err.Error())
				default:
					l.note(time.Now(), member, "")
				}
				time.Sleep(10 * time.Millisecond)
			}
		})
	}
	return l
}

func askGateway(ctx context.Context, c *http.Client, gateway, upstream string) (member string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+gateway+"/", nil)
	if err != nil {
		return "", err
	}
	req.Host = upstream
	resp, err := c.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s", resp.Status, body)
	}
	var a answer
	return a.Address, json.Unmarshal(body, &a)
}

// finagleLoad runs a real finagle client in the router's network on a ServerSet, a request every 10 ms.
func (w *World) finagleLoad(ctx context.Context, path string, lasting time.Duration) (*load, error) {
	if err := w.Lab.Need(ctx, parts.FinaglePackages()...); err != nil {
		return nil, err
	}
	config, err := lab.ReadConfig()
	if err != nil {
		return nil, err
	}
	probe, err := parts.Finagle(ctx, config.Cache)
	if err != nil {
		return nil, err
	}
	running, stop := context.WithCancel(ctx)
	site := parts.Site{Router: w.Lab.Address(lab.Router)}
	args := append(probe.Args, "zk!"+parts.ZooKeeperAddress(site)+"!"+path, strconv.Itoa(int(lasting.Seconds())), "10")
	program, err := exec.LookPath(probe.Path)
	if err != nil {
		stop()
		return nil, fmt.Errorf("finagle: %w", err)
	}
	if program, err = filepath.EvalSymlinks(program); err != nil { // the router's search path is not this process's
		stop()
		return nil, fmt.Errorf("finagle: %w", err)
	}
	cmd := w.Lab.Command(running, lab.Router, append([]string{program}, args...)...)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		stop()
		return nil, fmt.Errorf("finagle: %w", err)
	}
	l := newLoad(stop)
	l.done.Go(func() {
		for s := bufio.NewScanner(out); s.Scan(); {
			l.noteLine(s.Text())
		}
		_ = cmd.Wait() // ended by stop: its exit code says only that
	})
	return l, nil
}

// noteLine reads a line of the probe: milliseconds since 1970, then the body or ERR and the kind of the failure.
func (l *load) noteLine(line string) {
	moment, rest, _ := strings.Cut(line, " ")
	ms, err := strconv.ParseInt(moment, 10, 64)
	if err != nil {
		return // the JVM's own words
	}
	var a answer
	if err := json.Unmarshal([]byte(rest), &a); err != nil {
		l.note(time.UnixMilli(ms), "", rest)
		return
	}
	l.note(time.UnixMilli(ms), a.Address, "")
}
