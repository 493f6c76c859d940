package parts

import (
	"context"
	"crypto/sha256"
	_ "embed" // pom.xml, Probe.java
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

//go:embed finagle/pom.xml
var finaglePom string

//go:embed finagle/Probe.java
var finagleProbe string

// FinaglePackages are what a real finagle client needs of Debian.
func FinaglePackages() []string { return []string{"default-jdk-headless", "maven"} }

// Finagle compiles the probe in finagle/Probe.java and says how it is run; its arguments are to be added: the destination
// (zk!HOST:PORT!/PATH or zk2!HOST:PORT!/PATH), for how many seconds, and the milliseconds between requests.
func Finagle(ctx context.Context, cache string) (Program, error) {
	libraries, err := jars(ctx, cache, "finagle", finaglePom)
	if err != nil {
		return Program{}, err
	}
	classes := filepath.Join(libraries, fmt.Sprintf("probe-%.4x", sha256.Sum256([]byte(finagleProbe))))
	if _, err := os.Stat(filepath.Join(classes, "Probe.class")); err != nil {
		if err := compileProbe(ctx, libraries, classes); err != nil {
			return Program{}, fmt.Errorf("finagle: %w", err)
		}
	}
	return Program{Path: "java", Args: []string{"-Xmx256m", "-XX:+UseSerialGC", "-cp", classes + ":" + libraries + "/*", "Probe"}}, nil
}

func compileProbe(ctx context.Context, libraries, classes string) error {
	if err := os.MkdirAll(classes, 0o755); err != nil {
		return err
	}
	source := filepath.Join(classes, "Probe.java")
	if err := os.WriteFile(source, []byte(finagleProbe), 0o644); err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, "javac", "-cp", libraries+"/*", "-d", classes, source).CombinedOutput()
	if err != nil {
		return fmt.Errorf("compile the probe: %w: %s", err, out)
	}
	return nil
}
