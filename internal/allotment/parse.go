package allotment

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/rolling-swarm/rolling/internal/contract"
)

// Problem is one thing that is wrong, and where.
type Problem struct{ Path, Text string }

func (p Problem) String() string { return strings.TrimPrefix(p.Path+": "+p.Text, ": ") }

// Problems are all things that are wrong with a text. Nothing of it counts then.
type Problems struct{ List []Problem }

func (e *Problems) Error() string {
	lines := []string{fmt.Sprintf("%d problems", len(e.List))}
	if len(e.List) == 1 {
		lines[0] = "1 problem"
	}
	for _, p := range e.List {
		lines = append(lines, p.String())
	}
	return strings.Join(lines, "\n  ")
}

// most problems that are told: a text of noise has as many as it has characters.
const most = 50

// Parse reads the text. What it does not know, it refuses; the error is *Problems.
func Parse(text []byte) (Plan, error) {
	w := &walk{}
	if len(text) > MaxText {
		w.say("", "%d bytes: want %d at most, which is what Swarm takes", len(text), MaxText)
		return Plan{}, &Problems{w.problems}
	}
	root, err := w.read(text)
	if err != nil {
		w.say("", "%v", err)
		return Plan{}, &Problems{w.problems}
	}
	p := w.plan(root)
	w.agree(p)
	if len(w.problems) == 0 {
		return p, nil
	}
	if more := len(w.problems) - most; more > 0 {
		w.problems = append(w.problems[:most], Problem{"", fmt.Sprintf("and %d more", more)})
	}
	return Plan{}, &Problems{w.problems}
}

type walk struct{ problems []Problem }

func (w *walk) say(at, format string, args ...any) {
	w.problems = append(w.problems, Problem{at, fmt.Sprintf(format, args...)})
}

// deepest is how far the text's form nests, and one more.
const deepest = 5

// read makes a tree of the text, and says which keys stand twice: JSON's decoder would take the last one.
func (w *walk) read(text []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	root, err := w.value(d, "", 0)
	if err == nil {
		if _, more := d.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("something follows after the JSON object")
		}
	}
	return root, err
}

func (w *walk) value(d *json.Decoder, at string, depth int) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, fmt.Errorf("it is no JSON: %w", err)
	}
	open, nested := t.(json.Delim)
	if !nested {
		return t, nil
	}
	if depth == deepest {
		return nil, fmt.Errorf("%s: nested too deep", at)
	}
	object, list := map[string]any{}, []any{}
	for i := 0; d.More(); i++ {
		key := fmt.Sprintf("%s[%d]", at, i)
		name := ""
		if open == '{' {
			k, err := d.Token()
			if err != nil {
				return nil, fmt.Errorf("it is no JSON: %w", err)
			}
			name, _ = k.(string) // the decoder has seen to it
			key = join(at, name)
			if _, twice := object[name]; twice {
				w.say(key, "stands twice")
			}
		}
		v, err := w.value(d, key, depth+1)
		if err != nil {
			return nil, err
		}
		object[name], list = v, append(list, v)
	}
	if _, err := d.Token(); err != nil {
		return nil, fmt.Errorf("it is no JSON: %w", err)
	}
	if open == '{' {
		return object, nil
	}
	return list, nil
}

func join(at, key string) string { return strings.TrimPrefix(at+"."+clip(key), ".") }

func clip(s string) string {
	if len(s) > 80 {
		return strings.ToValidUTF8(s[:80], "") + "…"
	}
	return s
}

// fields are one object's, and which of its keys were asked for.
type fields struct {
	w     *walk
	at    string
	of    map[string]any
	known []string
}

func (w *walk) fields(v any, at string) (fields, bool) {
	m, ok := v.(map[string]any)
	if !ok {
		w.say(at, "want an object")
	}
	return fields{w: w, at: at, of: m}, ok
}

func (f *fields) get(key string) (any, bool) {
	f.known = append(f.known, key)
	v, ok := f.of[key]
	return v, ok && v != nil
}

// rest says which keys nobody knows.
func (f *fields) rest() {
	var strange []string
	for key := range f.of {
		if !slices.Contains(f.known, key) {
			strange = append(strange, key)
		}
	}
	slices.Sort(strange)
	for _, key := range strange {
		text := "is not known: want one of " + strings.Join(f.known, ", ")
		if near := contract.Nearest(key, f.known); near != "" {
			text = fmt.Sprintf("is not known; did you mean %q?", near)
		}
		f.w.say(join(f.at, key), "%s", text)
	}
}

func (f *fields) say(key, format string, args ...any) { f.w.say(join(f.at, key), format, args...) }

// text reads a key; wrong says what is wanted instead, or "". A key that is needed and missing is asked as "".
func (f *fields) text(key string, needed bool, wrong func(string) string) string {
	v, ok := f.get(key)
	s, isText := v.(string)
	switch {
	case !ok && !needed:
		return ""
	case ok && !isText:
		f.say(key, "want text")
		return ""
	}
	if why := wrong(s); why != "" {
		f.say(key, "%s", why)
		return ""
	}
	return s
}

func (f *fields) whole(key string, needed bool, least, greatest int) int {
	v, ok := f.get(key)
	if !ok && !needed {
		return 0
	}
	number, _ := v.(json.Number)
	n, err := strconv.Atoi(number.String())
	if err != nil || n < least || n > greatest {
		f.say(key, "want a whole number from %d to %d", least, greatest)
		return 0
	}
	return n
}

func (f *fields) list(key string) []any {
	v, ok := f.get(key)
	l, isList := v.([]any)
	if ok && !isList {
		f.say(key, "want a list")
	}
	return l
}

func (w *walk) plan(root any) Plan {
	p := Plan{Pools: []Pool{}, Reservations: []Reservation{}}
	f, ok := w.fields(root, "")
	if !ok {
		return p
	}
	if f.whole("version", true, 1, 1<<30) > Version {
		f.say("version", "this program knows up to %d: install a newer one", Version)
		return p // what it does not know it cannot judge
	}
	for i, v := range f.list("pools") {
		if g, ok := w.fields(v, fmt.Sprintf("pools[%d]", i)); ok {
			p.Pools = append(p.Pools, g.pool())
		}
	}
	for i, v := range f.list("reservations") {
		if g, ok := w.fields(v, fmt.Sprintf("reservations[%d]", i)); ok {
			p.Reservations = append(p.Reservations, g.reservation())
		}
	}
	f.rest()
	return p
}

func (f *fields) pool() Pool {
	p := Pool{Name: f.text("name", true, wrongName)}
	f.text("prefix", true, func(s string) (why string) {
		p.Prefix, why = ReadPrefix(s)
		return why
	})
	least := 8
	if p.Prefix.IsValid() {
		least = p.Prefix.Bits()
	}
	p.Block, p.Quota = f.whole("block", false, least, 32), f.whole("quota", false, 1, 1<<24)
	p.Why = f.text("why", false, wrongWords)
	f.rest()
	return p
}

func (f *fields) reservation() Reservation {
	var r Reservation
	f.text("address", true, func(s string) string {
		a, err := netip.ParseAddr(s)
		if err != nil || !a.Is4() {
			return fmt.Sprintf("%q: want an IPv4 address as 10.201.3.7", clip(s))
		}
		if other, what, reserved := contract.Reserved(netip.PrefixFrom(a, 32)); reserved {
			return fmt.Sprintf("%s lies in %s (%s), which no container can have", a, other, what)
		}
		r.Address = a
		return ""
	})
	r.Network, r.Project, r.Environment = f.text("network", false, wrongNetwork), f.text("project", false, wrongName), f.text("environment", false, wrongName)
	r.Owner, r.Why, r.By = f.text("owner", false, wrongWords), f.text("why", true, wrongWords), f.text("by", false, wrongWords)
	f.text("at", false, func(s string) string {
		at, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			return fmt.Sprintf("%q: want a time as 2026-11-24T06:00:00Z", clip(s))
		}
		r.At = at.UTC()
		return ""
	})
	whom := 0
	for _, key := range []string{"network", "project", "owner"} {
		if _, said := f.of[key]; said {
			whom++
		}
	}
	if whom != 1 {
		f.w.say(f.at, "want one of network, project, owner, to say for whom it is kept")
	}
	if _, said := f.of["environment"]; said && f.of["project"] == nil {
		f.say("environment", "name its project too")
	}
	f.rest()
	return r
}

// ReadPrefix reads a prefix that containers can have addresses of, or says why it is none.
func ReadPrefix(s string) (netip.Prefix, string) {
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil || !p.Addr().Is4():
		return netip.Prefix{}, fmt.Sprintf("%q: want an IPv4 prefix as 10.201.0.0/16", clip(s))
	case p != p.Masked():
		return netip.Prefix{}, fmt.Sprintf("%s has bits set beyond its length: did you mean %s?", p, p.Masked())
	case p.Bits() < 8:
		return netip.Prefix{}, fmt.Sprintf("%s is wider than a /8: name the part of it that is yours", p)
	}
	if other, what, reserved := contract.Reserved(p); reserved {
		return netip.Prefix{}, fmt.Sprintf("%s overlaps %s (%s), whose addresses no container can have", p, other, what)
	}
	return p, ""
}

// wrongName accepts what a label, a file name and a metric can all carry.
func wrongName(s string) string {
	strange := strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-_.", r)
	})
	if s == "" || len(s) > 63 || strange {
		return fmt.Sprintf("%q: want 1 to 63 letters, digits, '-', '_' or '.'", clip(s))
	}
	return ""
}

// wrongNetwork: Docker takes almost any name of a network.
func wrongNetwork(s string) string {
	if s == "" || len(s) > 255 || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsGraphic(r) || r == ' ' }) {
		return fmt.Sprintf("%q: want the name of a network", clip(s))
	}
	return ""
}

func wrongWords(s string) string {
	if strings.TrimSpace(s) == "" || len(s) > 255 || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return fmt.Sprintf("%q: want a line of 1 to 255 bytes", clip(s))
	}
	return ""
}

// agree looks for what contradicts itself.
func (w *walk) agree(p Plan) {
	for i, a := range p.Pools {
		for j, b := range p.Pools[:i] {
			if a.Name != "" && a.Name == b.Name {
				w.say(fmt.Sprintf("pools[%d].name", i), "%q is the name of pools[%d] too", a.Name, j)
			}
			if a.Prefix.IsValid() && b.Prefix.IsValid() && a.Prefix.Overlaps(b.Prefix) {
				w.say(fmt.Sprintf("pools[%d].prefix", i), "%s overlaps pool %s (%s)", a.Prefix, b.Name, b.Prefix)
			}
		}
	}
	seen := map[netip.Addr]int{}
	for i, r := range p.Reservations {
		if j, twice := seen[r.Address]; twice && r.Address.IsValid() {
			w.say(fmt.Sprintf("reservations[%d].address", i), "%s is reserved by reservations[%d] too", r.Address, j)
		}
		seen[r.Address] = i
	}
}
