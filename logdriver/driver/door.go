// Package driver is the door to the engine: Docker's log driver protocol, and the plugin's own status pages. It knows
// HTTP and JSON; it refuses to know pipes, files and Kafka.
package driver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"time"

	"github.com/docker/go-plugins-helpers/sdk"

	"github.com/rolling-swarm/rolling/logdriver/carrier"
	"github.com/rolling-swarm/rolling/logdriver/route"
)

// Lines is what the door needs of who carries them.
type Lines interface {
	Start(file string, from route.Container) error
	Stop(file string)
	Read(ctx context.Context, container string, q carrier.Question, emit func(frame []byte) error, flush func()) error
}

// A Driver answers the engine.
type Driver struct {
	lines Lines
	log   *slog.Logger
	stats *stats
}

// New makes the door.
func New(lines Lines, log *slog.Logger) *Driver {
	return &Driver{lines: lines, log: log, stats: newStats()}
}

const (
	// largestBody is far above any call: a container's labels and variables are in it.
	largestBody = 8 << 20
	// readWithin bounds a client that sends nothing.
	readWithin = 2 * time.Second
	// endWithin bounds the calls under way when the plugin ends; whoever follows logs is cut off then.
	endWithin = time.Second
)

// answer is the protocol's: an empty error is success.
type answer struct {
	Err string
}

// info is what the engine says of a container. Its variables may hold secrets: it is never logged.
type info struct {
	Config             map[string]string
	ContainerID        string
	ContainerName      string
	ContainerImageID   string
	ContainerImageName string
	ContainerEnv       []string
	ContainerLabels    map[string]string
	DaemonName         string
}

// Mux is every call of the protocol, by its path.
func (d *Driver) Mux() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("/Plugin.Activate", func(w http.ResponseWriter, _ *http.Request) {
		sdk.EncodeResponse(w, map[string][]string{"Implements": {"LogDriver"}}, false)
	})
	mux.HandleFunc("/LogDriver.Capabilities", func(w http.ResponseWriter, _ *http.Request) {
		// not as the documentation has it: without Cap around it the engine keeps a second log of its own, in silence
		sdk.EncodeResponse(w, map[string]any{"Cap": map[string]bool{"ReadLogs": true}, "Err": ""}, false)
	})
	handle(d, mux, "StartLogging", d.start)
	handle(d, mux, "StopLogging", d.stop)
	mux.HandleFunc("/LogDriver.ReadLogs", d.read)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", sdk.DefaultContentTypeV1_1)
		w.WriteHeader(http.StatusNotFound)
		_ = json.NewEncoder(w).Encode(answer{r.URL.Path + " is not a call of the log driver protocol"}) // who asked has gone
	})
	return mux
}

func handle[Req any](d *Driver, mux *http.ServeMux, name string, do func(*Req) error) {
	mux.HandleFunc("/LogDriver."+name, func(w http.ResponseWriter, r *http.Request) {
		begun := time.Now()
		var req Req
		err := decode(w, r, &req)
		if err == nil {
			err = do(&req)
		}
		d.stats.called(name, time.Since(begun), err)
		if err != nil {
			d.log.Warn("refused", "call", name, "cause", err)
			sdk.EncodeResponse(w, answer{fmt.Sprintf("rolling/log: %v", err)}, false)
			return
		}
		sdk.EncodeResponse(w, answer{}, false)
	})
}

// decode reads one JSON object.
func decode(w http.ResponseWriter, r *http.Request, into any) error {
	if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(readWithin)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return fmt.Errorf("bound the request's time: %w", err)
	}
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, largestBody)).Decode(into)
	var large *http.MaxBytesError
	switch {
	case errors.Is(err, io.EOF):
		return errors.New("the request has no body")
	case errors.As(err, &large):
		return fmt.Errorf("the request is larger than %d bytes", large.Limit)
	case err != nil:
		return fmt.Errorf("the request is not the JSON that the protocol names: %w", err)
	}
	return nil
}

type startRequest struct {
	File string
	Info info
}

func (d *Driver) start(r *startRequest) error {
	if !filepath.IsAbs(r.File) || r.Info.ContainerID == "" || r.Info.ContainerID != filepath.Base(r.Info.ContainerID) {
		return fmt.Errorf("start logging of container %q from %q: want a container's ID and an absolute path", r.Info.ContainerID, r.File)
	}
	i := r.Info
	return d.lines.Start(r.File, route.Container{
		ID: i.ContainerID, Name: i.ContainerName, ImageID: i.ContainerImageID, ImageName: i.ContainerImageName, DaemonName: i.DaemonName,
		Options: i.Config, Labels: i.ContainerLabels, Env: i.ContainerEnv,
	})
}

type stopRequest struct {
	File string
}

// stop never answers an error: the engine would leak the pipe, and call the plugin in use for ever.
func (d *Driver) stop(r *stopRequest) error {
	d.lines.Stop(r.File)
	return nil
}

type readRequest struct {
	Info   info
	Config struct {
		Since, Until time.Time
		Tail         int
		Follow       bool
	}
}

func (d *Driver) read(w http.ResponseWriter, r *http.Request) {
	var req readRequest
	if err := decode(w, r, &req); err != nil {
		http.Error(w, "rolling/log: "+err.Error(), http.StatusBadRequest)
		return
	}
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Time{}) // a follower reads for days
	w.Header().Set("Content-Type", "application/x-json-stream")
	flush := func() { _ = control.Flush() } // who asked has gone: the next frame says so
	flush()
	d.stats.following.Inc()
	defer d.stats.following.Dec()
	q := carrier.Question{Since: req.Config.Since, Until: req.Config.Until, Tail: req.Config.Tail, Follow: req.Config.Follow}
	err := d.lines.Read(r.Context(), req.Info.ContainerID, q, func(frame []byte) error {
		_, err := w.Write(frame)
		return err
	}, flush)
	if err != nil && r.Context().Err() == nil {
		d.log.Warn("docker logs broke off", "container", req.Info.ContainerID, "cause", err)
	}
}

// Serve answers until the context ends. The bound on a request's body is set in decode: a server's own would cut off
// whoever follows logs.
func Serve(ctx context.Context, l net.Listener, h http.Handler) error {
	s := &http.Server{Handler: h, ReadHeaderTimeout: readWithin, BaseContext: func(net.Listener) context.Context { return ctx }}
	ended := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), endWithin)
		defer cancel()
		if s.Shutdown(grace) != nil {
			ended <- s.Close()
			return
		}
		ended <- nil
	})
	defer stop()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	}
	if err := <-ended; err != nil {
		return fmt.Errorf("stop serving %s: %w", l.Addr(), err)
	}
	return nil
}
