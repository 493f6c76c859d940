package pages

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"

	"github.com/labstack/echo/v4"
)

// A form is taken from who got it from this process: the cookie holds a random word, the form a proof of it that only the
// process's own key makes. Cookies are shared by all ports of a machine, so the cookie alone would prove nothing.
const (
	tokenCookie = "rolling_csrf"
	tokenField  = "csrf"
	maskSize    = 16
)

// token gives the proof for the sender's cookie, and the cookie first if there is none. It is masked anew each time, so
// that its compressed length tells nothing.
func (p *Pages) token(c echo.Context) string {
	word := ""
	if cookie, err := c.Cookie(tokenCookie); err == nil && len(cookie.Value) >= 26 && len(cookie.Value) <= 64 {
		word = cookie.Value
	} else {
		word = rand.Text()
		c.SetCookie(&http.Cookie{Name: tokenCookie, Value: word, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode})
		c.Request().AddCookie(&http.Cookie{Name: tokenCookie, Value: word})
	}
	proof := p.proof(word)
	masked := make([]byte, maskSize, maskSize+len(proof))
	_, _ = rand.Read(masked) // it never fails
	for i, b := range proof {
		masked = append(masked, b^masked[i%maskSize])
	}
	return base64.RawURLEncoding.EncodeToString(masked)
}

func (p *Pages) proof(word string) []byte {
	h := hmac.New(sha256.New, p.key)
	h.Write([]byte(word))
	return h.Sum(nil)
}

// honest says whether a form was made by this process for the sender's cookie.
func (p *Pages) honest(c echo.Context) bool {
	cookie, err := c.Cookie(tokenCookie)
	if err != nil {
		return false
	}
	masked, err := base64.RawURLEncoding.DecodeString(c.FormValue(tokenField))
	if err != nil || len(masked) != maskSize+sha256.Size {
		return false
	}
	proof := make([]byte, sha256.Size)
	for i := range proof {
		proof[i] = masked[maskSize+i] ^ masked[i%maskSize]
	}
	return subtle.ConstantTimeCompare(proof, p.proof(cookie.Value)) == 1
}
