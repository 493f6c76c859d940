// Package images makes container images without a Docker engine, and pushes them to registries. It knows layers,
// an image's configuration, the tar that `docker load` reads, and the registry protocol. It refuses to know what is in
// a layer beyond its path, and starts no container.
//
// The same files give the same image digest on every machine: no time, no owner, no commit is in it.
package images

import (
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/rolling-swarm/rolling/internal/tree"
)

// An Image is a recipe: what stands in it and how it starts.
type Image struct {
	Tag         string // under which `docker load` files it, such as rolling/agent:dev
	Layers      []*tree.Tree
	Entrypoint  []string
	Command     []string
	Env         []string
	Healthcheck []string // a command and its arguments, none if empty
	Ports       []string // such as 8080/tcp
	Labels      map[string]string
}

// Save writes the image to a tar for `docker load` and returns the digest that a registry would show. If the tar there
// was made of the same recipe, it is left alone.
func (i Image) Save(file string) (digest string, err error) {
	key, err := i.key()
	if err != nil {
		return "", fmt.Errorf("image %s: %w", i.Tag, err)
	}
	if digest, ok := saved(file, key); ok {
		return digest, nil
	}
	if digest, err = i.save(file, key); err != nil {
		return "", fmt.Errorf("image %s: %w", i.Tag, err)
	}
	return digest, nil
}

func (i Image) save(file, key string) (string, error) {
	tag, err := name.NewTag(i.Tag)
	if err != nil {
		return "", err
	}
	image, err := i.make()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return "", err
	}
	// The note goes first and comes back last: whatever ends this half-way, a next run makes the image again.
	if err := os.RemoveAll(note(file)); err != nil {
		return "", err
	}
	if err := tarball.WriteToFile(file+".growing", tag, image); err != nil {
		return "", fmt.Errorf("write %s: %w", file, err)
	}
	if err := os.Rename(file+".growing", file); err != nil {
		return "", err
	}
	digest, err := image.Digest()
	if err != nil {
		return "", err
	}
	return digest.String(), os.WriteFile(note(file), []byte(key+" "+digest.String()+"\n"), 0o644)
}

func (i Image) make() (v1.Image, error) {
	var layers []v1.Layer
	for _, t := range i.Layers {
		layer, err := tarball.LayerFromOpener(opener(t), tarball.WithCompressionLevel(gzip.BestSpeed), tarball.WithCompressedCaching)
		if err != nil {
			return nil, fmt.Errorf("make layer: %w", err)
		}
		layers = append(layers, layer)
	}
	image, err := mutate.AppendLayers(empty.Image, layers...)
	if err != nil {
		return nil, err
	}
	c, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	c = c.DeepCopy()
	c.OS, c.Architecture, c.Created = "linux", runtime.GOARCH, v1.Time{Time: time.Unix(0, 0).UTC()}
	c.Config = i.config()
	return mutate.ConfigFile(image, c)
}

func (i Image) config() v1.Config {
	c := v1.Config{
		Entrypoint:   i.Entrypoint,
		Cmd:          i.Command,
		Env:          append([]string{"PATH=/"}, i.Env...),
		WorkingDir:   "/",
		Labels:       i.Labels,
		ExposedPorts: map[string]struct{}{},
	}
	for _, p := range i.Ports {
		c.ExposedPorts[p] = struct{}{}
	}
	if len(i.Healthcheck) > 0 {
		c.Healthcheck = &v1.HealthConfig{Test: append([]string{"CMD"}, i.Healthcheck...), Interval: 5 * time.Second, Timeout: 3 * time.Second, Retries: 3}
	}
	return c
}

// opener streams the layer anew for each of its readers, so that no layer is held in memory uncompressed.
func opener(t *tree.Tree) tarball.Opener {
	return func() (io.ReadCloser, error) {
		r, w := io.Pipe()
		go func() { w.CloseWithError(t.Tar(w)) }()
		return r, nil
	}
}
