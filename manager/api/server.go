package api

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	headerWithin = 10 * time.Second // for a request's head: a client that dawdles holds a connection, no more
	idleFor      = 2 * time.Minute
	headLimit    = 64 << 10
	// stopWithin is how long requests in hand may take once the manager is to end; a rollout goes on in Swarm without them.
	stopWithin = 10 * time.Second
)

// Serve answers on the listeners until ctx ends, then finishes the requests in hand. It closes the listeners.
func (a *API) Serve(ctx context.Context, listeners []net.Listener) error {
	server := &http.Server{
		Handler: a.echo, ReadHeaderTimeout: headerWithin, IdleTimeout: idleFor, MaxHeaderBytes: headLimit,
		// Requests outlive ctx, so that an answer in hand is finished; streams end by themselves when it does.
		BaseContext: func(net.Listener) context.Context {
			return context.WithValue(context.WithoutCancel(ctx), stoppingKey{}, ctx.Done())
		},
		ConnContext: withPeer,
		ErrorLog:    a.serverLog(),
	}
	group, groupContext := errgroup.WithContext(ctx)
	for _, l := range listeners {
		group.Go(func() error {
			a.log.Info("serving the API", "address", l.Addr().Network()+" "+l.Addr().String())
			if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		})
	}
	group.Go(func() error {
		<-groupContext.Done()
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWithin)
		defer cancel()
		if err := server.Shutdown(limit); err != nil {
			return errors.Join(err, server.Close())
		}
		return nil
	})
	return group.Wait()
}

// stoppingKey finds, in a request's context, the channel that is closed when the manager is to end.
type stoppingKey struct{}

func stopping(ctx context.Context) <-chan struct{} {
	done, _ := ctx.Value(stoppingKey{}).(<-chan struct{})
	return done
}
