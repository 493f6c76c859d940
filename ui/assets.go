package ui

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"path"
	"strings"
)

// Asset is one file as it is served. Its address holds a hash of its content, so it may be kept for ever.
type Asset struct {
	Type string
	Body []byte
	Gzip []byte // the same, compressed; nil where that saves nothing
}

// style is the one stylesheet; its sources are joined so that a page asks for one.
const style = "style.css"

func sheets() []string { return []string{"tokens.css", "ground.css", "board.css", "detail.css"} }

func (k *Kit) loadAssets(from fs.FS) error {
	var joined bytes.Buffer
	for _, name := range sheets() {
		text, err := fs.ReadFile(from, "assets/"+name)
		if err != nil {
			return err
		}
		joined.Write(text)
	}
	if err := k.add(style, joined.Bytes()); err != nil {
		return err
	}
	return fs.WalkDir(from, "assets", func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path.Ext(file) == ".css" {
			return err
		}
		body, err := fs.ReadFile(from, file)
		if err != nil {
			return err
		}
		return k.add(path.Base(file), body)
	})
}

func (k *Kit) add(name string, body []byte) error {
	types := map[string]string{
		".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8",
		".svg": "image/svg+xml", ".txt": "text/plain; charset=utf-8",
	}
	var packed bytes.Buffer
	z, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := z.Write(body); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	sum := sha256.Sum256(body)
	ext := path.Ext(name)
	url := "/assets/" + strings.TrimSuffix(name, ext) + "." + hex.EncodeToString(sum[:6]) + ext
	a := Asset{Type: types[ext], Body: body}
	if packed.Len() < len(body) {
		a.Gzip = packed.Bytes()
	}
	k.assets[url], k.urls[name] = a, url
	return nil
}

// Asset finds what is served at an address.
func (k *Kit) Asset(url string) (Asset, bool) {
	a, ok := k.assets[url]
	return a, ok
}

// URL is the address of an asset by its file's name; "" if there is none.
func (k *Kit) URL(name string) string { return k.urls[name] }
