package ui

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Language is one that the dashboard speaks.
type Language string

// The languages. A browser that wants neither gets English.
const (
	English Language = "en"
	Chinese Language = "zh"
)

// Languages are all of them, the default first.
func Languages() []Language { return []Language{English, Chinese} }

// Words are the texts of one language by key. A text may hold {placeholders}; where | parts it in two, the first half is
// for n = 1 and the second for every other n.
type Words struct{ texts map[string]string }

func parseWords(text []byte) (Words, error) {
	w := Words{map[string]string{}}
	if err := json.Unmarshal(text, &w.texts); err != nil {
		return w, err
	}
	if len(w.texts) == 0 {
		return w, errors.New("no words")
	}
	return w, nil
}

// Say gives a text with its placeholders filled in: name, value, name, value. A key that is missing is said as it is:
// a page with one odd word is better than none, and the tests find it.
func (w Words) Say(key string, pairs ...any) string {
	text, ok := w.texts[key]
	if !ok {
		return key
	}
	if one, other, has := strings.Cut(text, "|"); has {
		text = other
		if isOne(pairs) {
			text = one
		}
	}
	if len(pairs) == 0 {
		return text
	}
	replace := make([]string, 0, len(pairs))
	for i := 0; i+1 < len(pairs); i += 2 {
		replace = append(replace, "{"+fmt.Sprint(pairs[i])+"}", fmt.Sprint(pairs[i+1]))
	}
	return strings.NewReplacer(replace...).Replace(text)
}

// Has says whether there is such a text.
func (w Words) Has(key string) bool {
	_, ok := w.texts[key]
	return ok
}

func isOne(pairs []any) bool {
	for i := 0; i+1 < len(pairs); i += 2 {
		if fmt.Sprint(pairs[i]) == "n" {
			return fmt.Sprint(pairs[i+1]) == "1"
		}
	}
	return false
}

// Choose picks the language that an Accept-Language header wants most.
func Choose(header string) Language {
	best, most := English, 0.0
	for part := range strings.SplitSeq(header, ",") {
		tag, rest, _ := strings.Cut(strings.TrimSpace(part), ";")
		weight := 1.0
		if q, ok := strings.CutPrefix(strings.TrimSpace(rest), "q="); ok {
			var err error
			if weight, err = strconv.ParseFloat(q, 64); err != nil {
				continue
			}
		}
		primary, _, _ := strings.Cut(strings.ToLower(tag), "-")
		l, known := Known(primary)
		if known && weight > most {
			best, most = l, weight
		}
	}
	return best
}

// Known says whether a name is that of a language.
func Known(name string) (Language, bool) {
	for _, l := range Languages() {
		if name == string(l) {
			return l, true
		}
	}
	return English, false
}
