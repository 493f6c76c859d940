package pages

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/rolling-swarm/rolling/manager/engine"
	"github.com/rolling-swarm/rolling/ui"
)

// visit is one person looking at one address: language, looks, and the token for the forms.
type visit struct {
	p     *Pages
	lang  ui.Language
	words ui.Words
	theme string
	token string
	here  string // address with query
	now   time.Time

	failed bool // something went wrong in this drawing
	quiet  bool // and in the one before, so the log has it already
}

// page is a page drawn up: what it is called, where it stands, and its parts in their order.
type page struct {
	title  string
	nav    string // which entry of the navigation it belongs to
	crumbs []crumb
	parts  []part
	live   bool                    // it changes by itself
	wanted func(engine.Event) bool // after which events to draw it again; nil: after all
	every  time.Duration           // and how often without any; 0: beatEvery does
	status int                     // 0: 200
}

// crumb is a step of the way to a page. Without a link it is the page itself.
type crumb struct{ Text, Link string }

// part is one element of a page with an id of its own: a template and what fills it.
type part struct {
	id   string
	name string // of the template
	data any
}

// drawn is a part as HTML.
type drawn struct {
	ID   string
	HTML template.HTML
	sum  string // the same for two drawings that differ only in how long ago things were
}

// sheet is what the layout is filled with.
type sheet struct {
	Lang, Theme, Title, Token, Here, Nav, Version, Seen string
	Live                                                bool
	Crumbs                                              []crumb
	Parts                                               []drawn
}

const (
	languageCookie = "rolling_language"
	themeCookie    = "rolling_theme"
)

// visit reads what a request says of its sender.
func (p *Pages) visit(c echo.Context) *visit {
	r := c.Request()
	v := &visit{p: p, lang: ui.Choose(r.Header.Get("Accept-Language")), theme: "system", here: r.URL.RequestURI(), now: p.parts.Now()}
	if cookie, err := c.Cookie(languageCookie); err == nil {
		if l, known := ui.Known(cookie.Value); known {
			v.lang = l
		}
	}
	if cookie, err := c.Cookie(themeCookie); err == nil && isTheme(cookie.Value) {
		v.theme = cookie.Value
	}
	v.words = p.kit.Words(v.lang)
	v.token = p.token(c)
	return v
}

func isTheme(s string) bool { return s == "system" || s == "light" || s == "dark" }

// t says something in the visitor's language.
func (v *visit) t(key string, pairs ...any) string { return v.words.Say(key, pairs...) }

// sumOfPart leaves out what differs between two drawings though nothing has happened: ages, and tokens.
func sumOfPart(html []byte) string {
	h := sha256.New()
	for len(html) > 0 {
		at, end := len(html), byte('<')
		if i := bytes.Index(html, []byte("<time ")); i >= 0 {
			if closed := bytes.IndexByte(html[i:], '>'); closed >= 0 {
				at = i + closed + 1
			}
		}
		if i := bytes.Index(html[:at], []byte(`name="csrf" value="`)); i >= 0 {
			at, end = i+len(`name="csrf" value="`), '"'
		}
		h.Write(html[:at])
		html = html[at:]
		html = html[max(0, bytes.IndexByte(html, end)):]
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

func (v *visit) draw(pg page) ([]drawn, error) {
	set := v.p.sets[v.lang]
	all := make([]drawn, 0, len(pg.parts))
	for _, one := range pg.parts {
		var b bytes.Buffer
		if err := set.ExecuteTemplate(&b, one.name, filled{one.id, v, one.data}); err != nil {
			return nil, fmt.Errorf("draw part %s of %s: %w", one.id, v.here, err)
		}
		all = append(all, drawn{one.id, template.HTML(b.String()), sumOfPart(b.Bytes())}) //nolint:gosec // made by html/template
	}
	return all, nil
}

// filled is what a part's template sees.
type filled struct {
	ID    string
	visit *visit
	Data  any
}

// Token is for the part's forms.
func (f filled) Token() string { return f.visit.token }

// Here is the page's address, to come back to.
func (f filled) Here() string { return f.visit.here }

// seen is one word for all that a page showed.
func seen(all []drawn) string {
	h := sha256.New()
	for _, d := range all {
		fmt.Fprintf(h, "%s %s\n", d.ID, d.sum)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// show answers with a page, or with what went wrong.
func (p *Pages) show(b build) echo.HandlerFunc {
	return func(c echo.Context) error {
		v := p.visit(c)
		ctx, cancel := context.WithTimeout(c.Request().Context(), drawWithin)
		defer cancel()
		pg, err := b(ctx, v, addressOf(c, c.QueryParam))
		if err != nil {
			f := p.faultOf(ctx, v, err)
			pg = v.faultPage(f)
			pg.live = f.passing()
			return p.send(c, v, f.status(), pg)
		}
		return p.send(c, v, http.StatusOK, pg)
	}
}

// drawWithin bounds what a page may cost: what Swarm does not answer by then, it will not answer while somebody waits.
const drawWithin = 15 * time.Second

func (p *Pages) send(c echo.Context, v *visit, status int, pg page) error {
	parts, err := v.draw(pg)
	if err != nil {
		return err
	}
	s := sheet{Lang: string(v.lang), Theme: v.theme, Title: pg.title, Token: v.token, Here: v.here, Nav: pg.nav, Version: p.parts.Version,
		Live: pg.live, Crumbs: pg.crumbs, Parts: parts, Seen: seen(parts)}
	var b bytes.Buffer
	if err := p.sets[v.lang].ExecuteTemplate(&b, "layout.html", s); err != nil {
		return fmt.Errorf("draw %s: %w", v.here, err)
	}
	return reply(c, status, b.Bytes())
}

// reply sends HTML, compressed if that is wanted.
func reply(c echo.Context, status int, body []byte) error {
	h := c.Response().Header()
	h.Add("Vary", "Accept-Encoding")
	h.Add("Vary", "Accept-Language")
	h.Add("Vary", "Cookie")
	if takesGzip(c.Request()) && len(body) > 1<<10 {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		if _, err := z.Write(body); err != nil {
			return err
		}
		if err := z.Close(); err != nil {
			return err
		}
		h.Set("Content-Encoding", "gzip")
		body = b.Bytes()
	}
	return c.HTMLBlob(status, body)
}

func takesGzip(r *http.Request) bool {
	for one := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		name, q, _ := strings.Cut(strings.TrimSpace(one), ";")
		if name == "gzip" && strings.ReplaceAll(q, " ", "") != "q=0" {
			return true
		}
	}
	return false
}

// path makes an address of its steps, each escaped.
func path(steps ...any) string {
	var b strings.Builder
	for _, s := range steps {
		b.WriteString("/" + url.PathEscape(fmt.Sprint(s)))
	}
	return b.String()
}

// dom makes an id of a kind and a name that may hold anything.
func dom(kind string, name any) string {
	var b strings.Builder
	for _, r := range fmt.Sprint(name) {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-':
			b.WriteRune(r)
		default:
			fmt.Fprintf(&b, "_%x", r)
		}
	}
	return kind + "-" + b.String()
}
