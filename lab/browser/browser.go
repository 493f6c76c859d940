// Package browser has a headless Chromium do what a person does at the dashboard: open a page, read, press, type, look. It
// keeps a record of everything that a page complains about, of its own or the browser's. It knows no page of Rolling's.
package browser

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// Packages are what a machine needs: the browser, and fonts without which Chinese is boxes.
func Packages() []string { return []string{"chromium", "fonts-dejavu-core", "fonts-wqy-microhei"} }

const (
	program = "/usr/bin/chromium"
	// within bounds one act: the page that it waits for may be drawn by a busy machine.
	within = 20 * time.Second
	// lookEvery is how often a page is looked at that something is waited for in.
	lookEvery = 20 * time.Millisecond
)

// Browser is one Chromium; each Tab of it has its own cookies.
type Browser struct {
	ctx context.Context
}

// Start starts a browser, which ends with ctx or with the function that is given back.
func Start(ctx context.Context) (*Browser, func(), error) {
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(program), chromedp.WindowSize(1280, 860),
		chromedp.NoSandbox,                            // root may not run it otherwise; it opens nothing but this machine's pages
		chromedp.Flag("font-render-hinting", "none"),  // pictures do not differ from machine to machine
		chromedp.Flag("allow-pre-commit-input", true), // else a press is dropped that comes before a new page's first picture
	)
	ctx, end := chromedp.NewExecAllocator(ctx, options...)
	ctx, cancel := chromedp.NewContext(ctx)
	stop := func() {
		_ = chromedp.Cancel(ctx) // it takes its files along; if it does not answer, it is killed below
		cancel()
		end()
	}
	if err := chromedp.Do(ctx); err != nil { // without a limit of its own: it would be the browser's
		stop()
		return nil, nil, fmt.Errorf("start %s: %w: is it installed? (apt-get install %s)", program, err, Packages()[0])
	}
	return &Browser{ctx}, stop, nil
}

// Tab is one page that is open.
type Tab struct {
	ctx   context.Context
	heard *heard
}

// Open makes a tab and opens a page in it. The function that is given back closes the tab.
func (b *Browser) Open(url string) (*Tab, func(), error) {
	t := &Tab{heard: &heard{}}
	ctx, end := chromedp.NewContext(b.ctx, chromedp.WithNewBrowserContext(), chromedp.WithListener(t.heard.take))
	t.ctx = ctx
	if err := chromedp.Do(ctx); err != nil {
		end()
		return nil, nil, fmt.Errorf("make a tab: %w", err)
	}
	if err := t.Go(url); err != nil {
		end()
		return nil, nil, err
	}
	return t, end, nil
}

func (t *Tab) do(what string, actions ...chromedp.Action[chromedp.Void]) error {
	ctx, cancel := context.WithTimeout(t.ctx, within)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		return fmt.Errorf("%s: %w%s", what, err, t.heard.tail())
	}
	return nil
}

// get runs one action that has a value.
func get[T any](t *Tab, what string, action chromedp.Action[T]) (T, error) {
	ctx, cancel := context.WithTimeout(t.ctx, within)
	defer cancel()
	got, err := chromedp.Run(ctx, action)
	if err != nil {
		err = fmt.Errorf("%s: %w%s", what, err, t.heard.tail())
	}
	return got, err
}

// Go opens another page in the tab.
func (t *Tab) Go(url string) error { return t.do("open "+url, chromedp.Navigate(url)) }

// Back is the browser's own button.
func (t *Tab) Back() error { return t.do("go back", chromedp.NavigateBack()) }

// Reload is the browser's own button.
func (t *Tab) Reload() error { return t.do("reload", chromedp.Reload()) }

// At is the address of the page.
func (t *Tab) At() (string, error) { return get(t, "ask for the address", chromedp.Location()) }

// seen is whether one of the elements that match is to be seen.
func seen(css string) string {
	return fmt.Sprintf("[...document.querySelectorAll(%q)].some(e => e.checkVisibility())", css)
}

// Wait waits until an element is to be seen.
func (t *Tab) Wait(css string) error { return t.Until(css+" to be seen", seen(css)) }

// Gone waits until an element is not there, or not to be seen.
func (t *Tab) Gone(css string) error { return t.Until("no "+css+" to be seen", "!"+seen(css)) }

// place is where the middle of the first element that is to be seen stands, once it has stood there for two pictures and
// nothing lies over it.
type place struct {
	X, Y  float64
	Still bool
}

const findPlace = `new Promise(done => {
  const at = () => {
    const e = [...document.querySelectorAll(%[1]q)].find(e => e.checkVisibility()), r = e?.getClientRects()[0]
    if (!r) return {X: -1, Y: -1}
    const X = r.x + r.width / 2, Y = r.y + r.height / 2, top = document.elementFromPoint(X, Y)
    return e.contains(top) || top?.closest("label")?.control === e ? {X, Y} : {X: -1, Y: -1}
  }
  document.querySelector(%[1]q)?.scrollIntoView({block: "nearest", behavior: "instant"})
  const was = at()
  requestAnimationFrame(() => requestAnimationFrame(() => {
    const is = at()
    done({...is, Still: is.X >= 0 && is.X === was.X && is.Y === was.Y && document.readyState === "complete"})
  }))
})`

// Click presses an element with the mouse, once it is to be seen and stands still: a press is one of a place.
func (t *Tab) Click(css string) error {
	if err := t.Wait(css); err != nil {
		return err
	}
	for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(lookEvery) {
		at, err := get(t, "find the place of "+css, chromedp.Evaluate[place](fmt.Sprintf(findPlace, css), chromedp.EvalAwaitPromise))
		if err != nil || !at.Still {
			continue
		}
		if _, err := Eval[bool](t, `window.heardPress = false, addEventListener("mousedown", () => { window.heardPress = true }, {capture: true, once: true}), true`); err != nil {
			return err
		}
		if err := t.do("press "+css, chromedp.MouseClickXY(at.X, at.Y)); err != nil {
			return err
		}
		// The browser loses a press that comes just as it changes from one page to the next. On another page by now there is no
		// such word, and the press was heard.
		if lost, err := Eval[bool](t, "window.heardPress === false"); err != nil || !lost {
			return nil //nolint:nilerr // between two pages there is nothing to compute in
		}
	}
	return fmt.Errorf("press %s: it does not stand still, something lies over it, or the page hears no press%s", css, t.heard.tail())
}

// Keys for Press.
const (
	Enter  = kb.Enter
	Escape = kb.Escape
	Next   = kb.Tab
)

// Press presses a key or types a text into what has the focus.
func (t *Tab) Press(keys string) error {
	return t.do(fmt.Sprintf("press the keys %q", keys), chromedp.KeyEvent(keys))
}

// Type puts a text into a field in the place of what is there.
func (t *Tab) Type(css, text string) error {
	if err := t.Wait(css); err != nil {
		return err
	}
	if _, err := Eval[bool](t, fmt.Sprintf("(e => { e.focus(); e.select(); return true })(document.querySelector(%q))", css)); err != nil {
		return err
	}
	return t.do("type into "+css, chromedp.KeyEvent(text))
}

// Text is what is to be read in the first element that matches.
func (t *Tab) Text(css string) (string, error) {
	return Eval[string](t, fmt.Sprintf("document.querySelector(%q).innerText", css))
}

// Count is how many elements match.
func (t *Tab) Count(css string) (int, error) {
	return Eval[int](t, fmt.Sprintf("document.querySelectorAll(%q).length", css))
}

// Eval computes something in the page.
func Eval[T any](t *Tab, expression string) (T, error) {
	return get(t, "compute "+expression, chromedp.Evaluate[T](expression))
}

// Until waits until an expression is true in the page; what says it in words. It asks again and again from outside, since
// the page's own policy may forbid it to compute a text.
func (t *Tab) Until(what, expression string) error {
	for end := time.Now().Add(within); ; time.Sleep(lookEvery) {
		// While the browser is between two pages there is nothing to compute in.
		yes, err := Eval[bool](t, "Boolean("+expression+")")
		if err == nil && yes {
			return nil
		}
		if time.Now().After(end) || t.ctx.Err() != nil {
			is, _ := Eval[string](t, `location.href + " " + document.documentElement.cloneNode(false).outerHTML + document.body.cloneNode(false).outerHTML`) // only for the text
			return errors.Join(fmt.Errorf("wait for %s: not within %s; the page is %s%s", what, within, is, t.heard.tail()), err)
		}
	}
}

// Resize gives the page another size, as a phone or a wide screen has.
func (t *Tab) Resize(width, height int64) error {
	return t.do("resize", chromedp.EmulateViewport(width, height))
}

// Picture keeps the whole page as a PNG.
func (t *Tab) Picture(file string) error {
	png, err := get(t, "take a picture", chromedp.FullScreenshot(100))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return fmt.Errorf("keep a picture: %w", err)
	}
	if err := os.WriteFile(file, png, 0o644); err != nil {
		return fmt.Errorf("keep a picture: %w", err)
	}
	return nil
}
