package policy

import (
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/internal/permits"
)

func document(projects ...string) permits.Document {
	return permits.Document{Projects: projects, Permits: []permits.Permit{{From: projects[0], To: projects[0], Port: 80}}}.Seal()
}

func TestAShelf(t *testing.T) {
	s := Shelf{Folder: t.TempDir()}
	file := filepath.Join(s.Folder, permits.File)
	if d, laid, err := s.Read(); err != nil || !laid.IsZero() || d.Revision != "" {
		t.Errorf("an empty one gives %+v, %s, %v", d, laid, err)
	}
	// What a power loss in the middle of an earlier try has left is in nobody's way.
	if err := os.WriteFile(file+".next", []byte(strings.Repeat("x", 1<<16)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, project := range []string{"shop", "desk"} {
		want := document(project)
		if err := s.Lay(want); err != nil {
			t.Fatal(err)
		}
		got, laid, err := s.Read()
		if err != nil || got.Revision != want.Revision || time.Since(laid) > time.Hour || laid.IsZero() {
			t.Errorf("laid %s, there is %s of %s, %v", want.Revision, got.Revision, laid, err)
		}
		if _, err := os.Stat(file + ".next"); err == nil {
			t.Error("the unfinished one is still there")
		}
	}
}

func TestWhatIsWrongOnAShelf(t *testing.T) {
	good, err := document("shop").Text()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, text, want string }{
		{"a text that was cut off", string(good[:len(good)/2]), "unexpected end"},
		{"a text that was edited", strings.Replace(string(good), "shop", "desk", 1), "cut off or edited"},
		{"a text of a later version", strings.Replace(string(good), `"version": 1`, `"version": 2`, 1), "upgrade"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := Shelf{Folder: t.TempDir()}
			if err := os.WriteFile(filepath.Join(s.Folder, permits.File), []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			d, laid, err := s.Read()
			if err == nil || !strings.Contains(err.Error(), c.want) || d.Revision != "" || !laid.IsZero() {
				t.Errorf("read %+v of %s, %v; want an error that says %q", d, laid, err, c.want)
			}
		})
	}
}

func TestWhatCannotBeLaidLeavesTheLastOne(t *testing.T) {
	s := Shelf{Folder: t.TempDir()}
	if err := s.Lay(document("shop")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(s.Folder, permits.File+".next"), 0o700); err != nil { // root may write anywhere else
		t.Fatal(err)
	}
	if err := s.Lay(document("desk")); err == nil || !strings.Contains(err.Error(), "the last one stays") {
		t.Errorf("the error is %v", err)
	}
	if d, _, err := s.Read(); err != nil || d.Revision != document("shop").Revision {
		t.Errorf("there is %+v, %v", d, err)
	}
}

func TestAsk(t *testing.T) {
	text, err := json.Marshal(Copy{document("shop"), 3 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct {
		name   string
		status int
		answer string
		want   string // part of the error; none if empty
	}{
		{"a copy and its age", http.StatusOK, string(text), ""},
		{"who is refused hears why", http.StatusForbidden, "only nodes of the swarm are answered\n", "only nodes of the swarm"},
		{"no copy yet", http.StatusServiceUnavailable, "no policy yet\n", "no policy yet"},
		{"no answer of an agent", http.StatusOK, "<html>", "invalid character"},
		{"a copy that was cut off", http.StatusOK, string(text[:len(text)-10]), "unexpected end"},
		{"a copy that was edited", http.StatusOK, strings.Replace(string(text), "shop", "desk", 1), "cut off or edited"},
	} {
		t.Run(c.name, func(t *testing.T) {
			manager := netip.AddrFrom4([4]byte{127, 83, 0, byte(i + 1)}) // a loopback address of this row's own
			at, err := net.Listen("tcp4", net.JoinHostPort(manager.String(), strconv.Itoa(contract.PolicyPort)))
			if err != nil {
				t.Fatal(err)
			}
			from := ""
			server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				from, _, _ = net.SplitHostPort(r.RemoteAddr)
				w.WriteHeader(c.status)
				_, _ = w.Write([]byte(c.answer))
			})}
			go func() { _ = server.Serve(at) }()
			defer server.Close()
			self := netip.MustParseAddr("127.83.1.1")
			got, err := Ask(t.Context(), self, manager)
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) || got.Document.Revision != "" {
					t.Errorf("got %+v, %v; want an error that says %q", got, err, c.want)
				}
				return
			}
			if err != nil || got.Document.Revision != document("shop").Revision || got.Age != 3*time.Second {
				t.Errorf("got %+v, %v", got, err)
			}
			if from != self.String() {
				t.Errorf("asked from %s, want the node's own address %s", from, self)
			}
		})
	}
	if _, err := Ask(t.Context(), netip.MustParseAddr("127.83.1.1"), netip.MustParseAddr("127.83.0.99")); err == nil {
		t.Error("nobody listens, and no error")
	}
}
