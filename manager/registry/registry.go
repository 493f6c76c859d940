// Package registry asks image registries what a tag means now. It knows the registry's protocol and its errors; it keeps
// nothing, pulls nothing, and does not know what an image is wanted for.
package registry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/rolling-swarm/rolling/manager/release"
)

// ErrUnknown is the failure to find an image: the registry answered, and has none of that name; or the name is none.
var ErrUnknown = errors.New("no registry has it")

// answerWithin bounds one image: people wait for it.
const answerWithin = 20 * time.Second

// Client asks registries. A registry at a private or loopback address is spoken to in plain HTTP, as Docker does.
type Client struct {
	// Plain names further registries, as HOST or HOST:PORT, that speak plain HTTP.
	Plain []string
	// Login gives a registry's user and password by its HOST:PORT; nil or an empty user: nobody logs in.
	Login func(registry string) (user, password string)

	transport http.RoundTripper
}

// New makes a client that connects by dial; nil is the system's own way.
func New(dial func(ctx context.Context, network, address string) (net.Conn, error)) *Client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost, t.ResponseHeaderTimeout = 4, answerWithin
	if dial != nil {
		t.DialContext, t.Proxy = dial, nil
	}
	return &Client{transport: t}
}

// Resolve gives the image pinned by the digest that its registry has for it now. One that is pinned already is only
// looked for. The name stays as it was written, so that nodes pull it from where people expect.
func (c *Client) Resolve(ctx context.Context, image string) (release.Image, error) {
	ref, err := c.parse(image)
	if err != nil {
		return "", fmt.Errorf("image %q: %w: %w", image, ErrUnknown, err)
	}
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	digest, err := c.digest(ctx, ref)
	switch {
	case absent(err):
		return "", fmt.Errorf("image %s: %w: registry %s answers %s: push it first", image, ErrUnknown, ref.Context().RegistryStr(), short(err))
	case err != nil:
		return "", fmt.Errorf("image %s: ask registry %s: %w", image, ref.Context().RegistryStr(), err)
	}
	written, _, pinned := strings.Cut(image, "@")
	if tag, ok := ref.(name.Tag); ok && !pinned && !strings.HasSuffix(written, ":"+tag.TagStr()) {
		written += ":" + tag.TagStr() // for people; it was left out, and means latest
	}
	return release.ParseImage(written + "@" + digest.String())
}

func (c *Client) parse(image string) (name.Reference, error) {
	ref, err := name.ParseReference(image)
	if err != nil || !slices.Contains(c.Plain, ref.Context().RegistryStr()) {
		return ref, err
	}
	return name.ParseReference(image, name.Insecure)
}

func (c *Client) digest(ctx context.Context, ref name.Reference) (v1.Hash, error) {
	options := []remote.Option{remote.WithContext(ctx), remote.WithTransport(c.transport), remote.WithAuth(c.auth(ref)), remote.WithUserAgent("rolling")}
	head, err := remote.Head(ref, options...)
	if err == nil {
		return head.Digest, nil
	}
	// Some registries give no digest in the answer to HEAD, and an answer to HEAD has no room for an error's text.
	got, err := remote.Get(ref, options...)
	if err != nil {
		return v1.Hash{}, err
	}
	return got.Digest, nil
}

func (c *Client) auth(ref name.Reference) authn.Authenticator {
	if c.Login != nil {
		if user, password := c.Login(ref.Context().RegistryStr()); user != "" {
			return &authn.Basic{Username: user, Password: password}
		}
	}
	return authn.Anonymous
}

// absent: the registry has spoken, and the word is no. Docker Hub and others answer "unauthorized" for a repository that
// is not there.
func absent(err error) bool {
	var answer *transport.Error
	if !errors.As(err, &answer) {
		return false
	}
	return answer.StatusCode == http.StatusNotFound || answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusForbidden
}

// short is a registry's error without the request's address, which is long.
func short(err error) string {
	var answer *transport.Error
	if !errors.As(err, &answer) {
		return err.Error()
	}
	texts := []string{fmt.Sprint(answer.StatusCode)}
	for _, d := range answer.Errors {
		texts = append(texts, string(d.Code))
	}
	return strings.Join(texts, " ")
}
