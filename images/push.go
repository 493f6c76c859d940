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
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// An Option says how a registry is reached.
type Option func(*http.Transport)

// Dialer makes every connection to the registry with that function, for a registry that only another network sees.
func Dialer(dial func(ctx context.Context, network, address string) (net.Conn, error)) Option {
	return func(t *http.Transport) { t.DialContext, t.Proxy = dial, nil }
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
	if err := push(ctx, tag, image, options); err != nil {
		return "", fmt.Errorf("push %s to %s: %w", file, to, err)
	}
	digest, err := image.Digest()
	if err != nil {
		return "", fmt.Errorf("push %s: %w", file, err)
	}
	return tag.Context().Digest(digest.String()).String(), nil
}

func push(ctx context.Context, tag name.Tag, image v1.Image, options []Option) error {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = time.Minute
	for _, o := range options {
		o(transport)
	}
	defer transport.CloseIdleConnections()
	return remote.Write(tag, image, remote.WithContext(ctx), remote.WithTransport(transport), remote.WithAuthFromKeychain(authn.DefaultKeychain))
}
