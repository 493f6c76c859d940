package loader

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/moby/moby/api/types/plugin"
)

// wire is an engine faked at its API: what the real one answers to plugin calls, and every way in which a connection to
// it can end badly.
type wire struct {
	mu      sync.Mutex
	plugins map[string]*plugin.Plugin
	files   map[string][]string // of the root file system, by plugin
	used    map[string]bool     // a container uses the plugin
	fault   string              // of the next changing call: "refuse", "reset", "stall"
	events  chan string
	release chan struct{}
}

// engine serves a wire on a unix socket and gives its address.
func engine(t *testing.T) (*wire, string) {
	t.Helper()
	w := &wire{plugins: map[string]*plugin.Plugin{}, files: map[string][]string{}, used: map[string]bool{}, events: make(chan string, 100), release: make(chan struct{})}
	socket := filepath.Join(t.TempDir(), "docker.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(w)
	server.Listener.Close()
	server.Listener = listener
	server.Start()
	t.Cleanup(func() {
		close(w.release)
		server.CloseClientConnections()
		server.Close()
	})
	return w, "unix://" + socket
}

func (w *wire) use(name string, yes bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.used[name] = yes
}

func (w *wire) next(fault string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fault = fault
}

type status struct {
	code int
	text string
}

func (s status) Error() string { return s.text }

func (w *wire) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	if i := strings.Index(path, "/plugins/"); i >= 0 {
		path = path[i+len("/plugins/"):]
	}
	switch {
	case strings.HasSuffix(path, "/_ping"):
		out.Header().Set("Api-Version", "1.41")
		return
	case strings.HasSuffix(path, "/events"):
		w.stream(out, r)
		return
	case r.Method == http.MethodGet:
		w.mu.Lock()
		defer w.mu.Unlock()
		p, err := w.find(strings.TrimSuffix(path, "/json"))
		answer(out, p, err)
		return
	}
	if w.injured(out, r) {
		return
	}
	answer(out, nil, w.change(r, path))
}

func answer(out http.ResponseWriter, v any, err error) {
	var s status
	switch {
	case errors.As(err, &s):
		out.WriteHeader(s.code)
		json.NewEncoder(out).Encode(map[string]string{"message": s.text})
	case err != nil:
		out.WriteHeader(http.StatusInternalServerError)
		json.NewEncoder(out).Encode(map[string]string{"message": err.Error()})
	case v != nil:
		json.NewEncoder(out).Encode(v)
	default:
		out.WriteHeader(http.StatusNoContent)
	}
}

func (w *wire) injured(out http.ResponseWriter, r *http.Request) bool {
	w.mu.Lock()
	fault := w.fault
	w.fault = ""
	w.mu.Unlock()
	switch fault {
	case "refuse":
		answer(out, nil, status{http.StatusInternalServerError, "no space left on device"})
	case "reset":
		c, _, err := out.(http.Hijacker).Hijack()
		if err == nil {
			c.Close()
		}
	case "stall":
		select {
		case <-r.Context().Done():
		case <-w.release:
		}
	default:
		return false
	}
	return true
}

func (w *wire) stream(out http.ResponseWriter, r *http.Request) {
	out.Header().Set("Content-Type", "application/json")
	out.WriteHeader(http.StatusOK)
	out.(http.Flusher).Flush()
	for {
		select {
		case e := <-w.events:
			if e == "crash" {
				return
			}
			fmt.Fprintf(out, `{"Type":"plugin","Action":%q}`+"\n", e)
			out.(http.Flusher).Flush()
		case <-r.Context().Done():
			return
		case <-w.release:
			return
		}
	}
}

func (w *wire) find(name string) (*plugin.Plugin, error) {
	if p := w.plugins[name]; p != nil {
		return p, nil
	}
	return nil, status{http.StatusNotFound, fmt.Sprintf("plugin %q not found", name)}
}

func (w *wire) change(r *http.Request, path string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if path == "create" {
		return w.create(r.URL.Query().Get("name"), r.Body)
	}
	name, verb := path, "remove"
	if r.Method == http.MethodPost {
		i := strings.LastIndex(path, "/")
		name, verb = path[:i], path[i+1:]
	}
	p, err := w.find(name)
	if err != nil {
		return err
	}
	forced := r.URL.Query().Get("force") == "1"
	switch verb {
	case "enable", "disable":
		if p.Enabled == (verb == "enable") {
			return status{http.StatusConflict, "plugin is already " + verb + "d"}
		}
		if verb == "disable" && w.used[name] && !forced {
			return status{http.StatusConflict, "plugin " + name + " is in use"}
		}
		p.Enabled = verb == "enable"
	case "set":
		return set(p, r.Body)
	case "remove":
		if w.used[name] && !forced {
			return status{http.StatusConflict, "plugin " + name + " is in use"}
		}
		delete(w.plugins, name)
	}
	w.events <- verb
	return nil
}

func (w *wire) create(name string, body io.Reader) error {
	if w.plugins[name] != nil {
		return status{http.StatusConflict, fmt.Sprintf("plugin %s already exists", name)}
	}
	p := &plugin.Plugin{Name: name}
	var files []string
	for in := tar.NewReader(body); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if h.Name == "config.json" {
			if err := json.NewDecoder(in).Decode(&p.Config); err != nil {
				return err
			}
			continue
		}
		text, err := io.ReadAll(in)
		if err != nil {
			return err
		}
		files = append(files, h.Name+" "+string(text))
	}
	for twin, there := range w.files {
		if w.plugins[twin] != nil && slices.Equal(there, files) {
			return status{http.StatusInternalServerError, "content sha256:1: already exists"}
		}
	}
	for _, e := range p.Config.Env {
		p.Settings.Env = append(p.Settings.Env, e.Name+"="+*e.Value)
	}
	w.plugins[name], w.files[name] = p, files
	w.events <- "create"
	return nil
}

func set(p *plugin.Plugin, body io.Reader) error {
	if p.Enabled {
		return status{http.StatusInternalServerError, "cannot set on an active plugin, disable plugin before setting"}
	}
	var args []string
	if err := json.NewDecoder(body).Decode(&args); err != nil {
		return err
	}
	for _, a := range args {
		name, _, _ := strings.Cut(a, "=")
		i := slices.IndexFunc(p.Settings.Env, func(e string) bool { return strings.HasPrefix(e, name+"=") })
		if i < 0 {
			return status{http.StatusInternalServerError, fmt.Sprintf("setting %q not found in the plugin configuration", name)}
		}
		p.Settings.Env[i] = a
	}
	return nil
}
