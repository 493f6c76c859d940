package images

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// An Option says how a registry is reached, or what is different in the image there.
type Option func(*pushing)

type pushing struct {
	transport *http.Transport
	env       []string
}

// Dialer makes every connection to the registry with that function, for a registry that only another network sees.
func Dialer(dial func(ctx context.Context, network, address string) (net.Conn, error)) Option {
	return func(p *pushing) { p.transport.DialContext, p.transport.Proxy = dial, nil }
}

// Env adds variables NAME=VALUE to the image's environment: the same layers, another digest.
func Env(variables ...string) Option {
	return func(p *pushing) { p.env = append(p.env, variables...) }
}

// Push sends the image in a tar to a registry, under a name such as 10.99.0.1:5000/orders/web:1, and returns its name by
// digest. Registries on private addresses are spoken to in plain HTTP, all others in HTTPS.
func Push(ctx context.Context, file, to string, options ...Option) (byDigest string, err error) {
	tag, err := name.NewTag(to)
	if err != nil {
		return "", fmt.Errorf("push %s: %w", file, err)
	}
	image, err := tarball.ImageFromPath(file, nil)
	if err != nil {
		return "", fmt.Errorf("push %s: read it: %w: make it with `make images`", file, err)
	}
	p := pushing{transport: http.DefaultTransport.(*http.Transport).Clone()}
	p.transport.ResponseHeaderTimeout = time.Minute
	for _, o := range options {
		o(&p)
	}
	defer p.transport.CloseIdleConnections()
	if image, err = p.vary(image); err != nil {
		return "", fmt.Errorf("push %s to %s: %w", file, to, err)
	}
	if err := remote.Write(tag, image, remote.WithContext(ctx), remote.WithTransport(p.transport), remote.WithAuthFromKeychain(authn.DefaultKeychain)); err != nil {
		return "", fmt.Errorf("push %s to %s: %w", file, to, err)
	}
	digest, err := image.Digest()
	if err != nil {
		return "", fmt.Errorf("push %s: %w", file, err)
	}
	return tag.Context().Digest(digest.String()).String(), nil
}

// vary gives the image with the asked environment.
func (p pushing) vary(image v1.Image) (v1.Image, error) {
	if len(p.env) == 0 {
		return image, nil
	}
	file, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config := *file.Config.DeepCopy()
	config.Env = append(config.Env, p.env...)
	return mutate.Config(image, config)
}
