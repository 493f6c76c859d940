package images

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/rolling-swarm/rolling/internal/program"
	"github.com/rolling-swarm/rolling/internal/tree"
)

// A Recipe builds what an image needs, in a folder that it may keep between runs, and says what goes into the image.
type Recipe func(ctx context.Context, work string) (Image, error)

// Recipes are the images of this checkout by name. The plugins' bundles are those of an earlier `make plugins`.
func Recipes(plugins string) map[string]Recipe {
	return map[string]Recipe{
		"agent":   func(ctx context.Context, work string) (Image, error) { return agent(ctx, work, plugins) },
		"manager": manager,
		"orders":  orders,
		"lines":   lines,
	}
}

// agent carries every plugin's bundle: a node needs no registry for them. What changes least is the lowest layer.
func agent(ctx context.Context, work, plugins string) (Image, error) {
	i := Image{
		Tag:        "rolling/agent:dev",
		Entrypoint: []string{"/agent"},
		Command:    []string{"run"},
	}
	bundles, err := filepath.Glob(filepath.Join(plugins, "*", "config.json"))
	if err != nil || len(bundles) == 0 {
		return i, fmt.Errorf("image agent: no bundle in %s: make them first: make plugins", plugins)
	}
	for _, config := range bundles {
		layer := &tree.Tree{}
		folder := filepath.Dir(config)
		if err := layer.AddAll("bundles/"+filepath.Base(folder), folder); err != nil {
			return i, fmt.Errorf("image agent: %w", err)
		}
		i.Layers = append(i.Layers, layer)
	}
	layer, err := static(ctx, "./agent", filepath.Join(work, "agent"), "agent")
	if err != nil {
		return i, fmt.Errorf("image agent: %w", err)
	}
	i.Layers = append(i.Layers, layer)
	return i, nil
}

// manager holds the binary rolling, which is also the command line: docker exec reaches it there.
func manager(ctx context.Context, work string) (Image, error) {
	layer, err := static(ctx, "./manager", filepath.Join(work, "rolling"), "rolling")
	if err != nil {
		return Image{}, fmt.Errorf("image manager: %w", err)
	}
	return Image{
		Tag:        "rolling/manager:dev",
		Layers:     []*tree.Tree{layer},
		Entrypoint: []string{"/rolling"},
		Command:    []string{"server"},
	}, nil
}

func orders(ctx context.Context, work string) (Image, error) {
	layer, err := static(ctx, "./examples/orders/web", filepath.Join(work, "orders-web"), "web")
	if err != nil {
		return Image{}, fmt.Errorf("image orders: %w", err)
	}
	return Image{
		Tag:         "orders/web:dev",
		Layers:      []*tree.Tree{layer},
		Entrypoint:  []string{"/web"},
		Healthcheck: []string{"/web", "-healthcheck"},
		Ports:       []string{"8080/tcp"},
	}, nil
}

func lines(ctx context.Context, work string) (Image, error) {
	layer, err := static(ctx, "./examples/lines", filepath.Join(work, "lines"), "lines")
	if err != nil {
		return Image{}, fmt.Errorf("image lines: %w", err)
	}
	return Image{Tag: "lines/writer:dev", Layers: []*tree.Tree{layer}, Entrypoint: []string{"/lines"}}, nil
}

// static is a layer with one program in it.
func static(ctx context.Context, pkg, built, path string) (*tree.Tree, error) {
	if err := program.Build(ctx, pkg, built); err != nil {
		return nil, err
	}
	layer := &tree.Tree{}
	return layer, layer.AddFile(path, built, 0o755)
}

// Make saves the named image in the folder out, as NAME.tar, and returns its digest.
func Make(ctx context.Context, recipe Recipe, name, out string) (digest string, err error) {
	work := filepath.Join(out, ".work")
	if err := os.MkdirAll(work, 0o755); err != nil {
		return "", fmt.Errorf("image %s: %w", name, err)
	}
	image, err := recipe(ctx, work)
	if err != nil {
		return "", err
	}
	return image.Save(filepath.Join(out, name+".tar"))
}
