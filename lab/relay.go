package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// loopback begins a target that is a port of the nodes' own 127.0.0.1.
const loopback = "loopback:"

// Dashboard is the target of a relay to the manager's dashboard, on whichever node it runs.
func Dashboard() string { return loopback + strconv.Itoa(DashboardPort) }

// Relay carries connections from a port of this machine's 127.0.0.1 to an address in the LAN (`10.99.0.1:5000`,
// `router:5000`, `n2:80`), until ctx ends. `loopback:2400` is that port of 127.0.0.1 on whichever node listens at it: each
// connection looks anew, so it follows a service that moves. Port 0 takes a free one; addr is where it listens.
func (l *Lab) Relay(ctx context.Context, listenPort int, target string) (addr string, err error) {
	if l.wrong != nil {
		return "", l.wrong
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(listenPort)))
	if err != nil {
		return "", fmt.Errorf("relay to %s: %w", target, err)
	}
	context.AfterFunc(ctx, func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // closed by ctx
			}
			go l.carry(ctx, conn, target)
		}
	}()
	return listener.Addr().String(), nil
}

// dialTarget gives up a node that does not answer soon: its loopback answers or refuses at once, unless the node is off.
func (l *Lab) dialTarget(ctx context.Context, target string) (net.Conn, error) {
	port, ok := strings.CutPrefix(target, loopback)
	if !ok {
		return l.DialContext(Router)(ctx, "tcp4", target)
	}
	var refused []error
	for _, node := range l.Nodes() {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		conn, err := l.DialContext(node)(ctx, "tcp4", net.JoinHostPort("127.0.0.1", port))
		cancel()
		if err == nil {
			return conn, nil
		}
		refused = append(refused, fmt.Errorf("%s: %w", node, err))
	}
	return nil, fmt.Errorf("no node listens there: %w", errors.Join(refused...))
}

// carry joins one connection with a new one from the router; when one side has said all, the other still may.
func (l *Lab) carry(ctx context.Context, outside net.Conn, target string) {
	defer outside.Close() //nolint:errcheck // said all there is
	inside, err := l.dialTarget(ctx, target)
	if err != nil {
		l.logf("relay to %s: %v", target, err)
		return
	}
	defer inside.Close() //nolint:errcheck // said all there is
	defer context.AfterFunc(ctx, func() { _, _ = outside.Close(), inside.Close() })()
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{inside, outside}, {outside, inside}} {
		both.Go(func() {
			_, _ = io.Copy(way[0], way[1]) // an error of one side ends the other below
			if half, ok := way[0].(*net.TCPConn); ok {
				_ = half.CloseWrite()
			}
		})
	}
	both.Wait()
}

// markRelay names in a process's environment the relay that it serves.
const markRelay = "ROLLING_LAB_RELAY="

// RelayProcess prepares a process that serves a relay until the lab goes down: program has to call Relay with
// the same port and target.
func (l *Lab) RelayProcess(listenPort int, target, program string, args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	cmd.Dir = "/"
	cmd.Env = l.environment(Router, fmt.Sprintf("%s127.0.0.1:%d > %s", markRelay, listenPort, target))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd
}

// StopRelay ends the process that serves the relay on that port.
func (l *Lab) StopRelay(ctx context.Context, listenPort int) error {
	begin := fmt.Sprintf("127.0.0.1:%d > ", listenPort)
	for _, p := range marked(l.mark(), markNode+Router) {
		for _, v := range environOf(p.PID) {
			if strings.HasPrefix(v, markRelay+begin) {
				p.signal(syscall.SIGKILL, false)
				return p.gone(ctx)
			}
		}
	}
	return fmt.Errorf("lab %s has no relay on port %d", l.name, listenPort)
}
