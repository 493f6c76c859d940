// Package probe asks a program over HTTP, at its container's own address, whether it is ready. It knows one request; it
// does not know which programs there are, nor what a bad answer leads to.
package probe

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// answerWithin bounds one request: a program that takes longer is not ready.
const answerWithin = 3 * time.Second

// HTTP probes by GET. An answer from 200 to 399 is good; a redirect is not followed.
type HTTP struct {
	client *http.Client
}

// New makes a probe that connects by dial; nil is the system's own way. The machine must have routes to the containers.
func New(dial func(ctx context.Context, network, address string) (net.Conn, error)) HTTP {
	if dial == nil {
		dial = (&net.Dialer{Timeout: answerWithin}).DialContext
	}
	return HTTP{&http.Client{
		Transport:     &http.Transport{DialContext: dial, DisableKeepAlives: true},
		Timeout:       answerWithin,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Probe gives nil when the program answers well.
func (h HTTP) Probe(ctx context.Context, at netip.AddrPort, path string) error {
	url := "http://" + at.String() + path
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("probe %s: %w", url, err)
	}
	answer, err := h.client.Do(request)
	if err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	defer answer.Body.Close() //nolint:errcheck // it was only read
	text, _ := io.ReadAll(io.LimitReader(answer.Body, 200))
	if answer.StatusCode < 200 || answer.StatusCode > 399 {
		return fmt.Errorf("probe %s: answer %d: %.200q", url, answer.StatusCode, text)
	}
	return nil
}
