package registry_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	ours "github.com/rolling-swarm/rolling/manager/registry"
)

// serve runs a registry with one image and gives its address and the image's digest.
func serve(t *testing.T, wrap func(http.Handler) http.Handler) (address, digest string) {
	t.Helper()
	h := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	if wrap != nil {
		h = wrap(h)
	}
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	address = strings.TrimPrefix(server.URL, "http://")
	image, err := random.Image(64, 1)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.ParseReference(address + "/orders/web:1.0")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, image); err != nil {
		t.Fatal(err)
	}
	hash, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	for _, tag := range []string{"latest"} {
		if err := remote.Tag(ref.Context().Tag(tag), image); err != nil {
			t.Fatal(err)
		}
	}
	return address, hash.String()
}

func TestResolve(t *testing.T) {
	address, digest := serve(t, nil)
	c := ours.New(nil)
	for _, row := range []struct{ name, image, want string }{
		{"a tag is pinned", "/orders/web:1.0", "/orders/web:1.0@" + digest},
		{"no tag means latest", "/orders/web", "/orders/web:latest@" + digest},
		{"a pinned one is looked for and stays", "/orders/web@" + digest, "/orders/web@" + digest},
		{"a pinned one keeps its tag", "/orders/web:9@" + digest, "/orders/web:9@" + digest},
	} {
		got, err := c.Resolve(t.Context(), address+row.image)
		if err != nil || string(got) != address+row.want {
			t.Errorf("%s: %s, want %s (%v)", row.name, got, address+row.want, err)
		}
	}
}

func TestResolveRefusesWhatNobodyHas(t *testing.T) {
	address, _ := serve(t, nil)
	c := ours.New(nil)
	for _, row := range []struct{ name, image, says string }{
		{"an unknown tag", address + "/orders/web:2.0", "push it first"},
		{"an unknown repository", address + "/orders/wab:1.0", "push it first"},
		{"a digest that nobody has", address + "/orders/web@sha256:" + strings.Repeat("a", 64), "push it first"},
		{"what is no image", "Not An Image", "could not parse"},
		{"nothing", "", "could not parse"},
	} {
		_, err := c.Resolve(t.Context(), row.image)
		if !errors.Is(err, ours.ErrUnknown) || !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: %v", row.name, err)
		}
	}
}

func TestARegistryThatIsAwayIsNoRefusal(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = ours.New(nil).Resolve(t.Context(), address+"/orders/web:1.0")
	if err == nil || errors.Is(err, ours.ErrUnknown) || !strings.Contains(err.Error(), address) {
		t.Errorf("the error is %v", err)
	}
}

func TestARegistryWithoutADigestInItsHeadIsAskedAgain(t *testing.T) {
	filled := false
	address, digest := serve(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if filled && r.Method == http.MethodHead && strings.Contains(r.URL.Path, "/manifests/") {
				w.WriteHeader(http.StatusMethodNotAllowed)
				return
			}
			h.ServeHTTP(w, r)
		})
	})
	filled = true
	got, err := ours.New(nil).Resolve(t.Context(), address+"/orders/web:1.0")
	if err != nil || !strings.HasSuffix(string(got), digest) {
		t.Errorf("%s (%v)", got, err)
	}
}

func TestPrivateAddressesAndNamedOnesSpeakPlainHTTP(t *testing.T) {
	address, digest := serve(t, nil)
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
	c := ours.New(dial)
	c.Plain = []string{"registry.example:5000"}
	for _, host := range []string{"10.99.0.1:5000", "172.16.3.4:5000", "192.168.1.1:5000", "registry.example:5000"} {
		got, err := c.Resolve(t.Context(), host+"/orders/web:1.0")
		if err != nil || string(got) != host+"/orders/web:1.0@"+digest {
			t.Errorf("%s: %s (%v)", host, got, err)
		}
	}
	if _, err := c.Resolve(t.Context(), "elsewhere.example:5000/orders/web:1.0"); err == nil {
		t.Error("a public registry was spoken to in plain HTTP")
	}
}

func TestLogin(t *testing.T) {
	closed := false
	address, digest := serve(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if user, password, _ := r.BasicAuth(); closed && (user != "ann" || password != "secret") {
				w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			h.ServeHTTP(w, r)
		})
	})
	closed = true
	c := ours.New(nil)
	if _, err := c.Resolve(t.Context(), address+"/orders/web:1.0"); !errors.Is(err, ours.ErrUnknown) {
		t.Errorf("nobody logged in: %v", err)
	}
	c.Login = func(host string) (string, string) {
		if host != address {
			t.Errorf("a login for %s was asked for", host)
		}
		return "ann", "secret"
	}
	got, err := c.Resolve(t.Context(), address+"/orders/web:1.0")
	if err != nil || !strings.HasSuffix(string(got), digest) {
		t.Errorf("%s (%v)", got, err)
	}
}
