package pages

import (
	"fmt"
	"html/template"
	"strconv"
	"strings"
	"time"

	"github.com/rolling-swarm/rolling/ui"
)

// functions are what templates call; they are of one language.
func (p *Pages) functions(l ui.Language) template.FuncMap {
	w := p.kit.Words(l)
	return template.FuncMap{
		"t": w.Say,
		"word": func(family string, value any) string {
			if key := family + "." + fmt.Sprint(value); w.Has(key) {
				return w.Say(key)
			}
			return clean(fmt.Sprint(value))
		},
		"num":   func(n any) string { return grouped(fmt.Sprint(n)) },
		"clock": func(t time.Time) template.HTML { return clockTime(w, t) },
		"ago":   func(t time.Time) template.HTML { return agoTime(w, t, p.parts.Now()) },
		"took":  func(from, to time.Time) string { return took(w, to.Sub(from)) },
		"since": func(from time.Time) string { return took(w, p.parts.Now().Sub(from)) },
		"icon":  ui.Icon, "url": p.kit.URL, "path": path, "dom": dom, "clean": clean,
		"outcome": func(state any, back bool) pill { return outcomePill(w, state, back) },
		"plural":  func(key string, n int) string { return w.Say(key, "n", n) },
		"short":   short,
		"dict":    dict,
	}
}

// grouped parts a number's thousands, as both languages do it in tables.
func grouped(n string) string {
	head, tail, dot := strings.Cut(n, ".")
	sign := ""
	if strings.HasPrefix(head, "-") {
		sign, head = "-", head[1:]
	}
	for i := len(head) - 3; i > 0; i -= 3 {
		head = head[:i] + "," + head[i:]
	}
	if dot {
		return sign + head + "." + tail
	}
	return sign + head
}

// clockTime is a moment: in UTC here, in the reader's own zone once the page's script has seen it.
func clockTime(w ui.Words, t time.Time) template.HTML {
	if t.IsZero() {
		return "–"
	}
	t = t.UTC()
	text := w.Say("time.clock", "year", t.Year(), "month", fmt.Sprintf("%02d", t.Month()), "day", fmt.Sprintf("%02d", t.Day()), "clock", t.Format("15:04"))
	return timeElement("clock", t, text)
}

// agoTime is how long ago something was; the page's script keeps it true.
func agoTime(w ui.Words, t, now time.Time) template.HTML {
	if t.IsZero() {
		return "–"
	}
	return timeElement("ago", t.UTC(), ago(w, now.Sub(t)))
}

func timeElement(kind string, t time.Time, text string) template.HTML {
	stamp := t.Format(time.RFC3339)
	return template.HTML(`<time data-` + kind + ` datetime="` + stamp + `" title="` + stamp + `">` + template.HTMLEscapeString(text) + `</time>`) //nolint:gosec // escaped here
}

func ago(w ui.Words, d time.Duration) string {
	switch {
	case d < 45*time.Second:
		return w.Say("ago.now")
	case d < time.Hour:
		return w.Say("ago.minute", "n", max(1, int(d.Minutes())))
	case d < 48*time.Hour:
		return w.Say("ago.hour", "n", int(d.Hours()))
	}
	return w.Say("ago.day", "n", int(d.Hours()/24))
}

// took is how long something lasted.
func took(w ui.Words, d time.Duration) string {
	d = max(d, 0).Round(time.Second)
	h, m, s := int(d.Hours()), int(d.Minutes())%60, int(d.Seconds())%60
	switch {
	case h >= 48:
		return w.Say("took.days", "d", h/24, "h", h%24)
	case h > 0:
		return w.Say("took.hours", "h", h, "m", m)
	case m > 0:
		return w.Say("took.minutes", "m", m, "s", s)
	}
	return w.Say("took.seconds", "s", s)
}

// cores writes a load: 1 is one processor kept busy.
func cores(f float64) string {
	if f < 10 {
		return strconv.FormatFloat(f, 'f', 2, 64)
	}
	return strconv.FormatFloat(f, 'f', 1, 64)
}

func bytesText(f float64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	i := 0
	for f >= 1000 && i < len(units)-1 {
		f, i = f/1024, i+1
	}
	if f < 10 && i > 0 {
		return strconv.FormatFloat(f, 'f', 1, 64) + " " + units[i]
	}
	return strconv.FormatFloat(f, 'f', 0, 64) + " " + units[i]
}

// short cuts what only a program reads to its end: a commit or a digest.
func short(s any) string {
	text := strings.TrimPrefix(fmt.Sprint(s), "sha256:")
	if runes := []rune(text); len(runes) > 12 {
		return string(runes[:12])
	}
	return text
}

// dict gives a template several things by name.
func dict(pairs ...any) map[string]any {
	m := map[string]any{}
	for i := 0; i+1 < len(pairs); i += 2 {
		m[fmt.Sprint(pairs[i])] = pairs[i+1]
	}
	return m
}
