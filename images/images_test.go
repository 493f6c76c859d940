package images

import (
	"context"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/rolling-swarm/rolling/internal/tree"
)

func sample(text string) Image {
	layer := &tree.Tree{}
	layer.AddText("web", text, 0o755)
	return Image{Tag: "orders/web:dev", Layers: []*tree.Tree{layer}, Entrypoint: []string{"/web"}, Healthcheck: []string{"/web", "-healthcheck"}, Ports: []string{"8080/tcp"}}
}

func save(t *testing.T, i Image, file string) string {
	t.Helper()
	digest, err := i.Save(file)
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

func TestTheSameRecipeGivesTheSameImage(t *testing.T) {
	one, two := filepath.Join(t.TempDir(), "one.tar"), filepath.Join(t.TempDir(), "two.tar")
	if a, b := save(t, sample("ELF"), one), save(t, sample("ELF"), two); a != b {
		t.Errorf("two digests of one recipe: %s, %s", a, b)
	}
	a, errA := os.ReadFile(one)
	b, errB := os.ReadFile(two)
	if errA != nil || errB != nil || string(a) != string(b) {
		t.Error("two tars of one recipe differ")
	}
}

func TestATarIsMadeAgainOnlyIfItsRecipeChanged(t *testing.T) {
	file := filepath.Join(t.TempDir(), "orders.tar")
	first := save(t, sample("ELF"), file)
	old := time.Unix(1000, 0)
	if err := os.Chtimes(file, old, old); err != nil {
		t.Fatal(err)
	}
	if again := save(t, sample("ELF"), file); again != first {
		t.Errorf("the digest became %s, was %s", again, first)
	}
	if s, err := os.Stat(file); err != nil || !s.ModTime().Equal(old) {
		t.Error("an unchanged recipe was made again")
	}
	if next := save(t, sample("ELF 2"), file); next == first {
		t.Error("a changed layer left the digest as it was")
	}
	other := sample("ELF 2")
	other.Healthcheck = nil
	if bare := save(t, other, file); bare == save(t, sample("ELF 2"), file) {
		t.Error("a changed configuration left the digest as it was")
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	save(t, sample("ELF 2"), file)
	if _, err := os.Stat(file); err != nil {
		t.Error("a removed tar was not made again")
	}
}

func TestTheTarSaysHowTheContainerStarts(t *testing.T) {
	file := filepath.Join(t.TempDir(), "orders.tar")
	save(t, sample("ELF"), file)
	tag, err := name.NewTag("orders/web:dev")
	if err != nil {
		t.Fatal(err)
	}
	image, err := tarball.ImageFromPath(file, &tag)
	if err != nil {
		t.Fatal(err)
	}
	c, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(append(c.Config.Entrypoint, c.Config.Healthcheck.Test...), " "); got != "/web CMD /web -healthcheck" {
		t.Errorf("starts as %q", got)
	}
	if c.Created.Unix() != 0 || c.OS != "linux" {
		t.Errorf("made at %s for %s", c.Created, c.OS)
	}
}

func TestPushGivesTheNameByDigestAndUsesTheDialer(t *testing.T) {
	server := httptest.NewServer(registry.New())
	defer server.Close()
	file := filepath.Join(t.TempDir(), "orders.tar")
	digest := save(t, sample("ELF"), file)
	var dialled atomic.Int32
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		dialled.Add(1)
		return (&net.Dialer{}).DialContext(ctx, network, server.Listener.Addr().String())
	}
	// 10.99.0.1 is nowhere: only the dialer can bring the image there.
	got, err := Push(context.Background(), file, "10.99.0.1:5000/orders/web:1", Dialer(dial))
	if err != nil {
		t.Fatal(err)
	}
	if want := "10.99.0.1:5000/orders/web@" + digest; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if dialled.Load() == 0 {
		t.Error("the dialer was not asked")
	}
	there, err := name.NewDigest(server.Listener.Addr().String() + "/orders/web@" + digest)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := remote.Head(there); err != nil {
		t.Errorf("the registry has no %s: %v", digest, err)
	}
}

func TestAFailedPushNamesFileAndRegistry(t *testing.T) {
	file := filepath.Join(t.TempDir(), "orders.tar")
	if _, err := Push(context.Background(), file, "127.0.0.1:1/x"); err == nil || !strings.Contains(err.Error(), "make images") {
		t.Errorf("a missing tar gave %v", err)
	}
	save(t, sample("ELF"), file)
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, err := Push(ctx, file, "127.0.0.1:1/x")
	if err == nil || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), "127.0.0.1:1/x") {
		t.Errorf("a registry that is away gave %v", err)
	}
}

func TestAnAgentWithoutBundlesIsRefused(t *testing.T) {
	_, err := Make(context.Background(), Recipes(t.TempDir())["agent"], "agent", t.TempDir())
	if err == nil || !strings.Contains(err.Error(), "make plugins") {
		t.Errorf("got %v", err)
	}
}
