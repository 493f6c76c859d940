//go:build lab

package drain_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/client"

	"github.com/rolling-swarm/rolling/agent/drain"
	"github.com/rolling-swarm/rolling/agent/drain/docker"
	"github.com/rolling-swarm/rolling/agent/drain/record"
	"github.com/rolling-swarm/rolling/lab"
)

// The test's own binary serves as the agent, so that it can be killed: these say which engine and which folder.
const (
	asAgent = "ROLLING_TEST_DRAIN_ENGINE"
	itsFile = "ROLLING_TEST_DRAIN_FILE"
)

func TestMain(m *testing.M) {
	if host := os.Getenv(asAgent); host != "" {
		os.Exit(agent(host, os.Getenv(itsFile)))
	}
	os.Exit(m.Run())
}

func agent(host, file string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	engine, err := docker.New(host)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := drain.New(engine, record.File(file), slog.Default()).Run(ctx); !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// site is a node, with its engine as the agent reaches it.
type site struct {
	*testing.T
	lab    *lab.Lab
	api    *client.Client
	socket string
	file   string
}

// agent starts an agent; its end is the test's, or what the test does.
func (s *site) agent() *exec.Cmd {
	s.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), asAgent+"=unix://"+s.socket, itsFile+"="+s.file)
	c.Stderr = s.Output()
	s.must(c.Start())
	s.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	return c
}

func (s *site) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// graceful ends with 7 upon SIGTERM, and with nothing else.
const graceful = `trap 'sleep 0.3; exit 7' TERM; echo ready; while :; do sleep 0.1; done`

// start runs a container and waits until its trap is set.
func (s *site) start(name string, options ...string) string {
	s.Helper()
	args := append(append([]string{"run", "-d", "--name", name}, options...), lab.ShellImage, "sh", "-c", graceful)
	id, err := s.lab.Docker(s.Context(), "n1", args...)
	s.must(err)
	s.must(s.lab.Eventually(s.Context(), 20*time.Second, name+" ready", func() error {
		out, err := s.lab.Docker(s.Context(), "n1", "logs", name)
		if err == nil && !strings.Contains(out, "ready") {
			err = errors.New("not yet")
		}
		return err
	}))
	return strings.TrimSpace(id)
}

// story is what the engine's events say of the container's end.
type story struct {
	asked, sent, died time.Time
	terms, kills      int
	code              string
}

func (s *site) story(id string) story {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), 20*time.Second)
	defer cancel()
	now := time.Now()
	got := s.api.Events(ctx, client.EventsListOptions{
		Since: fmt.Sprint(now.Add(-10 * time.Minute).Unix()), Until: fmt.Sprint(now.Unix() + 1),
		Filters: make(client.Filters).Add("container", id),
	})
	var t story
	for {
		select {
		case m := <-got.Messages:
			at := time.Unix(0, m.TimeNano)
			switch m.Action {
			case events.ActionKill:
				switch m.Actor.Attributes["signal"] {
				case "23":
					t.asked = at
				case "15":
					t.sent = at
					t.terms++
				case "9":
					t.kills++
				}
			case events.ActionDie:
				t.died, t.code = at, m.Actor.Attributes["exitCode"]
			}
		case <-got.Err:
			return t
		}
	}
}

// want checks that there was one SIGTERM, so long after the SIGURG and not much later, and a graceful end.
func (s *site) want(id string, drain, slack time.Duration) {
	s.Helper()
	t := s.story(id)
	waited := t.sent.Sub(t.asked)
	s.Logf("SIGTERM %s after SIGURG, %d of them; ended %s after it with %s", waited.Round(time.Millisecond), t.terms, t.died.Sub(t.sent).Round(time.Millisecond), t.code)
	if t.terms != 1 || t.kills != 0 || t.code != "7" || waited < drain || waited > drain+slack {
		s.Errorf("want one SIGTERM, %s after SIGURG or a little later, no SIGKILL and exit code 7: %+v", drain, t)
	}
}

func (s *site) stop(name string) {
	s.Helper()
	_, err := s.lab.Docker(s.Context(), "n1", "stop", "-t", "40", name)
	s.must(err)
}

// noise: a machine that others use may stop for seconds.
const noise = 5 * time.Second

func TestContainersOfANodeAreDrained(t *testing.T) {
	l := lab.Up(t, lab.Options{Managers: 1})
	if err := l.LoadShell(t.Context()); err != nil {
		t.Fatal(err)
	}
	api, err := l.Client("n1")
	if err != nil {
		t.Fatal(err)
	}
	defer api.Close()
	socket, err := l.Path("n1", "/run/docker.sock")
	if err != nil {
		t.Fatal(err)
	}
	run := func(name string, story func(s *site)) {
		t.Run(name, func(t *testing.T) {
			story(&site{T: t, lab: l, api: api, socket: socket, file: filepath.Join(t.TempDir(), "drain.json")})
		})
	}
	drained := []string{"--stop-signal", "SIGURG", "--label", "rolling.drain=4s"}

	run("docker stop ends a drained container after its drain", func(s *site) {
		s.agent()
		id := s.start("after", drained...)
		s.stop("after")
		s.want(id, 4*time.Second, noise)
	})
	run("without a label SIGTERM follows at once", func(s *site) {
		s.agent()
		id := s.start("atonce", "--stop-signal", "SIGURG")
		s.stop("atonce")
		s.want(id, 0, noise)
	})
	run("a SIGURG by hand means nothing to a container with another stop signal", func(s *site) {
		s.agent()
		id := s.start("byhand", "--label", "rolling.drain=0s")
		_, err := l.Docker(s.Context(), "n1", "kill", "-s", "URG", "byhand")
		s.must(err)
		end := s.start("after2", drained...) // by its end the other would have had its SIGTERM too
		s.stop("after2")
		s.want(end, 4*time.Second, noise)
		if got := s.story(id); got.terms != 0 || !got.died.IsZero() {
			s.Errorf("it got a SIGTERM: %+v", got)
		}
		s.stop("byhand")
	})
	run("the successor of a killed agent goes on with the drain", func(s *site) {
		first := s.agent()
		id := s.start("killed", drained...)
		stopped := make(chan error, 1)
		go func() { _, err := l.Docker(s.Context(), "n1", "stop", "-t", "40", "killed"); stopped <- err }()
		s.must(l.Eventually(s.Context(), 10*time.Second, "SIGURG", func() error {
			if s.story(id).asked.IsZero() {
				return errors.New("not yet")
			}
			return nil
		}))
		s.must(first.Process.Kill())
		_ = first.Wait()
		time.Sleep(time.Second)
		s.agent()
		s.must(<-stopped)
		s.want(id, 4*time.Second, noise)
	})
	run("an agent that comes too late sends at once, without any record", func(s *site) {
		id := s.start("late", drained...)
		stopped := make(chan error, 1)
		go func() { _, err := l.Docker(s.Context(), "n1", "stop", "-t", "40", "late"); stopped <- err }()
		time.Sleep(6 * time.Second)
		s.agent()
		s.must(<-stopped)
		s.want(id, 5*time.Second, noise)
	})
	run("an agent that is told to end stays until the drain is over", func(s *site) {
		a := s.agent()
		id := s.start("ending", drained...)
		stopped := make(chan error, 1)
		go func() { _, err := l.Docker(s.Context(), "n1", "stop", "-t", "40", "ending"); stopped <- err }()
		time.Sleep(time.Second)
		s.must(a.Process.Signal(syscall.SIGTERM))
		s.must(<-stopped)
		s.want(id, 4*time.Second, noise)
		if err := a.Wait(); err != nil {
			s.Errorf("the agent ended with %v", err)
		}
	})
	run("a task of the Swarm is drained when its service shrinks", func(s *site) {
		s.agent()
		_, err := l.Docker(s.Context(), "n1", "service", "create", "--detach", "--name", "web", "--no-resolve-image", "--stop-signal", "SIGURG",
			"--stop-grace-period", "40s", "--container-label", "rolling.drain=4s", lab.ShellImage, "sh", "-c", graceful)
		s.must(err)
		var id string
		s.must(l.Eventually(s.Context(), time.Minute, "a task that is ready", func() error {
			out, err := l.Docker(s.Context(), "n1", "ps", "-q", "--no-trunc", "--filter", "label=com.docker.swarm.service.name=web")
			if id = strings.TrimSpace(out); err != nil || id == "" {
				return fmt.Errorf("none: %w", err)
			}
			out, err = l.Docker(s.Context(), "n1", "logs", id)
			if err == nil && !strings.Contains(out, "ready") {
				err = errors.New("not yet")
			}
			return err
		}))
		_, err = l.Docker(s.Context(), "n1", "service", "scale", "--detach", "web=0")
		s.must(err)
		s.must(l.Eventually(s.Context(), time.Minute, "its end", func() error {
			if s.story(id).died.IsZero() {
				return errors.New("it runs")
			}
			return nil
		}))
		s.want(id, 4*time.Second, noise)
	})
}
