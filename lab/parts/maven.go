package parts

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// jars gives the folder that holds what a pom.xml names, with all that this needs. The folder is kept: it is fetched
// once for each text of the pom.
func jars(ctx context.Context, cache, name, pom string) (string, error) {
	if cache == "" {
		return "", fmt.Errorf("%s: the site has no cache to keep its jars in", name)
	}
	folder := filepath.Join(cache, fmt.Sprintf("%s-%.4x", name, sha256.Sum256([]byte(pom))))
	if _, err := os.Stat(folder); err == nil {
		return folder, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	unfinished, err := os.MkdirTemp(cache, name+"-unfinished-")
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	defer func() { _ = os.RemoveAll(unfinished) }() // gone already if all went well
	file := filepath.Join(unfinished, "pom.xml")
	if err := os.WriteFile(file, []byte(pom), 0o644); err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	out, err := exec.CommandContext(ctx, "mvn", "-q", "-B", "-ntp", "-f", file, "dependency:copy-dependencies",
		"-DoutputDirectory="+unfinished, "-DincludeScope=runtime").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: fetch its jars by Maven: %w: %s", name, err, out)
	}
	if err := os.Rename(unfinished, folder); err != nil {
		if _, other := os.Stat(folder); other == nil {
			return folder, nil // fetched by somebody else meanwhile
		}
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return folder, nil
}
