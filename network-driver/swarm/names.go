package swarm

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rolling-swarm/rolling/network-driver/vip"
)

const (
	// nameServer is the engine's own, in the namespace of each container on a network of Swarm's.
	nameServer = "127.0.0.11:53"
	// nameWithin: it answers from memory. A name that it does not know it asks others for, which is not waited for.
	nameWithin = 200 * time.Millisecond
	// asked boxes before it is given up for this time.
	mostBoxes = 3
)

// names asks the engine's name server which tasks a service's name stands for. Swarm takes a task out of it as soon as its
// node is told to stop it, two seconds before the stop signal; GET /networks lists the task until it has ended.
type names struct{ folder string }

// mark says of each task whether Swarm took it out. Where nobody answers, or knows none of them, nothing is said.
func (n names) mark(ctx context.Context, q vip.Question, all []vip.Service) {
	for i := range all {
		if len(all[i].Tasks) < 2 {
			continue // the only one serves, whatever is said of it
		}
		known, err := n.ask(ctx, q.Boxes, "tasks."+all[i].Name)
		if err != nil || !slices.ContainsFunc(all[i].Tasks, func(t vip.Task) bool { return slices.Contains(known, t.Address) }) {
			continue
		}
		for j, t := range all[i].Tasks {
			all[i].Tasks[j].Leaving = !slices.Contains(known, t.Address)
		}
	}
}

func (n names) ask(ctx context.Context, boxes []string, name string) ([]netip.Addr, error) {
	var problems []error
	for _, box := range boxes[:min(len(boxes), mostBoxes)] {
		found, err := n.askIn(ctx, box, name)
		if err == nil {
			return found, nil
		}
		problems = append(problems, err)
	}
	return nil, errors.Join(append(problems, errors.New("no name server answered for "+name))...)
}

func (n names) askIn(ctx context.Context, box, name string) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, nameWithin)
	defer cancel()
	r := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (conn net.Conn, err error) {
		err = within(filepath.Join(n.folder, box), func() (err error) {
			conn, err = new(net.Dialer).DialContext(ctx, network, nameServer)
			return err
		})
		return conn, err
	}}
	found, err := r.LookupNetIP(ctx, "ip4", name+".")
	if err != nil {
		return nil, fmt.Errorf("ask the name server of sandbox %s: %w", box, err)
	}
	return found, nil
}

// within runs f on a thread inside a network namespace; sockets that f makes stay inside for good. A thread that cannot
// come back ends with its goroutine.
func within(path string, f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		done <- func() error {
			home, err := os.Open("/proc/thread-self/ns/net")
			if err != nil {
				return err
			}
			defer home.Close() //nolint:errcheck // read only
			there, err := os.Open(path)
			if err != nil {
				return err
			}
			defer there.Close() //nolint:errcheck // read only
			if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
				return fmt.Errorf("enter %s: %w", path, err)
			}
			err = f()
			if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
				return errors.Join(err, back)
			}
			runtime.UnlockOSThread()
			return err
		}()
	}()
	return <-done
}
