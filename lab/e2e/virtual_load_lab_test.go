//go:build lab

package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/lab"
)

// space is where a client's sockets are made.
type space struct{ do func(func() error) error }

func (s space) dial(network, address string) (conn net.Conn, err error) {
	err = s.do(func() (err error) {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		conn, err = new(net.Dialer).DialContext(ctx, network, address+":80")
		return err
	})
	return conn, err
}

// ask sends one line and tells who answered, and whom it saw.
func ask(c net.Conn, in *bufio.Reader, wait time.Duration) (server, client string, err error) {
	_ = c.SetDeadline(time.Now().Add(wait))
	if _, err = fmt.Fprintln(c, "who"); err != nil {
		return "", "", err
	}
	text, err := in.ReadString('\n')
	server, client, _ = strings.Cut(strings.TrimSpace(text), " ")
	return server, client, err
}

func (s space) once(network, address string) (server, client string, err error) {
	c, err := s.dial(network, address)
	if err != nil {
		return "", "", err
	}
	defer c.Close()
	return ask(c, bufio.NewReader(c), 10*time.Second)
}

type seen struct{ servers, clients map[string]int }

func (s space) spread(t *testing.T, network, address string, n int) seen {
	t.Helper()
	all := seen{map[string]int{}, map[string]int{}}
	for range n {
		server, client, err := s.once(network, address)
		if err != nil {
			t.Errorf("%s: %v", network, err)
			return all
		}
		all.servers[server]++
		all.clients[client]++
	}
	return all
}

// load is one request after the other, each on a connection of its own, beside connections that stand and flows of
// datagrams, both with data every ten milliseconds.
type load struct {
	stop context.CancelFunc
	done sync.WaitGroup

	mu       sync.Mutex // guards the rest
	seen     counts
	said     []string
	forgiven []string
	left     []leaver
}

// leaver is a flow of datagrams that another server answers than before.
type leaver struct{ client, from, to, at string }

type counts struct{ requests, failed, broken int }

func (c counts) since(before counts) counts {
	return counts{c.requests - before.requests, c.failed - before.failed, c.broken - before.broken}
}

func (c counts) String() string {
	return fmt.Sprintf("%d requests, %d failed; of %d standing connections %d broke", c.requests, c.failed, standing, c.broken)
}

const (
	standing = 8
	pause    = 10 * time.Millisecond
)

func (s space) load(t *testing.T, address string) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{stop: cancel}
	t.Cleanup(l.end)
	for range standing {
		c, err := s.dial("tcp4", address)
		if err != nil {
			t.Fatal(err)
		}
		l.done.Go(func() { l.stand(ctx, c) })
		u, err := s.dial("udp4", address)
		if err != nil {
			t.Fatal(err)
		}
		l.done.Go(func() { l.drip(ctx, u) })
	}
	l.done.Go(func() {
		for ctx.Err() == nil {
			_, _, err := s.once("tcp4", address)
			l.count(func(c *counts) { c.requests++ })
			if err != nil && ctx.Err() == nil {
				l.count(func(c *counts) { c.failed++ })
				l.say("a request: " + err.Error())
			}
			time.Sleep(pause)
		}
	})
	return l
}

// stand asks again and again on one connection. A server that is stopped may end it, after the last answer.
func (l *load) stand(ctx context.Context, c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	server := ""
	for ctx.Err() == nil {
		got, _, err := ask(c, in, 10*time.Second)
		if err == nil && server == "" {
			server = got
		}
		if err != nil || got != server {
			if l.pardons(server) || errors.Is(err, io.EOF) && ctx.Err() == nil {
				return // its server has ended, after eight seconds of patience
			}
			l.count(func(c *counts) { c.broken++ })
			l.say(fmt.Sprintf("a connection to %s: answered by %q, %v", server, got, err))
			return
		}
		time.Sleep(pause)
	}
}

// drip asks again and again by datagrams of one socket, of which some may be lost.
func (l *load) drip(ctx context.Context, c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	for server := ""; ctx.Err() == nil; time.Sleep(pause) {
		got, _, err := ask(c, in, time.Second)
		if err != nil || got == server {
			continue
		}
		if server != "" {
			l.mu.Lock()
			l.left = append(l.left, leaver{c.LocalAddr().String(), server, got, time.Now().Format(time.StampMilli)})
			l.mu.Unlock()
		}
		server = got
	}
}

// leavers are the flows of datagrams that have left their servers since it was asked last.
func (l *load) leavers() []leaver {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.left
	l.left = nil
	return all
}

func (l *load) count(edit func(*counts)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	edit(&l.seen)
}

func (l *load) counts() counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seen
}

func (l *load) say(what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.said = append(l.said, what)
}

func (l *load) errors() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.said)
}

func (l *load) pardons(server string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Contains(l.forgiven, server)
}

// forgive lets connections to these servers break.
func (l *load) forgive(servers []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forgiven = append(l.forgiven, servers...)
}

func (l *load) end() {
	l.stop()
	l.done.Wait()
}

// pluginPage reads a page of a plugin's own socket.
func pluginPage(l *lab.Lab, node, socket, page string) (string, error) {
	file, err := l.Path(node, socket)
	if err != nil {
		return "", err
	}
	c := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", file)
	}}}
	r, err := c.Get("http://plugin" + page)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err == nil && r.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", page, r.Status, text)
	}
	return string(text), err
}
