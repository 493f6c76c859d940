package images

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
)

// format is part of every key: another way of making the same recipe must not leave an old tar in place.
const format = "1"

// note is where the recipe of a tar is kept, beside it.
func note(file string) string { return file + ".made-of" }

// key is one string for all that goes into the image.
func (i Image) key() (string, error) {
	h := sha256.New()
	for _, t := range i.Layers {
		d, err := t.Digest()
		if err != nil {
			return "", err
		}
		h.Write([]byte(d)) // a hash takes everything
	}
	if err := json.NewEncoder(h).Encode([]any{format, i.Tag, i.config()}); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// saved says whether the tar was made of that recipe. A note that cannot be read means no.
func saved(file, key string) (digest string, ok bool) {
	if s, err := os.Stat(file); err != nil || !s.Mode().IsRegular() {
		return "", false
	}
	text, err := os.ReadFile(note(file))
	if err != nil {
		return "", false
	}
	was, digest, ok := strings.Cut(strings.TrimSpace(string(text)), " ")
	return digest, ok && was == key
}
