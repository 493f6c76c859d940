package lab

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// ShellImage is the name under which LoadShell lays its image.
const ShellImage = "rolling/shell:dev"

// LoadShell puts ShellImage on every node that is on: a static busybox with a link for each of its commands. It
// serves tests that want a container and care little which.
func (l *Lab) LoadShell(ctx context.Context) error {
	if err := l.machine().Install(ctx, "busybox-static"); err != nil {
		return err
	}
	if err := shellTar(ctx, l.folder("shared", "shell.tar")); err != nil {
		return fmt.Errorf("make image %s: %w", ShellImage, err)
	}
	return each(ctx, l.Nodes(), func(ctx context.Context, node string) error {
		if !l.On(node) {
			return nil
		}
		_, err := l.Docker(ctx, node, "import", "-c", `CMD ["/bin/sh"]`, "/lab/shell.tar", ShellImage)
		return err
	})
}

func shellTar(ctx context.Context, path string) error {
	program, err := os.ReadFile("/bin/busybox")
	if err != nil {
		return err
	}
	list, err := exec.CommandContext(ctx, "/bin/busybox", "--list").Output()
	if err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(writeShell(f, program, strings.Fields(string(list))), f.Close())
}

func writeShell(to io.Writer, program []byte, commands []string) error {
	w := tar.NewWriter(to)
	headers := []*tar.Header{
		{Typeflag: tar.TypeDir, Name: "bin/", Mode: 0o755}, {Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777},
		{Typeflag: tar.TypeReg, Name: "bin/busybox", Mode: 0o755, Size: int64(len(program))},
	}
	for _, command := range commands {
		if command != "busybox" {
			headers = append(headers, &tar.Header{Typeflag: tar.TypeSymlink, Name: "bin/" + command, Linkname: "busybox", Mode: 0o777})
		}
	}
	for _, h := range headers {
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := w.Write(program); err != nil {
				return err
			}
		}
	}
	return w.Close()
}
