package api_test

import (
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rolling-swarm/rolling/manager/api"
	"github.com/rolling-swarm/rolling/manager/api/apitest"
)

func TestParseAddress(t *testing.T) {
	for _, row := range []struct{ name, text, want, says string }{
		{"a socket by URL", "unix:///run/rolling/rolling.sock", "unix:///run/rolling/rolling.sock", ""},
		{"a socket by path", "/run/rolling/../rolling.sock", "unix:///run/rolling.sock", ""},
		{"a port on loopback", "127.0.0.1:2400", "http://127.0.0.1:2400", ""},
		{"the same as a URL", "http://127.8.0.1:2400/", "http://127.8.0.1:2400", ""},
		{"loopback in IPv6", "[::1]:2400", "http://[::1]:2400", ""},
		{"localhost", "localhost:2400", "http://127.0.0.1:2400", ""},
		{"every address", ":2400", "", "people and rights"},
		{"every address said otherwise", "0.0.0.0:2400", "", "people and rights"},
		{"an address of the machine", "http://10.1.2.3:2400", "", "people and rights"},
		{"loopback hidden in IPv6 is loopback still", "[::ffff:127.0.0.1]:2400", "http://[::ffff:127.0.0.1]:2400", ""},
		{"a name that somebody else decides about", "manager.example:2400", "", "is not an address"},
		{"no port", "127.0.0.1", "", "want unix:///PATH or 127.0.0.1:PORT"},
		{"a port that is none", "127.0.0.1:http", "", "is not a port"},
		{"a port too large", "127.0.0.1:65536", "", "is not a port"},
		{"a socket somewhere", "unix://rolling.sock", "", "absolute path"},
		{"a socket whose path the kernel refuses", "/" + strings.Repeat("a", 90), "", "at most 89 bytes"},
		{"https", "https://127.0.0.1:2400", "", "want unix"},
		{"nothing", "", "", "want unix"},
	} {
		a, err := api.ParseAddress(row.text)
		if row.says != "" {
			if err == nil || !strings.Contains(err.Error(), row.says) {
				t.Errorf("%s: %v, %v; want an error with %q", row.name, a, err, row.says)
			}
			continue
		}
		if err != nil || a.String() != row.want {
			t.Errorf("%s: %v, %v; want %s", row.name, a, err, row.want)
		}
	}
}

func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "rolling-listen-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func TestTheSocketIsForItsOwnerAlone(t *testing.T) {
	path := filepath.Join(folder(t), "run", "s")
	open, err := api.Listen([]api.Address{{Network: "unix", Path: path}})
	if err != nil {
		t.Fatal(err)
	}
	about, err := os.Lstat(path)
	if err != nil || about.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("mode %v (%v), want a socket for its owner alone", about.Mode(), err)
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("beside the socket there is %v (%v)", left, err)
	}
	if err := open[0].Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("after closing: %v, want no socket", err)
	}
}

func TestASocketThatAKilledManagerLeftIsReplaced(t *testing.T) {
	path := filepath.Join(folder(t), "s")
	dead, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	dead.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := dead.Close(); err != nil {
		t.Fatal(err)
	}
	open, err := api.Listen([]api.Address{{Network: "unix", Path: path}})
	if err != nil {
		t.Fatal(err)
	}
	if err := open[0].Close(); err != nil {
		t.Error(err)
	}
}

func TestWhatIsServedByAnotherIsLeftAlone(t *testing.T) {
	socket := serveOn(t, new(apitest.Engine), nil)
	file := filepath.Join(folder(t), "notes")
	if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	free := filepath.Join(folder(t), "free")
	_, err = api.Listen([]api.Address{
		{Network: "unix", Path: free}, {Network: "unix", Path: socket}, {Network: "unix", Path: file}, {Network: "tcp", Path: taken.Addr().String()},
	})
	if err == nil {
		t.Fatal("no error")
	}
	for _, says := range []string{"another process serves this socket", "is there and no socket", "http://" + taken.Addr().String() + ": the address is already taken", "ROLLING_LISTEN"} {
		if !strings.Contains(err.Error(), says) {
			t.Errorf("the error does not say %q:\n%v", says, err)
		}
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "mine" {
		t.Errorf("the file in the way: %q, %v", text, err)
	}
	if _, err := os.Lstat(free); !os.IsNotExist(err) {
		t.Errorf("one address failed, and %s is still open: %v", free, err)
	}
	answer, err := over(socket).Get("http://rolling/healthz")
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Errorf("the other is disturbed: %v %v", answer, err)
	}
	if err == nil {
		answer.Body.Close()
	}
	if _, err := api.Listen(nil); err == nil {
		t.Error("serving nowhere is no error")
	}
}
