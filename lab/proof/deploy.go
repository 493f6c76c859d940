package proof

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/rolling-swarm/rolling/images"
	"github.com/rolling-swarm/rolling/lab"
)

// pushOrders pushes the image of examples/orders from build/images to the lab's registry and returns its name by digest.
func (w *World) pushOrders(ctx context.Context) (string, error) {
	ref, err := images.Push(ctx, filepath.Join(w.Root, "build/images/orders.tar"), w.repository()+":demo", images.Dialer(w.Lab.DialContext("router")))
	if err != nil {
		return "", fmt.Errorf("push %s: %w", w.repository(), err)
	}
	return ref, nil
}

// repository is where the lab's registry keeps orders.
func (w *World) repository() string { return w.Lab.Address(lab.Router).String() + ":5000/orders/web" }

// pushVariant pushes orders with another environment variable in its image, so that it is another digest, under a tag.
func (w *World) pushVariant(ctx context.Context, tag, variable string) (byDigest string, err error) {
	ref, err := images.Push(ctx, filepath.Join(w.Root, "build/images/orders.tar"), w.repository()+":"+tag, images.Dialer(w.Lab.DialContext(lab.Router)), images.Env(variable))
	if err != nil {
		return "", fmt.Errorf("push orders with %s: %w", variable, err)
	}
	return ref, nil
}

// deploy runs docker stack deploy on the leader with a stack file of the checkout.
func (w *World) deploy(ctx context.Context, stack, file string, env ...string) error {
	leader, err := w.leader(ctx)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("deploy %s: %w", stack, err)
	}
	cmd := w.Lab.Command(ctx, leader, append(append([]string{"env"}, env...), "docker", "stack", "deploy", "--resolve-image", "never", "-c", "-", stack)...)
	cmd.Stdin = strings.NewReader(string(text))
	return output(cmd, "docker stack deploy "+stack+" on "+leader)
}

func output(cmd *exec.Cmd, what string) error {
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", what, err, strings.TrimSpace(string(out)))
	}
	return nil
}
