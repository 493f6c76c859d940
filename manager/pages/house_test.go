package pages_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"golang.org/x/net/html"

	"github.com/rolling-swarm/rolling/manager/pages"
	"github.com/rolling-swarm/rolling/manager/pages/pagestest"
)

var update = flag.Bool("update", false, "write the golden files anew")

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// house is the door over a world, and one browser.
type house struct {
	*testing.T
	world *pagestest.World
	echo  *echo.Echo
	jar   map[string]string
	lang  string
}

func open(t *testing.T, w *pagestest.World) *house {
	t.Helper()
	door, err := pages.New(w.Parts())
	if err != nil {
		t.Fatal(err)
	}
	e := echo.New()
	door.Mount(e, func(context.Context) string { return "ann" }, context.WithCancel)
	return &house{T: t, world: w, echo: e, jar: map[string]string{}, lang: "en"}
}

// answer is what a browser got.
type answer struct {
	*httptest.ResponseRecorder
	compressed []byte // as it came
	body       string
	tree       *html.Node
}

func (h *house) do(r *http.Request) answer {
	h.Helper()
	r.Header.Set("Accept", "text/html")
	r.Header.Set("Accept-Language", h.lang)
	r.Header.Set("Accept-Encoding", "gzip")
	for name, value := range h.jar {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	a := answer{ResponseRecorder: httptest.NewRecorder()}
	h.echo.ServeHTTP(a, r)
	for _, c := range a.Result().Cookies() {
		h.jar[c.Name] = c.Value
	}
	a.compressed = a.Body.Bytes()
	var body io.Reader = bytes.NewReader(a.compressed)
	if a.Header().Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(body)
		if err != nil {
			h.Fatal(err)
		}
		body = z
	}
	text, err := io.ReadAll(body)
	if err != nil {
		h.Fatal(err)
	}
	a.body = string(text)
	if a.tree, err = html.ParseWithOptions(strings.NewReader(a.body), html.ParseOptionEnableScripting(false)); err != nil {
		h.Fatal(err)
	}
	return a
}

func (h *house) get(path string) answer {
	h.Helper()
	return h.do(httptest.NewRequest(http.MethodGet, path, nil))
}

// page gets a page that must be there.
func (h *house) page(path string) answer {
	h.Helper()
	a := h.get(path)
	if a.Code != http.StatusOK {
		h.Fatalf("%s: %d\n%s", path, a.Code, outline(a.tree))
	}
	return a
}

func (h *house) post(path string, form url.Values) answer {
	h.Helper()
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return h.do(r)
}

// submit sends a form of a page as a browser would, with some fields set otherwise.
func (h *house) submit(a answer, action string, set map[string]string) answer {
	h.Helper()
	form := url.Values{}
	found := false
	for n := range a.tree.Descendants() {
		if n.Data != "form" || attr(n, "method") != "post" || attr(n, "action") != action {
			continue
		}
		found = true
		for i := range n.Descendants() {
			if i.Data == "input" && (attr(i, "type") != "checkbox") {
				form.Set(attr(i, "name"), attr(i, "value"))
			}
		}
		break
	}
	if !found {
		h.Fatalf("no form does %s on\n%s", action, outline(a.tree))
	}
	for k, v := range set {
		form.Set(k, v)
	}
	return h.post(action, form)
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func byID(tree *html.Node, id string) *html.Node {
	for n := range tree.Descendants() {
		if n.Type == html.ElementNode && attr(n, "id") == id {
			return n
		}
	}
	return nil
}

// text is what a person reads in an element.
func text(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode && d.Parent.Data != "title" {
			b.WriteString(d.Data + " ")
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// outline is what a person reads, one block a line, with what can be pressed in brackets.
func outline(tree *html.Node) string {
	var lines []string
	var line strings.Builder
	flush := func() {
		if s := strings.Join(strings.Fields(line.String()), " "); s != "" {
			lines = append(lines, s)
		}
		line.Reset()
	}
	blocks := " html body header nav main section aside form div p h1 h2 h3 ul ol li dl dt dd table thead tbody tr pre code details summary footer noscript "
	var walk func(n *html.Node)
	walk = func(n *html.Node) {
		switch {
		case n.Type == html.TextNode:
			line.WriteString(n.Data)
			return
		case n.Type != html.ElementNode && n.Type != html.DocumentNode, n.Data == "head", n.Data == "svg":
			return
		}
		block := strings.Contains(blocks, " "+n.Data+" ")
		if block {
			flush()
		}
		open, end := "", ""
		switch {
		case n.Data == "button", n.Data == "summary", n.Data == "a":
			open, end = "[", "]"
		case n.Data == "input" && attr(n, "type") != "hidden", n.Data == "select":
			open = "<" + attr(n, "name") + " " + attr(n, "value") + ">"
		case n.Data == "td" || n.Data == "th":
			end = " | "
		}
		line.WriteString(" " + open)
		for c := n.FirstChild; c != nil; c = c.NextSibling {
			walk(c)
		}
		line.WriteString(end + " ")
		if block {
			flush()
		}
	}
	walk(tree)
	return strings.Join(lines, "\n") + "\n"
}
