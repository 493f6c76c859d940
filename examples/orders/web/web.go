package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"
)

// An Answer is what an instance says of itself and of who asked.
type Answer struct {
	Service  string `json:"service"`
	Hostname string `json:"hostname"`
	Address  string `json:"address"` // the address that the connection came to: the container's own
	Remote   string `json:"remote"`  // the address that the asker has as seen here
	Release  string `json:"release"`
}

// peerLimit bounds what is taken from another instance.
const peerLimit = 1 << 20

func routes(config Config, log *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { answer(w, http.StatusOK, who(config, r)) })
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if config.Sick {
			problem(w, http.StatusServiceUnavailable, "SICK is set")
			return
		}
		_, _ = io.WriteString(w, "ok\n") // who asked has gone
	})
	mux.HandleFunc("GET /peer", func(w http.ResponseWriter, r *http.Request) { peer(w, r, config.PeerTimeout) })
	return logged(mux, log)
}

func who(config Config, r *http.Request) Answer {
	a := Answer{Service: "orders/web", Hostname: config.Hostname, Release: config.Release, Remote: address(r.RemoteAddr)}
	if local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		a.Address = address(local.String())
	}
	return a
}

// address drops the port; an IPv4 address stays one although the socket also serves IPv6.
func address(hostport string) string {
	ap, err := netip.ParseAddrPort(hostport)
	if err != nil {
		return hostport
	}
	return ap.Addr().Unmap().String()
}

// peer asks another instance and passes its answer on, so that one request from outside proves a connection from
// container to container.
func peer(w http.ResponseWriter, r *http.Request, within time.Duration) {
	target, err := url.Parse(r.URL.Query().Get("url"))
	if err != nil || target.Scheme != "http" || target.Host == "" {
		problem(w, http.StatusBadRequest, fmt.Sprintf("url %q: want http://HOST[:PORT]/", r.URL.Query().Get("url")))
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), within)
	defer cancel()
	body, err := get(ctx, target.String())
	if err != nil {
		problem(w, http.StatusBadGateway, err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body) // the asker went away
}

// get opens a connection of its own for each request: an answer must say who serves now, not who served before.
func get(ctx context.Context, target string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", target, err)
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask: %w", err)
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	body, err := io.ReadAll(io.LimitReader(resp.Body, peerLimit))
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", target, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ask %s: answered %s", target, resp.Status)
	}
	return body, nil
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the asker went away
}

func problem(w http.ResponseWriter, status int, detail string) {
	answer(w, status, map[string]any{"title": http.StatusText(status), "status": status, "detail": detail})
}

// logged writes one JSON line a request; health checks would drown the rest.
func logged(next http.Handler, log *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begin := time.Now()
		seen := &status{ResponseWriter: w, code: http.StatusOK}
		next.ServeHTTP(seen, r)
		if r.URL.Path != "/healthz" {
			log.Info("request", "method", r.Method, "path", r.URL.Path, "status", seen.code, "remote", address(r.RemoteAddr), "ms", time.Since(begin).Milliseconds())
		}
	})
}

type status struct {
	http.ResponseWriter
	code int
}

func (s *status) WriteHeader(code int) {
	s.code = code
	s.ResponseWriter.WriteHeader(code)
}
