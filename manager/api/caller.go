package api

import (
	"context"
	"net"
	"os/user"
	"strconv"
	"syscall"
)

type callerKey struct{}

// caller names, for the record, who asks: on the unix socket the kernel says it, on loopback nobody does.
func caller(ctx context.Context) string {
	uid, ok := ctx.Value(callerKey{}).(uint32)
	if !ok {
		return "loopback"
	}
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return "uid " + id
}

// withPeer notes the user at the other end of a unix socket.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	unix, ok := c.(*net.UnixConn)
	if !ok {
		return ctx
	}
	raw, err := unix.SyscallConn()
	if err != nil {
		return ctx
	}
	var peer *syscall.Ucred
	controlErr := raw.Control(func(fd uintptr) {
		peer, err = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	})
	if controlErr != nil || err != nil {
		return ctx
	}
	return context.WithValue(ctx, callerKey{}, peer.Uid)
}
