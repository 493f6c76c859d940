// Package policy lays the policy where rolling/net of this node reads it, and asks other nodes' agents for theirs. It knows
// a file and a question over HTTP; it refuses to know who leads, and what the policy means.
package policy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/internal/permits"
)

// Path is the question's.
const Path = "/policy"

// askWithin is what a manager that answers needs at most; a node asks the next one then.
const askWithin = 2 * time.Second

// Shelf is a node's folder of rolling/net.
type Shelf struct{ Folder string }

// Read is the document that lies there, and when it was laid by this node's clock; none is no error, and was never laid.
func (s Shelf) Read() (d permits.Document, laid time.Time, err error) {
	file := filepath.Join(s.Folder, permits.File)
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return d, laid, nil
	}
	if err != nil {
		return d, laid, fmt.Errorf("policy: %w", err)
	}
	if d, err = permits.Parse(text); err != nil {
		return d, laid, err
	}
	about, err := os.Stat(file)
	if err != nil {
		return permits.Document{}, laid, fmt.Errorf("policy: %w", err)
	}
	return d, about.ModTime(), nil
}

// Lay puts the document there in one step: whoever reads meets the old one or the new one, also after a loss of power.
func (s Shelf) Lay(d permits.Document) error {
	text, err := d.Text()
	if err != nil {
		return err
	}
	next := filepath.Join(s.Folder, permits.File+".next")
	if err := write(next, text); err != nil {
		return fmt.Errorf("policy: %w: the last one stays", err)
	}
	if err := os.Rename(next, filepath.Join(s.Folder, permits.File)); err != nil {
		return fmt.Errorf("policy: %w: the last one stays", err)
	}
	return nil
}

func write(file string, text []byte) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	now := time.Now() // the kernel's own date may be a tick older
	return os.Chtimes(file, now, now)
}

// Copy is a document and how old the look at the Swarm is that it was made from.
type Copy struct {
	Document permits.Document `json:"document"`
	Age      time.Duration    `json:"age"`
}

// Ask asks the agent of a manager, from this node's own address: only nodes of the Swarm are answered.
func Ask(ctx context.Context, self, manager netip.Addr) (Copy, error) {
	var c Copy
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(self, 0))}
	transport := &http.Transport{DialContext: d.DialContext, DisableKeepAlives: true}
	where := net.JoinHostPort(manager.String(), strconv.Itoa(contract.PolicyPort))
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+where+Path, http.NoBody)
	if err != nil {
		return c, fmt.Errorf("ask %s for the policy: %w", where, err)
	}
	answer, err := transport.RoundTrip(r)
	if err != nil {
		return c, fmt.Errorf("ask %s for the policy: %w", where, err)
	}
	defer answer.Body.Close() //nolint:errcheck // it was only read
	text, err := io.ReadAll(io.LimitReader(answer.Body, permits.MaxText))
	if err != nil || answer.StatusCode != http.StatusOK {
		return c, fmt.Errorf("ask %s for the policy: %s: %.100s", where, answer.Status, text)
	}
	var raw struct {
		Document json.RawMessage `json:"document"`
		Age      time.Duration   `json:"age"`
	}
	if err := json.Unmarshal(text, &raw); err != nil {
		return c, fmt.Errorf("the policy of %s: %w", where, err)
	}
	c.Age = raw.Age
	if c.Document, err = permits.Parse(raw.Document); err != nil {
		return c, fmt.Errorf("the policy of %s: %w", where, err)
	}
	return c, nil
}
