package line

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/rolling-swarm/rolling/internal/wire"
)

// Addresses are what the node's IPAM plugin knows: with all leases, with that of one address, or with none.
func (s *Switchboard) Addresses(ctx context.Context, node string, leases bool, one netip.Addr) (wire.Addresses, error) {
	query := url.Values{}
	if leases {
		query.Set("leases", "true")
	}
	if one.IsValid() {
		query.Set("lease", one.String())
	}
	var got wire.Addresses
	err := s.ask(ctx, node, wire.PathAddresses, query, &got)
	return got, err
}

// Free has the node's IPAM plugin end the rest of an address; wire.ErrRefused if it will not.
func (s *Switchboard) Free(ctx context.Context, node string, a netip.Addr, sure bool) error {
	query := url.Values{"address": {a.String()}}
	if sure {
		query.Set("force", "true")
	}
	return s.tell(ctx, node, wire.PathFree, query)
}

// ReadSettled has the node's IPAM plugin read named pools and reservations now.
func (s *Switchboard) ReadSettled(ctx context.Context, node string) error {
	return s.tell(ctx, node, wire.PathSettled, nil)
}

func (s *Switchboard) tell(ctx context.Context, node, path string, query url.Values) error {
	l, err := s.line(node)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	at := url.URL{Scheme: "http", Host: "agent", Path: path, RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, at.String(), nil)
	if err != nil {
		return err
	}
	resp, err := l.transport.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("tell the agent of node %s: %w", l.node.Hostname, err)
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	switch resp.StatusCode {
	case http.StatusOK:
		return nil
	case http.StatusConflict:
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10)) // half a reason is one too
		return fmt.Errorf("%w: %s", wire.ErrRefused, strings.TrimPrefix(strings.TrimSpace(strings.ToValidUTF8(string(text), "")), wire.ErrRefused.Error()+": "))
	}
	return fmt.Errorf("tell the agent of node %s: %w", l.node.Hostname, refusal(resp.StatusCode, resp.Body))
}
