package zookeeper

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/go-zookeeper/zk"
)

// sessionTimeout also bounds how long a request may hang on a dead connection (two thirds of it).
const sessionTimeout = 6 * time.Second

// conn is a connection to the real thing.
type conn struct {
	zk   *zk.Conn
	acl  []zk.ACL
	stop func() bool // undoes the watch on the context
}

// connect makes a connection that ends with ctx. The servers' names are looked up anew each time.
func connect(ctx context.Context, servers []string, auth string, log *slog.Logger) (session, error) {
	client, _, err := zk.Connect(servers, sessionTimeout, zk.WithLogger(quiet{log}), zk.WithLogInfo(false))
	if err != nil {
		return nil, fmt.Errorf("zookeeper %v: connect: %w", servers, err)
	}
	// A request that waits ends with the context.
	c := &conn{zk: client, acl: zk.WorldACL(zk.PermAll), stop: context.AfterFunc(ctx, client.Close)}
	if auth != "" {
		if err := client.AddAuth("digest", []byte(auth)); err != nil {
			c.Close()
			return nil, fmt.Errorf("zookeeper %v: authenticate: %w", servers, err)
		}
		// Everyone may read, as finagle does without credentials; only who knows the password may change.
		c.acl = append(zk.WorldACL(zk.PermRead), zk.ACL{Perms: zk.PermAll, Scheme: "auth"})
	}
	return c, nil
}

// quiet takes the client's messages, which repeat with each try, out of the ordinary log.
type quiet struct{ log *slog.Logger }

func (q quiet) Printf(format string, args ...any) { q.log.Debug(fmt.Sprintf(format, args...)) }

func (c *conn) Close() {
	c.stop()
	c.zk.Close()
}

func (c *conn) Children(path string) ([]string, error) {
	names, _, err := c.zk.Children(path)
	return names, kind(err)
}

func (c *conn) Get(path string) (string, int32, error) {
	data, stat, err := c.zk.Get(path)
	if err != nil {
		return "", 0, kind(err)
	}
	return string(data), stat.Version, nil
}

func (c *conn) Create(path string) error {
	_, err := c.zk.Create(path, nil, 0, c.acl)
	return kind(err)
}

func (c *conn) Set(path, data string, version int32) (int32, error) {
	stat, err := c.zk.Set(path, []byte(data), version)
	if err != nil {
		return 0, kind(err)
	}
	return stat.Version, nil
}

func (c *conn) Apply(guard string, version int32, changes []change) error {
	requests := []any{&zk.CheckVersionRequest{Path: guard, Version: version}}
	for _, ch := range changes {
		if ch.remove {
			requests = append(requests, &zk.DeleteRequest{Path: ch.path, Version: -1})
		} else {
			requests = append(requests, &zk.CreateRequest{Path: ch.path, Data: []byte(ch.data), Acl: c.acl, Flags: zk.FlagSequence})
		}
	}
	answers, err := c.zk.Multi(requests...)
	if err != nil {
		return kind(err)
	}
	for _, a := range answers { // the first that failed says why; those after it only that they were not tried
		if a.Error != nil {
			return kind(a.Error)
		}
	}
	return nil
}

// kind tells the errors apart that reconcile knows, by what they mean.
func kind(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, zk.ErrNoNode):
		return errNoNode
	case errors.Is(err, zk.ErrNodeExists):
		return errExists
	case errors.Is(err, zk.ErrBadVersion):
		return errChanged
	case errors.Is(err, zk.ErrNoAuth), errors.Is(err, zk.ErrInvalidPath), errors.Is(err, zk.ErrBadArguments):
		return err
	}
	return fmt.Errorf("%w: %w", errBroken, err)
}
