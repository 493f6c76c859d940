package cli_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/rolling-swarm/rolling/manager/api"
	"github.com/rolling-swarm/rolling/manager/api/apitest"
	"github.com/rolling-swarm/rolling/manager/cli"
)

var update = flag.Bool("update", false, "write what the scripts compare with anew")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"rolling": func() {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT)
		defer stop()
		os.Exit(cli.Run(ctx, os.Args[1:], options(os.Getenv("ROLLING_URL"))))
	}})
}

func options(server string) cli.Options {
	return cli.Options{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Color: os.Getenv("COLOR") != "", Terminal: os.Getenv("TERMINAL") != "",
		Server: server, Version: "1.2.3", ReadFile: os.ReadFile, Now: time.Now, Pause: pause,
		LineInit: func(_ context.Context, again bool) (cli.LineSecrets, error) {
			return cli.LineSecrets{Generation: 1, Manager: "rolling-line-manager-1", Agent: "rolling-line-agent-1", Made: again, Ends: apitest.Begin}, nil
		},
		Serve: func(context.Context) error {
			return errors.New("listen on http://127.0.0.1:2400: the address is already taken")
		},
	}
}

func pause(ctx context.Context, _ time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Millisecond):
		return nil
	}
}

// server is a fake manager that a script may stop and start.
type server struct {
	fake   *apitest.Engine
	socket string
	stop   func() error
}

func (s *server) start() error {
	door, err := api.New(s.fake.Parts())
	if err != nil {
		return err
	}
	listeners, err := api.Listen([]api.Address{{Network: "unix", Path: s.socket}})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- door.Serve(ctx, listeners) }()
	s.stop = func() error { cancel(); return <-ended }
	return nil
}

type serverKey struct{}

// TestScripts runs every file of testdata/script: command lines against a fake manager on a real socket, with what they
// print and their exit codes. The scripts know these words besides testscript's own:
// exit CODE COMMAND…, watchers N (wait until so many follow events), cut N (end the next N streams early), down, up.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"), UpdateScripts: *update, RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			folder, err := os.MkdirTemp("", "rolling-cli-")
			if err != nil {
				return err
			}
			s := &server{fake: new(apitest.Engine), socket: filepath.Join(folder, "s")}
			if err := s.start(); err != nil {
				return err
			}
			env.Values[serverKey{}] = s
			env.Setenv("ROLLING_URL", "unix://"+s.socket)
			env.Defer(func() {
				if err := errors.Join(s.stop(), os.RemoveAll(folder)); err != nil {
					t.Error(err)
				}
			})
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exit":     exit,
			"watchers": watchers,
			"cut": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Value(serverKey{}).(*server).fake.Cut(number(ts, args))
			},
			"down": func(ts *testscript.TestScript, _ bool, _ []string) {
				s := ts.Value(serverKey{}).(*server)
				ts.Check(s.stop())
				s.stop = func() error { return nil }
			},
			"up": func(ts *testscript.TestScript, _ bool, _ []string) { ts.Check(ts.Value(serverKey{}).(*server).start()) },
		},
	})
}

func number(ts *testscript.TestScript, args []string) int {
	if len(args) != 1 {
		ts.Fatalf("want one number")
	}
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	return n
}

func exit(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exit CODE COMMAND…")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		code = failed.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if fmt.Sprint(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

func watchers(ts *testscript.TestScript, _ bool, args []string) {
	want, fake := number(ts, args), ts.Value(serverKey{}).(*server).fake
	for deadline := time.Now().Add(30 * time.Second); fake.Watchers() != want; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			ts.Fatalf("%d follow events, want %d", fake.Watchers(), want)
		}
	}
}
