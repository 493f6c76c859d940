package debian

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestLibraries(t *testing.T) {
	for _, c := range []struct{ name, depends, want string }{
		{"libraries only, without versions", "libip4tc2 (= 1.8.9-2), netbase (>= 6.0), libc6 (>= 2.34)", "libip4tc2 libc6"},
		{"the first of alternatives", "libnftnl11 (>= 1.1.5) | libnftnl12, libc6:any", "libnftnl11 libc6"},
		{"each once", "libc6, libc6 (>= 2)", "libc6"},
		{"none", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := strings.Join(Libraries(c.depends), " "); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// machineTree lays this machine's own true(1) and what it needs into a folder, as packages would.
func machineTree(t *testing.T, libraries bool) Unpacked {
	t.Helper()
	u := Unpacked{Folder: t.TempDir(), Packages: []string{"coreutils=1"}}
	program, err := os.ReadFile("/bin/true")
	if err != nil {
		t.Skipf("this machine has no /bin/true: %v", err)
	}
	put(t, u.Folder, "usr/sbin/true", program)
	if !libraries {
		return u
	}
	names, loader, err := needs("/bin/true")
	if err != nil || loader == "" {
		t.Skipf("/bin/true of this machine is no dynamic ELF file: %v", err)
	}
	for _, n := range append(names, filepath.Base(loader)) {
		put(t, u.Folder, "lib/triplet/real-"+n, program) // any ELF file will do
		if err := os.Symlink("real-"+n, filepath.Join(u.Folder, "lib/triplet", n)); err != nil {
			t.Fatal(err)
		}
	}
	return u
}

func put(t *testing.T, folder, name string, content []byte) {
	t.Helper()
	at := filepath.Join(folder, name)
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at, content, 0o755); err != nil {
		t.Fatal(err)
	}
}

func TestNeededFindsLibrariesAndLoaderThroughLinks(t *testing.T) {
	u := machineTree(t, true)
	got, err := u.Needed([]string{"usr/sbin/true"})
	if err != nil {
		t.Fatal(err)
	}
	names, loader, err := needs("/bin/true")
	if err != nil {
		t.Fatal(err)
	}
	if file := got[strings.TrimPrefix(loader, "/")]; filepath.Base(file) != "real-"+filepath.Base(loader) {
		t.Errorf("the loader %s is %q in %v", loader, file, got)
	}
	for _, n := range names {
		if n != filepath.Base(loader) && filepath.Base(got["usr/lib/triplet/"+n]) != "real-"+n {
			t.Errorf("%s is not among %v", n, got)
		}
	}
}

func TestAMissingLibraryIsNamed(t *testing.T) {
	_, err := machineTree(t, false).Needed([]string{"usr/sbin/true"})
	if err == nil || !strings.Contains(err.Error(), "which none of these packages has: coreutils=1") {
		t.Errorf("got %v", err)
	}
}

func TestAnAbsoluteLinkStaysInTheFolder(t *testing.T) {
	u := Unpacked{Folder: t.TempDir()}
	put(t, u.Folder, "usr/lib/x.so.1.0", nil)
	if err := os.Symlink("/usr/lib/x.so.1.0", filepath.Join(u.Folder, "usr/lib/x.so.1")); err != nil {
		t.Fatal(err)
	}
	found, err := u.libraries()
	if want := filepath.Join(u.Folder, "usr/lib/x.so.1.0"); err != nil || found["x.so.1"] != want {
		t.Errorf("got %v, %v, want %s", found, err, want)
	}
	if err := os.Symlink("x.so.2", filepath.Join(u.Folder, "usr/lib/x.so.2")); err != nil {
		t.Fatal(err)
	}
	if _, err := u.libraries(); err == nil || !strings.Contains(err.Error(), "too many links") {
		t.Errorf("a link to itself gave %v", err)
	}
}

func TestAFolderThatIsCompleteIsUsedAsItIs(t *testing.T) {
	codename, arch, err := machine(t.Context())
	if err != nil {
		t.Skipf("this machine is no Debian: %v", err)
	}
	cache := t.TempDir()
	put(t, cache, "iptables-"+codename+"-"+arch+"/.packages", []byte("iptables=1\nlibc6=2\n"))
	u, err := Unpack(t.Context(), "iptables", cache)
	if err != nil || !slices.Equal(u.Packages, []string{"iptables=1", "libc6=2"}) {
		t.Errorf("got %v, %v", u, err)
	}
}
