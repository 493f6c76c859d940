//go:build lab

package browser

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rolling-swarm/rolling/lab"
)

const page = `<!doctype html><title>a page</title><link rel=icon href="data:,">
<p id=said>no</p><form><input id=word><button id=go type=button>go</button></form><p id=later hidden>later</p>
<script src=/own.js></script>`

const script = `
document.getElementById("go").addEventListener("click", () => {
  document.getElementById("said").textContent = document.getElementById("word").value
  setTimeout(() => { document.getElementById("later").hidden = false }, 50)
})
document.addEventListener("keydown", e => { if (e.key === "Escape") document.getElementById("said").textContent = "escaped" })
`

func serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Security-Policy", "default-src 'self'; img-src data:")
	switch r.URL.Path {
	case "/":
		_, _ = w.Write([]byte(page))
	case "/own.js":
		w.Header().Set("Content-Type", "text/javascript")
		_, _ = w.Write([]byte(script))
	case "/bad":
		_, _ = w.Write([]byte(`<!doctype html><link rel=icon href="data:,"><script>alert(1)</script><script src=/bad.js></script><img src=http://10.0.0.1/x.png>`))
	case "/bad.js":
		w.Header().Set("Content-Type", "text/javascript")
		_, _ = w.Write([]byte(`console.error("out of", 3); fetch("/missing"); throw new Error("nobody catches me")`))
	default:
		http.NotFound(w, r)
	}
}

func TestAPageIsUsedAndItsComplaintsAreHeard(t *testing.T) {
	ctx := t.Context()
	if err := lab.Open("browser").Need(ctx, Packages()...); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(serve))
	defer server.Close()
	b, stop, err := Start(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}

	tab, end, err := b.Open(server.URL + "/")
	must(err)
	defer end()
	must(tab.Type("#word", "好的 ok"))
	must(tab.Click("#go"))
	must(tab.Wait("#later"))
	if said, err := tab.Text("#said"); err != nil || said != "好的 ok" {
		t.Errorf("%q, %v", said, err)
	}
	must(tab.Press(Escape))
	must(tab.Until("the key to be heard", `document.getElementById("said").textContent === "escaped"`))
	picture := filepath.Join(t.TempDir(), "a", "page.png")
	must(tab.Picture(picture))
	if png, err := os.ReadFile(picture); err != nil || !strings.HasPrefix(string(png), "\x89PNG") {
		t.Errorf("the picture: %v", err)
	}
	if got := tab.Complaints(); len(got) != 0 {
		t.Errorf("a good page complains: %q", got)
	}
	if got := tab.Asked(); !slices.Contains(got, server.URL+"/own.js") {
		t.Errorf("asked for %q", got)
	}

	must(tab.Go(server.URL + "/bad"))
	wants := []string{"console.error: out of 3", "nobody catches me", "Content Security Policy", "404"}
	missing := func() []string {
		all := strings.Join(tab.Complaints(), "\n")
		return slices.DeleteFunc(slices.Clone(wants), func(w string) bool { return strings.Contains(all, w) })
	}
	if err := lab.Open("browser").Eventually(ctx, within, "the complaints", func() error {
		if m := missing(); len(m) > 0 {
			return fmt.Errorf("not heard: %q in %q", m, tab.Complaints())
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}
