package driver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/docker/go-plugins-helpers/sdk"
)

// answerWithin bounds an answer: the engine's own call has no bound after it has started again.
const answerWithin = 2 * time.Second

// Mux is the protocol docker.metricscollector/1.0. The calls carry nothing; samples are taken whether or not they come,
// since an engine that was killed tells a plugin that lived on nothing.
func (d *Driver) Mux() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("/Plugin.Activate", func(w http.ResponseWriter, _ *http.Request) {
		sdk.EncodeResponse(w, map[string][]string{"Implements": {"MetricsCollector"}}, false)
	})
	asked := func(on bool) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			d.collects.Store(on)
			sdk.EncodeResponse(w, map[string]string{"Err": ""}, false)
		}
	}
	mux.HandleFunc("/MetricsCollector.StartMetrics", asked(true))
	mux.HandleFunc("/MetricsCollector.StopMetrics", asked(false))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		sdk.EncodeResponse(w, map[string]string{"Err": r.URL.Path + " is not a call of the metrics collector protocol"}, true)
	})
	return mux
}

// Serve answers until the context ends.
func Serve(ctx context.Context, l net.Listener, h http.Handler) error {
	s := &http.Server{Handler: h, ReadHeaderTimeout: answerWithin, ReadTimeout: answerWithin}
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
