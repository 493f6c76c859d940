package address

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/docker/go-plugins-helpers/ipam"
	"github.com/moby/moby/client"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/lab/bench/figure"
)

// answerWithin is the engine's own patience with a plugin.
const answerWithin = 30 * time.Second

// calls asks the leader's plugin for addresses, as its engine would, and gives each back. A bare fsync beside the
// plugin's ledger goes between.
func (b *bench) calls(ctx context.Context) ([]figure.Figure, error) {
	leader, err := b.Lab.Leader(ctx)
	if err != nil {
		return nil, err
	}
	p, err := b.dial(ctx, leader)
	if err != nil {
		return nil, err
	}
	defer p.close()
	state, err := b.Lab.Path(leader, contract.StateRoot+"/ipam")
	if err != nil {
		return nil, err
	}
	disk, err := newFsync(state)
	if err != nil {
		return nil, err
	}
	defer disk.remove()
	times, err := p.exercise(ctx, b.set.Calls, disk)
	if err != nil {
		return nil, err
	}
	return times.figures(), nil
}

// times are those of each call, in order.
type times struct{ request, release, fsync []time.Duration }

func (t times) figures() []figure.Figure {
	request, release, fsync := figure.Milliseconds(t.request), figure.Milliseconds(t.release), figure.Milliseconds(t.fsync)
	var figures []figure.Figure
	for _, c := range []struct {
		name string
		q    float64
	}{{"p50", 0.5}, {"p99", 0.99}} {
		note := fmt.Sprintf("RequestAddress over the plugin's socket on the leader, a pool of its own; ReleaseAddress %.3g ms", figure.Quantile(release, c.q))
		figures = append(figures, figure.Beside("ipam.call_"+c.name, "ms", figure.Quantile(request, c.q), "one fsync", figure.Quantile(fsync, c.q), len(request), note))
	}
	return figures
}

// plugin speaks the IPAM protocol to a managed plugin.
type plugin struct {
	http http.Client
	dir  *os.File
}

// dial finds the plugin's socket. Its whole path is longer than the 107 bytes that an address of a socket has.
func (b *bench) dial(ctx context.Context, node string) (*plugin, error) {
	id := ""
	err := b.With(node, func(c *client.Client) error {
		got, err := c.PluginInspect(ctx, contract.PluginIPAM, client.PluginInspectOptions{})
		id = got.Plugin.ID
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("find %s on %s: %w", contract.PluginIPAM, node, err)
	}
	path, err := b.Lab.Path(node, "/run/docker/plugins/"+id)
	if err != nil {
		return nil, err
	}
	dir, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("socket of %s on %s: %w", contract.PluginIPAM, node, err)
	}
	socket := fmt.Sprintf("/proc/self/fd/%d/ipam.sock", dir.Fd())
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	return &plugin{http.Client{Transport: transport, Timeout: answerWithin}, dir}, nil
}

func (p *plugin) close() {
	p.http.CloseIdleConnections()
	_ = p.dir.Close() // read only
}

// call does one call of the protocol.
func (p *plugin) call(ctx context.Context, name string, request, answer any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://plugin/IpamDriver."+name, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	got, err := p.http.Do(r)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	defer got.Body.Close() //nolint:errcheck // read only
	text, err := io.ReadAll(io.LimitReader(got.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if got.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", name, got.Status, bytes.TrimSpace(text))
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, text)
	}
	return nil
}

// exercise takes n addresses from a pool that no network has, one after the other, and gives each back at once.
func (p *plugin) exercise(ctx context.Context, n int, disk *fsync) (t times, err error) {
	var spaces ipam.AddressSpacesResponse
	if err := p.call(ctx, "GetDefaultAddressSpaces", struct{}{}, &spaces); err != nil {
		return t, err
	}
	var pool ipam.RequestPoolResponse
	if err := p.call(ctx, "RequestPool", ipam.RequestPoolRequest{AddressSpace: spaces.GlobalDefaultAddressSpace, Pool: "10.206.0.0/16"}, &pool); err != nil {
		return t, err
	}
	defer func() {
		err = errors.Join(err, p.call(ctx, "ReleasePool", ipam.ReleasePoolRequest{PoolID: pool.PoolID}, &struct{}{}))
	}()
	for range n {
		var got ipam.RequestAddressResponse
		begun := time.Now()
		if err := p.call(ctx, "RequestAddress", ipam.RequestAddressRequest{PoolID: pool.PoolID}, &got); err != nil {
			return t, err
		}
		t.request = append(t.request, time.Since(begun))
		took, err := disk.sync()
		if err != nil {
			return t, err
		}
		t.fsync = append(t.fsync, took)
		address, _, _ := bytes.Cut([]byte(got.Address), []byte{'/'})
		begun = time.Now()
		if err := p.call(ctx, "ReleaseAddress", ipam.ReleaseAddressRequest{PoolID: pool.PoolID, Address: string(address)}, &struct{}{}); err != nil {
			return t, err
		}
		t.release = append(t.release, time.Since(begun))
	}
	return t, nil
}

// fsync is the least that a durable decision can cost: one page to disk.
type fsync struct {
	f  *os.File
	at int64
}

const page = 4096

// newFsync makes its file in the folder at full length: a file that grows would cost more.
func newFsync(folder string) (*fsync, error) {
	f, err := os.Create(filepath.Join(folder, "bench-fsync"))
	if err != nil {
		return nil, fmt.Errorf("measure the disk: %w", err)
	}
	s := &fsync{f: f}
	if _, err := f.Write(make([]byte, 256*page)); err != nil {
		s.remove()
		return nil, fmt.Errorf("measure the disk: %w", err)
	}
	return s, nil
}

func (s *fsync) sync() (time.Duration, error) {
	begun := time.Now()
	_, err := s.f.WriteAt(make([]byte, page), s.at*page)
	if err == nil {
		err = s.f.Sync()
	}
	s.at = (s.at + 1) % 256
	if err != nil {
		return 0, fmt.Errorf("measure the disk: %w", err)
	}
	return time.Since(begun), nil
}

func (s *fsync) remove() {
	_ = s.f.Close()
	_ = os.Remove(s.f.Name()) // with the lab, at the latest
}
