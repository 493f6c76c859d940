package browser

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
)

// heard is what the page and the browser have complained about, and what the page asked for.
type heard struct {
	mu         sync.Mutex // guards all below
	complaints []string
	asked      []string
}

// take notes an event of the browser.
func (h *heard) take(event any) {
	switch e := event.(type) {
	case *runtime.EventConsoleAPICalled:
		if e.Type == "error" || e.Type == "warning" || e.Type == "assert" {
			var words []string
			for _, a := range e.Args {
				word := a.Description
				if word == "" {
					word = strings.Trim(string(a.Value), `"`)
				}
				words = append(words, word)
			}
			h.note("console.%s: %s", e.Type, strings.Join(words, " "))
		}
	case *runtime.EventExceptionThrown:
		text := e.ExceptionDetails.Text
		if x := e.ExceptionDetails.Exception; x != nil {
			text += " " + x.Description
		}
		h.note("exception: %s", text)
	case *log.EventEntryAdded: // among them violations of the page's own policy
		if e.Entry.Level == "error" || e.Entry.Level == "warning" {
			h.note("%s %s: %s (%s)", e.Entry.Source, e.Entry.Level, e.Entry.Text, e.Entry.URL)
		}
	case *network.EventRequestWillBeSent:
		h.mu.Lock()
		defer h.mu.Unlock()
		h.asked = append(h.asked, e.Request.URL)
	}
}

func (h *heard) note(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.complaints = append(h.complaints, fmt.Sprintf(format, args...))
}

// tail is for the text of an error.
func (h *heard) tail() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.complaints) == 0 {
		return ""
	}
	return "; the page complains: " + strings.Join(h.complaints[max(0, len(h.complaints)-3):], "; ")
}

// Complaints are all that the page and the browser have found wrong: errors and warnings on the console, exceptions that
// nobody caught, violations of the page's own policy, requests that failed.
func (t *Tab) Complaints() []string {
	t.heard.mu.Lock()
	defer t.heard.mu.Unlock()
	return slices.Clone(t.heard.complaints)
}

// Asked are the addresses that the page has asked for so far.
func (t *Tab) Asked() []string {
	t.heard.mu.Lock()
	defer t.heard.mu.Unlock()
	return slices.Clone(t.heard.asked)
}
