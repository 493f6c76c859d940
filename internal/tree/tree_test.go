package tree

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func write(t *testing.T, folder, name, text string, mode os.FileMode) string {
	t.Helper()
	at := filepath.Join(folder, name)
	if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return at
}

func digest(t *testing.T, tree *Tree) string {
	t.Helper()
	d, err := tree.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestTheSameFilesGiveTheSameDigest lays one content twice, with other times, other umasks and in another order.
func TestTheSameFilesGiveTheSameDigest(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	write(t, a, "rootfs/bin/prog", "ELF", 0o755)
	write(t, a, "rootfs/etc/name", "x", 0o644)
	write(t, b, "rootfs/etc/name", "x", 0o600)
	prog := write(t, b, "rootfs/bin/prog", "ELF", 0o700)
	if err := os.Chtimes(prog, time.Unix(1, 0), time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	var first, second, third Tree
	for tree, folder := range map[*Tree]string{&first: a, &second: b, &third: a} {
		if err := tree.AddAll("plugin", folder); err != nil {
			t.Fatal(err)
		}
	}
	if digest(t, &first) != digest(t, &second) {
		t.Error("the same content has two digests")
	}
	third.AddText("plugin/rootfs/etc/name", "y", 0o644)
	if digest(t, &first) == digest(t, &third) {
		t.Error("another content has the same digest")
	}
}

func TestWhatIsWrittenReadsBackAsTheSameTree(t *testing.T) {
	var tree Tree
	tree.AddText("a/b/text", "hello", 0o640)
	tree.AddLink("a/link", "b/text")
	tree.AddFolder("a/empty", 0o700)
	if err := tree.AddFile("prog", write(t, t.TempDir(), "p", "ELF", 0o600), 0o755); err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(t.TempDir(), "out")
	if err := tree.Write(folder); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, name := range tree.Paths() {
		s, err := os.Lstat(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, s.Mode().String()+" "+name)
	}
	want := "drwxr-xr-x a\ndrwxr-xr-x a/b\n-rw-r----- a/b/text\ndrwx------ a/empty\nLrwxrwxrwx a/link\n-rwxr-xr-x prog"
	if strings.Join(got, "\n") != want {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), want)
	}
}

func TestATarHoldsNothingOfThisMachine(t *testing.T) {
	var tree Tree
	tree.AddText("../../etc/passwd", "x", 0o644) // cannot climb out
	tree.AddLink("l", "etc")
	var packed bytes.Buffer
	if err := tree.Tar(&packed); err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for in := tar.NewReader(&packed); ; {
		h, err := in.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&got, "%c %s %o %d:%d %q %d\n", h.Typeflag, h.Name, h.Mode, h.Uid, h.Gid, h.Uname+h.Gname+h.Linkname, h.ModTime.Unix())
	}
	want := "5 etc/ 755 0:0 \"\" 0\n0 etc/passwd 644 0:0 \"\" 0\n2 l 777 0:0 \"etc\" 0\n"
	if got.String() != want {
		t.Errorf("got\n%swant\n%s", got.String(), want)
	}
}

func TestAMissingFileIsNamed(t *testing.T) {
	var tree Tree
	err := tree.AddFile("rootfs/prog", "/nowhere/prog", 0o755)
	if err == nil || !strings.Contains(err.Error(), "rootfs/prog") || !strings.Contains(err.Error(), "/nowhere/prog") {
		t.Errorf("got %v", err)
	}
}
