package api

import (
	"bytes"
	"crypto/sha256"
	"io"
	"net/http"
	"regexp"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
)

// An answer to a creating call is kept for a day, as long as the manager lives, and only so many of them. A restarted
// manager has forgotten them; a second release of the same id or a second rollout of an environment is refused anyway.
const (
	keyHeader    = "Idempotency-Key"
	replayHeader = "Idempotency-Replayed"
	keepFor      = 24 * time.Hour
	keepAtMost   = 1000
	keepBody     = 64 << 10
)

var keyPattern = regexp.MustCompile(`^[\x21-\x7e]{1,255}$`)

// keptAnswer is what a creating call was answered with, or a call that has not been answered yet.
type keptAnswer struct {
	asked  [sha256.Size]byte
	at     time.Time
	done   bool
	status int
	header http.Header
	body   []byte
}

type keptAnswers struct {
	mu    sync.Mutex // guards kept
	kept  map[string]*keptAnswer
	limit int
}

// take reserves a key. An answer that is there already comes back with false.
func (k *keptAnswers) take(key string, asked [sha256.Size]byte, now time.Time) (keptAnswer, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.kept == nil {
		k.kept = map[string]*keptAnswer{}
	}
	if a, found := k.kept[key]; found && (!a.done || now.Sub(a.at) < keepFor) {
		return *a, false
	}
	if len(k.kept) >= k.limit {
		k.forget(now)
	}
	k.kept[key] = &keptAnswer{asked: asked, at: now}
	return keptAnswer{}, true
}

// forget drops what is too old, or else the oldest answer. The lock is held.
func (k *keptAnswers) forget(now time.Time) {
	oldest := ""
	for key, a := range k.kept {
		switch {
		case !a.done:
		case now.Sub(a.at) >= keepFor:
			delete(k.kept, key)
		case oldest == "" || a.at.Before(k.kept[oldest].at):
			oldest = key
		}
	}
	if len(k.kept) >= k.limit {
		delete(k.kept, oldest)
	}
}

// settle keeps the answer to a reserved key, or gives the key up: a refusal may be no more once the reason is gone.
func (k *keptAnswers) settle(key string, answer *keptAnswer) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if answer == nil {
		delete(k.kept, key)
		return
	}
	reserved := k.kept[key]
	answer.asked, answer.at, answer.done = reserved.asked, reserved.at, true
	k.kept[key] = answer
}

// once gives a repeated creating call the answer of the first, so that a client that lost the answer may ask again.
func (a *API) once(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		key := r.Header.Get(keyHeader)
		if r.Method != http.MethodPost || key == "" {
			return next(c)
		}
		if !keyPattern.MatchString(key) {
			return problem(http.StatusBadRequest, CodeInvalidRequest, keyHeader+": want 1 to 255 visible characters, such as a UUID")
		}
		asked, err := fingerprint(r)
		if err != nil {
			return err
		}
		key = r.URL.Path + " " + key
		before, fresh := a.answers.take(key, asked, a.now())
		switch {
		case fresh:
			return a.keep(c, key, next)
		case before.asked != asked:
			return problem(http.StatusUnprocessableEntity, CodeIdempotencyReused, "this "+keyHeader+" came with another request before: take a new one for a new request")
		case !before.done:
			return problem(http.StatusConflict, CodeIdempotencyRunning, "the first request with this "+keyHeader+" is not answered yet: ask again soon")
		}
		for _, name := range []string{echo.HeaderContentType, echo.HeaderLocation, "ETag"} {
			if v := before.header.Get(name); v != "" {
				c.Response().Header().Set(name, v)
			}
		}
		c.Response().Header().Set(replayHeader, "true")
		c.Response().WriteHeader(before.status)
		_, err = c.Response().Write(before.body)
		return err
	}
}

func (a *API) keep(c echo.Context, key string, next echo.HandlerFunc) error {
	var answer *keptAnswer
	defer func() { a.answers.settle(key, answer) }() // after a panic too
	copied := &tee{ResponseWriter: c.Response().Writer}
	c.Response().Writer = copied
	if err := next(c); err != nil {
		return err
	}
	if status := c.Response().Status; status < http.StatusMultipleChoices && copied.body.Len() < keepBody {
		answer = &keptAnswer{status: status, header: c.Response().Header().Clone(), body: copied.body.Bytes()}
	}
	return nil
}

func fingerprint(r *http.Request) (sum [sha256.Size]byte, err error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return sum, err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return sha256.Sum256(append([]byte(r.URL.RawQuery+"\n"), body...)), nil
}

// tee copies the beginning of an answer's body.
type tee struct {
	http.ResponseWriter
	body bytes.Buffer
}

func (t *tee) Write(b []byte) (int, error) {
	t.body.Write(b[:min(len(b), keepBody-min(keepBody, t.body.Len()))])
	return t.ResponseWriter.Write(b)
}

// Unwrap lets net/http find the connection behind the copy.
func (t *tee) Unwrap() http.ResponseWriter { return t.ResponseWriter }
