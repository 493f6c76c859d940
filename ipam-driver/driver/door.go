package driver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/docker/go-plugins-helpers/ipam"
	"github.com/docker/go-plugins-helpers/sdk"
)

const (
	// largestBody is far above any call of the engine's.
	largestBody = 1 << 20
	// readWithin bounds a client that sends nothing.
	readWithin = answerWithin
)

// empty is the answer of a call that only succeeds or fails.
type empty struct{}

// Mux is every call of the protocol, by its path. The library's own handler reads bodies without a limit and keeps its
// routes to itself, so its types are served by routes of ours.
func (d *Driver) Mux() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("/Plugin.Activate", func(w http.ResponseWriter, _ *http.Request) {
		sdk.EncodeResponse(w, map[string][]string{"Implements": {"IpamDriver"}}, false)
	})
	route(d, mux, "GetCapabilities", func(*empty) (*ipam.CapabilitiesResponse, error) { return d.GetCapabilities() })
	route(d, mux, "GetDefaultAddressSpaces", func(*empty) (*ipam.AddressSpacesResponse, error) { return d.GetDefaultAddressSpaces() })
	route(d, mux, "RequestPool", d.RequestPool)
	route(d, mux, "ReleasePool", func(r *ipam.ReleasePoolRequest) (empty, error) { return empty{}, d.ReleasePool(r) })
	route(d, mux, "RequestAddress", d.RequestAddress)
	route(d, mux, "ReleaseAddress", func(r *ipam.ReleaseAddressRequest) (empty, error) { return empty{}, d.ReleaseAddress(r) })
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, http.StatusNotFound, fmt.Errorf("%s is not a call of the IPAM plugin protocol", r.URL.Path))
	})
	return mux
}

func route[Req, Res any](d *Driver, mux *http.ServeMux, name string, do func(*Req) (Res, error)) {
	mux.HandleFunc("/IpamDriver."+name, func(w http.ResponseWriter, r *http.Request) {
		begun := time.Now()
		var req Req
		status := http.StatusBadRequest
		err := decode(http.MaxBytesReader(w, r.Body, largestBody), &req)
		var res Res
		if err == nil {
			status = http.StatusInternalServerError
			res, err = do(&req)
		}
		d.stats.called(name, time.Since(begun), err)
		if err != nil {
			d.parts.Log.Warn("refused", "call", name, "cause", err)
			d.refusals.note(d.parts.Clock(), name, &req, err)
			refuse(w, status, fmt.Errorf("rolling/ipam: %s: %w", name, err))
			return
		}
		sdk.EncodeResponse(w, res, false)
	})
}

func refuse(w http.ResponseWriter, status int, err error) {
	w.Header().Set("Content-Type", sdk.DefaultContentTypeV1_1)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(ipam.NewErrorResponse(err.Error())) // who asked has gone
}

// decode reads one JSON object and nothing after it. Some calls come without a body.
func decode(body io.Reader, into any) error {
	dec := json.NewDecoder(body)
	err := dec.Decode(into)
	if err == nil {
		if _, more := dec.Token(); !errors.Is(more, io.EOF) {
			return errors.New("the request has something after its JSON object: send one object")
		}
		return nil
	}
	var large *http.MaxBytesError
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case errors.As(err, &large):
		return fmt.Errorf("the request is larger than %d bytes: send less", large.Limit)
	}
	return fmt.Errorf("the request is not the JSON that the protocol names: %w", err)
}

// Serve answers until the context ends.
func Serve(ctx context.Context, l net.Listener, h http.Handler) error {
	s := &http.Server{Handler: h, ReadHeaderTimeout: readWithin, ReadTimeout: readWithin}
	ended := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerWithin)
		defer cancel()
		ended <- s.Shutdown(grace) // calls under way get their answers
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
