// Package ui is what people see of Rolling: templates and their parts, styles, scripts, and every word in English and in
// Chinese, all of it embedded. It knows how to read them and how to make them ready to be served.
// It knows no project, no request and no engine: the door that shows pages (manager/pages) fills the templates in.
package ui

import (
	"embed"
	"fmt"
	"html/template"
	"io/fs"
)

//go:embed pages/*.html parts/*.html words/*.json assets
var files embed.FS

// Kit is everything that is embedded, ready to be served.
type Kit struct {
	assets map[string]Asset  // by address
	urls   map[string]string // address by name
	words  map[Language]Words
}

// Load reads what is embedded and compresses the assets once.
func Load() (*Kit, error) {
	k := &Kit{assets: map[string]Asset{}, urls: map[string]string{}, words: map[Language]Words{}}
	if err := k.loadAssets(files); err != nil {
		return nil, fmt.Errorf("read the dashboard's assets: %w", err)
	}
	for _, l := range Languages() {
		name := "words/" + string(l) + ".json"
		text, err := files.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("read the dashboard's words: %w", err)
		}
		if k.words[l], err = parseWords(text); err != nil {
			return nil, fmt.Errorf("read the dashboard's words: %s: %w", name, err)
		}
	}
	return k, nil
}

// Words are those of one language.
func (k *Kit) Words(l Language) Words { return k.words[l] }

// Templates parses all templates. Each page and each part is a template of its own name; funcs must hold every function
// that they call, since a page is in one language from its first word on.
func (k *Kit) Templates(funcs template.FuncMap) (*template.Template, error) {
	return template.New("").Funcs(funcs).Option("missingkey=error").ParseFS(files, "pages/*.html", "parts/*.html")
}

// Files are what is embedded, as it was written.
func Files() fs.FS { return files }
