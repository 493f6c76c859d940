// Package driver is the door for the engine: Docker's network plugin protocol on a unix socket, and the plugin's own
// status pages. It knows the wire's fields and how to say no; every decision and effect is the node's, behind the
// interface that it declares.
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
	"net/netip"
	"time"

	"github.com/docker/go-plugins-helpers/network"
	"github.com/docker/go-plugins-helpers/sdk"

	"github.com/rolling-swarm/rolling/network-driver/topology"
)

const (
	// answerWithin: after a daemon restart the engine waits for us without limit, and so does every service of the Swarm
	// that its allocator has to give a network.
	answerWithin = 2 * time.Second
	// patience is longer, since an endpoint's call holds up nothing but its container, and an engine that starts a
	// hundred of them asks for all at once: to refuse the last in the row would make Swarm start it again, behind a
	// longer row. It ends before the engine's own limit of 30 s, after which nobody hears the reason.
	patience = 20 * time.Second
	// largestBody is far above any call of the engine's.
	largestBody = 1 << 20
	// readWithin bounds a client that sends nothing.
	readWithin = 5 * time.Second
)

// Node is what the engine's calls come to: it mirrors the wire, less what needs no state.
type Node interface {
	AllowPool(ctx context.Context, pool netip.Prefix) error
	AddNetwork(context.Context, topology.Network) error
	RemoveNetwork(context.Context, topology.NetworkID) error
	AddEndpoint(context.Context, topology.Endpoint) (mac string, six netip.Addr, err error)
	RemoveEndpoint(context.Context, topology.NetworkID, topology.EndpointID) error
	Join(ctx context.Context, n topology.NetworkID, e topology.EndpointID, sandbox string) (topology.Link, error)
	Leave(context.Context, topology.NetworkID, topology.EndpointID) error
	Endpoint(context.Context, topology.NetworkID, topology.EndpointID) (topology.Endpoint, error)
	Publish(context.Context, topology.NetworkID, topology.EndpointID, []topology.Publication) error
	Revoke(context.Context, topology.NetworkID, topology.EndpointID) error
}

// Door answers the engine.
type Door struct {
	node     Node
	log      *slog.Logger
	refusals *refusals
	// Patience bounds the calls for one endpoint.
	Patience time.Duration
}

// New answers nothing yet.
func New(node Node, log *slog.Logger) *Door { return &Door{node, log, &refusals{}, patience} }

// Mux is every call of the protocol, by its path. The library's own handler would read bodies without a limit.
func (d *Door) Mux() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("/Plugin.Activate", func(w http.ResponseWriter, _ *http.Request) {
		sdk.EncodeResponse(w, map[string][]string{"Implements": {"NetworkDriver"}}, false)
	})
	route(d, mux, "GetCapabilities", d.capabilities)
	route(d, mux, "AllocateNetwork", d.allocateNetwork)
	route(d, mux, "FreeNetwork", d.freeNetwork)
	route(d, mux, "CreateNetwork", d.createNetwork)
	route(d, mux, "DeleteNetwork", d.deleteNetwork)
	routeWithin(d, d.Patience, mux, "CreateEndpoint", d.createEndpoint)
	routeWithin(d, d.Patience, mux, "EndpointOperInfo", d.endpointInfo)
	routeWithin(d, d.Patience, mux, "DeleteEndpoint", d.deleteEndpoint)
	routeWithin(d, d.Patience, mux, "Join", d.join)
	routeWithin(d, d.Patience, mux, "Leave", d.leave)
	route(d, mux, "DiscoverNew", d.discover)
	route(d, mux, "DiscoverDelete", d.discover)
	routeWithin(d, d.Patience, mux, "ProgramExternalConnectivity", d.publish)
	routeWithin(d, d.Patience, mux, "RevokeExternalConnectivity", d.revoke)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, http.StatusNotFound, fmt.Errorf("%s is not a call of the network plugin protocol", r.URL.Path))
	})
	return mux
}

// empty is the answer of a call that only succeeds or fails.
type empty struct{}

func route[Req, Res any](d *Door, mux *http.ServeMux, name string, do func(context.Context, Req) (Res, error)) {
	routeWithin(d, answerWithin, mux, name, do)
}

func routeWithin[Req, Res any](d *Door, within time.Duration, mux *http.ServeMux, name string, do func(context.Context, Req) (Res, error)) {
	late := fmt.Errorf("no answer within %v", within) // the cause that a late step is told
	mux.HandleFunc("/NetworkDriver."+name, func(w http.ResponseWriter, r *http.Request) {
		begun := time.Now()
		var req Req
		if err := decode(http.MaxBytesReader(w, r.Body, largestBody), &req); err != nil {
			refuse(w, http.StatusBadRequest, fmt.Errorf("%s: %w", name, err))
			return
		}
		ctx, cancel := context.WithTimeoutCause(r.Context(), within, late)
		defer cancel()
		res, err := do(ctx, req)
		if err != nil {
			d.log.Warn("refused", "call", name, "cause", err, "took", time.Since(begun))
			refuse(w, http.StatusInternalServerError, fmt.Errorf("rolling/net: %w", err))
			return
		}
		d.log.Debug("done", "call", name, "took", time.Since(begun))
		sdk.EncodeResponse(w, res, false)
	})
}

func refuse(w http.ResponseWriter, status int, err error) {
	w.Header().Set("Content-Type", sdk.DefaultContentTypeV1_1)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(network.NewErrorResponse(err.Error())) // who asked has gone
}

// decode reads one JSON object. Some calls come without a body.
func decode(body io.Reader, into any) error {
	var large *http.MaxBytesError
	dec := json.NewDecoder(body)
	switch err := dec.Decode(into); {
	case errors.Is(err, io.EOF):
		return nil
	case errors.As(err, &large):
		return fmt.Errorf("the request is larger than %d bytes", large.Limit)
	case err != nil:
		return fmt.Errorf("the request is not the JSON that the protocol names: %w", err)
	}
	return nil
}

// Serve answers until the context ends.
func Serve(ctx context.Context, l net.Listener, h http.Handler) error {
	s := &http.Server{Handler: h, ReadHeaderTimeout: readWithin, ReadTimeout: readWithin, BaseContext: func(net.Listener) context.Context { return ctx }}
	stop := context.AfterFunc(ctx, func() { _ = s.Close() })
	defer stop()
	if err := s.Serve(l); ctx.Err() == nil {
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	}
	return nil
}
