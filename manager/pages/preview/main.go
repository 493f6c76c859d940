// Command preview serves the dashboard over sample data on loopback, for looking at pages without a Swarm:
// go run ./manager/pages/preview -listen 127.0.0.1:2499. It knows the fake world and nothing else; -world picks sample,
// many, poisoned, empty or away.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/rolling-swarm/rolling/manager/engine"
	"github.com/rolling-swarm/rolling/manager/pages"
	"github.com/rolling-swarm/rolling/manager/pages/pagestest"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:2499", "loopback address to serve on")
	world := flag.String("world", "sample", "sample, many, poisoned, empty or away")
	flag.Parse()
	if err := serve(*listen, *world); err != nil {
		fmt.Fprintln(os.Stderr, "preview:", err)
		os.Exit(1)
	}
}

func serve(listen, world string) error {
	w := pagestest.Sample(time.Now())
	switch world {
	case "sample":
	case "many":
		w = pagestest.Many(100, time.Now())
	case "poisoned":
		w = pagestest.Poisoned(time.Now())
	case "empty":
		w = &pagestest.World{Now: time.Now()}
	case "away":
		w.SwarmAway = errors.New("ask the engine for services: dial unix /var/run/docker.sock: connect: no such file or directory")
	default:
		return fmt.Errorf("world %q: want sample, many, poisoned, empty or away", world)
	}
	door, err := pages.New(w.Parts())
	if err != nil {
		return err
	}
	e := echo.New()
	e.HideBanner = true
	door.Mount(e, func(context.Context) string { return "preview" }, context.WithCancel)
	// POST /preview/tick lets something happen: a service has one task more or fewer.
	e.POST("/preview/tick", func(c echo.Context) error {
		w.Change(func(w *pagestest.World) {
			s := &w.Views[1].Environments[2].Services[0]
			s.Running = (s.Running + 1) % (s.Wanted + 1)
		})
		w.Tell(engine.Event{Type: engine.EnvironmentChanged, Project: "orders", Environment: "production"})
		return c.NoContent(http.StatusNoContent)
	})
	return e.Start(listen)
}
