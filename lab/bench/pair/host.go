package pair

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// pin keeps this whole process on one CPU: the first that it may use, or, for a server apart, the second.
func pin(oneCPU bool, end string) error {
	runtime.GOMAXPROCS(1)
	var may unix.CPUSet
	if err := unix.SchedGetaffinity(0, &may); err != nil {
		return fmt.Errorf("ask for the CPUs: %w", err)
	}
	skip := 0
	if end == server && !oneCPU {
		skip = 1
	}
	cpu, err := nth(&may, skip)
	if err != nil {
		return err
	}
	var only unix.CPUSet
	only.Set(cpu)
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return fmt.Errorf("pin to CPU %d: %w", cpu, err)
	}
	for _, t := range threads {
		id, err := strconv.Atoi(t.Name())
		if err != nil {
			return fmt.Errorf("pin to CPU %d: thread %q: %w", cpu, t.Name(), err)
		}
		if err := unix.SchedSetaffinity(id, &only); err != nil && !errors.Is(err, unix.ESRCH) { // it may just have ended
			return fmt.Errorf("pin to CPU %d: %w", cpu, err)
		}
	}
	return nil
}

// nth is the CPU of the set that comes after skip others.
func nth(set *unix.CPUSet, skip int) (int, error) {
	for cpu := range len(set) * strconv.IntSize {
		if !set.IsSet(cpu) {
			continue
		}
		if skip == 0 {
			return cpu, nil
		}
		skip--
	}
	return 0, fmt.Errorf("this process may use %d CPUs: the ends of a path need two, one each", set.Count())
}

// congestion sets the algorithm before the connection is made: one named apart from the namespace's own choice needs
// CAP_NET_ADMIN.
func congestion(algorithm string) func(network, address string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		var err error
		controlled := c.Control(func(fd uintptr) {
			err = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, algorithm)
		})
		if err != nil {
			err = fmt.Errorf("congestion control %q: %w: /proc/sys/net/ipv4/tcp_available_congestion_control names what there is", algorithm, err)
		}
		return errors.Join(controlled, err)
	}
}

func congestionOf(c net.Conn) (string, error) {
	t, ok := c.(*net.TCPConn)
	if !ok {
		return "", fmt.Errorf("%T is no TCP connection", c)
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return "", err
	}
	algorithm := ""
	controlled := raw.Control(func(fd uintptr) {
		algorithm, err = unix.GetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION)
	})
	return algorithm, errors.Join(controlled, err)
}
