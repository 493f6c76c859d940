//go:build lab

package browser_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/swarm"

	"github.com/rolling-swarm/rolling/lab/browser"
	"github.com/rolling-swarm/rolling/manager/engine"
)

// addresses are one of every page, by a name for it.
func (s *site) addresses(t *testing.T) map[string]string {
	t.Helper()
	rollouts, err := s.Rollouts(t.Context(), engine.RolloutsOf{Limit: 1})
	must(t, err)
	tasks, err := s.Tasks(t.Context(), "orders", "production")
	must(t, err)
	const environment = "/projects/orders/environments/production"
	return map[string]string{
		"board": "/", "releases": "/projects/orders", "environment": environment, "plan": environment + "/deploy?release=r-2",
		"log": environment + "/tasks/" + tasks[0].ID + "/log", "rollouts": "/rollouts", "rollout": "/rollouts/" + string(rollouts[0].ID),
		"rollback": "/projects/orders/environments/test/rollback", "fault": "/projects/nobody",
	}
}

// TestDashboard shares one browser and one manager between its parts, which stand in the order of what they leave behind.
func TestDashboard(t *testing.T) {
	b, s := chromium(t), open(t)
	for _, part := range []struct {
		name string
		run  func(*testing.T, *browser.Browser, *site)
	}{
		{"every page in both languages and themes is whole, and asks nobody else for anything", everyPage},
		{"nothing that people or containers wrote is taken for the page's own", nothingInjected},
		{"language and theme are chosen by a press, and kept", preferences},
		{"the keys alone lead from the board to a project", keysAlone},
		{"the log of a task opens and shows what it wrote", logOpens},
		{"a change in the Swarm shows by itself", changesShow},
		{"a release is promoted by clicking", promoted},
		{"a manager that is away is said, and what it did meanwhile shows when it is back", lostAndFound},
	} {
		t.Run(part.name, func(t *testing.T) { part.run(t, b, s) })
	}
}

// whole says in the page what is wrong with its looks: wider than the window, an image that did not load, a control that
// nobody who cannot see it can name, an id that is there twice.
const whole = `(() => {
  const wrong = [], seen = new Set()
  if (document.documentElement.scrollWidth > innerWidth + 1) wrong.push("wider than the window: " + document.documentElement.scrollWidth + " > " + innerWidth)
  for (const i of document.images) if (!i.complete || i.naturalWidth === 0) wrong.push("image " + i.src)
  for (const e of document.querySelectorAll("[id]")) { if (seen.has(e.id)) wrong.push("id twice: " + e.id); seen.add(e.id) }
  for (const e of document.querySelectorAll("button, a[href], input:not([type=hidden]), select"))
    if (!(e.innerText || e.getAttribute("aria-label") || e.title || e.labels?.[0]?.innerText || "").trim()) wrong.push("no name: " + e.outerHTML.slice(0, 120))
  if (!document.title.trim()) wrong.push("no title")
  if (!document.querySelector("main")) wrong.push("no main")
  if (document.querySelectorAll("h1").length > 1 || !document.querySelector("main h1, main h2")) wrong.push(document.querySelectorAll("h1").length + " first headings")
  return wrong.join("\n")
})()`

func everyPage(t *testing.T, b *browser.Browser, s *site) {
	one := tabThatMiss(t, b, s.url("/"))
	must(t, one.Wait("#row-orders"))
	for _, language := range []string{"en", "zh"} {
		for _, theme := range []string{"light", "dark"} {
			_, err := browser.Eval[string](one, fmt.Sprintf(`document.cookie = "rolling_language=%s; path=/"; document.cookie = "rolling_theme=%s; path=/"`, language, theme))
			must(t, err)
			for name, at := range s.addresses(t) {
				must(t, one.Go(s.url(at)))
				must(t, one.Wait(fmt.Sprintf("html[lang^=%q][data-theme=%q] main", language, theme)))
				if wrong, err := browser.Eval[string](one, whole); err != nil || wrong != "" {
					t.Errorf("%s, %s, %s: %s %v", name, language, theme, wrong, err)
				}
			}
		}
	}
	must(t, one.Resize(360, 740)) // a phone
	for name, at := range s.addresses(t) {
		must(t, one.Go(s.url(at)))
		must(t, one.Wait("main"))
		if wrong, err := browser.Eval[string](one, whole); err != nil || wrong != "" {
			t.Errorf("%s on a phone: %s %v", name, wrong, err)
		}
	}
	for _, url := range one.Asked() {
		if !strings.HasPrefix(url, s.url("/")) && !strings.HasPrefix(url, "data:") {
			t.Errorf("asks %s", url)
		}
	}
}

// tabThatMiss is a tab that also opens a page that is not there: the browser's own word on that is no fault of the page.
func tabThatMiss(t *testing.T, b *browser.Browser, url string) *browser.Tab {
	t.Helper()
	one, end, err := b.Open(url)
	must(t, err)
	t.Cleanup(func() {
		for _, c := range one.Complaints() {
			if !strings.Contains(c, "/projects/nobody") {
				t.Errorf("the page complains: %s", c)
			}
		}
		end()
	})
	return one
}

func nothingInjected(t *testing.T, b *browser.Browser, s *site) {
	one := tabThatMiss(t, b, s.url("/"))
	shown := 0
	for name, at := range s.addresses(t) {
		must(t, one.Go(s.url(at)))
		must(t, one.Wait("main"))
		if title, err := browser.Eval[string](one, "document.title"); err != nil || title == "owned" {
			t.Errorf("%s: %q, %v", name, title, err)
		}
		if n, err := one.Count(`img[src="x"], main script`); err != nil || n > 0 {
			t.Errorf("%s has %d elements that somebody wrote, %v", name, n, err)
		}
		text, err := browser.Eval[string](one, "document.body.textContent")
		must(t, err)
		shown += strings.Count(text, "<img src=x")
	}
	if shown < 2 {
		t.Errorf("what was written is shown %d times, so this test looks at nothing", shown)
	}
}

func preferences(t *testing.T, b *browser.Browser, s *site) {
	one := tab(t, b, s.url("/"))
	must(t, one.Wait(`html[lang^="en"]`))
	before, err := browser.Eval[string](one, "getComputedStyle(document.documentElement).backgroundColor")
	must(t, err)
	must(t, one.Click("[data-action=language]"))
	must(t, one.Wait(`html[lang^="zh"] #row-orders`))
	if chinese, err := browser.Eval[bool](one, `/[\u4e00-\u9fff]{2}/.test(document.body.innerText)`); err != nil || !chinese {
		t.Errorf("no Chinese: %v", err)
	}
	must(t, one.Click("[data-action=theme][value=dark]"))
	must(t, one.Wait(`html[data-theme=dark] [data-action=theme][value=dark][aria-pressed=true]`))
	after, err := browser.Eval[string](one, "getComputedStyle(document.documentElement).backgroundColor")
	if err != nil || after == before {
		t.Errorf("dark is %s, as before, %v", after, err)
	}
	must(t, one.Go(s.url("/rollouts")))
	must(t, one.Wait(`html[lang^="zh"][data-theme=dark]`))
}

// focusOn presses Tab until what has the focus matches.
func focusOn(t *testing.T, one *browser.Tab, css string) {
	t.Helper()
	for range 80 {
		must(t, one.Press(browser.Next))
		on, err := browser.Eval[bool](one, fmt.Sprintf("document.activeElement.matches(%q)", css))
		must(t, err)
		if on {
			if ring, err := browser.Eval[bool](one, `(s => s.outlineStyle !== "none" && s.outlineWidth !== "0px" || s.boxShadow !== "none")(getComputedStyle(document.activeElement))`); err != nil || !ring {
				t.Errorf("%s has the focus and does not show it, %v", css, err)
			}
			return
		}
	}
	t.Fatalf("the key Tab does not come to %s", css)
}

func keysAlone(t *testing.T, b *browser.Browser, s *site) {
	one := tab(t, b, s.url("/"))
	must(t, one.Wait("#row-orders"))
	focusOn(t, one, `a[href="/projects/orders"]`)
	must(t, one.Press(browser.Enter))
	must(t, one.Wait("#release-r-2"))
	focusOn(t, one, "#release-r-2 [data-action=promote]")
	must(t, one.Press(browser.Enter))
	must(t, one.Wait("#plan"))
	focusOn(t, one, "[data-action=confirm]") // it is left alone: a later part needs production as it is
	must(t, one.Back())
	must(t, one.Wait("#release-r-2"))
}

func logOpens(t *testing.T, b *browser.Browser, s *site) {
	one := tab(t, b, s.url("/projects/orders/environments/production"))
	must(t, one.Wait("[data-task] [data-field=address]"))
	if text, err := one.Text("[data-task] [data-field=address]"); err != nil || !strings.HasPrefix(strings.TrimSpace(text), "10.210.3.") {
		t.Errorf("the address of the first task: %q, %v", text, err)
	}
	must(t, one.Click("[data-task] [data-action=log]"))
	must(t, one.Until("its lines", `[...document.querySelectorAll("[id^=log-]")].some(e => e.textContent.includes("listening on :8080") && e.textContent.includes("好的") && e.textContent.includes("<img src=x"))`))
}

func changesShow(t *testing.T, b *browser.Browser, s *site) {
	one := tab(t, b, s.url("/"))
	must(t, one.Until("the event stream", `document.body.dataset.live === "live"`))
	count := `#row-orders [data-environment=test] [data-field=count]`
	must(t, one.Wait(count))
	must(t, s.toy.ByHand("orders-test_web", func(v *swarm.ServiceSpec) { *v.Mode.Replicated.Replicas = 2 }))
	begun := time.Now()
	must(t, one.Until("two tasks", fmt.Sprintf(`/2\D*2/.test(document.querySelector(%q).textContent)`, count)))
	t.Logf("shown after %s", time.Since(begun))

	must(t, one.Go(s.url("/projects/orders/environments/test")))
	must(t, one.Until("the event stream", `document.body.dataset.live === "live"`))
	must(t, one.Until("two tasks", `document.querySelectorAll("[data-task]").length === 2`))
	must(t, s.toy.ByHand("orders-test_web", func(v *swarm.ServiceSpec) { *v.Mode.Replicated.Replicas = 1 }))
	must(t, one.Until("one task", `document.querySelectorAll("[data-task][data-state=running]").length === 1`))
}

func promoted(t *testing.T, b *browser.Browser, s *site) {
	one := tab(t, b, s.url("/projects/orders"))
	must(t, one.Click("#release-r-2 [data-action=promote]"))
	must(t, one.Wait("#plan"))
	if text, err := one.Text("#plan"); err != nil || !strings.Contains(text, "orders-production_web") || !strings.Contains(text, "reg.example/web:2") {
		t.Errorf("the plan says %q, %v", text, err)
	}
	must(t, one.Click("[data-action=confirm]"))
	must(t, one.Wait("#rollout-head"))
	at, err := one.At()
	must(t, err)
	if !strings.HasPrefix(at, s.url("/rollouts/")) {
		t.Errorf("it leads to %s", at)
	}
	must(t, one.Wait("#rollout-head [data-state=succeeded]"))
	must(t, one.Go(s.url("/")))
	must(t, one.Until("the release on the board", `document.querySelector("#row-orders [data-environment=production] [data-field=release]").textContent.includes("r-2")`))
}

func lostAndFound(t *testing.T, b *browser.Browser, s *site) {
	one, end, err := b.Open(s.url("/")) // it complains of the connection that it has lost, as it should
	must(t, err)
	defer end()
	must(t, one.Until("the event stream", `document.body.dataset.live === "live"`))
	if n, err := browser.Eval[bool](one, `document.querySelector("#stale")?.checkVisibility() ?? false`); err != nil || n {
		t.Errorf("the banner is there without need: %v", err)
	}
	s.down()
	must(t, one.Until("the banner", `document.body.dataset.live === "stale" && document.querySelector("#stale").checkVisibility()`))
	must(t, s.toy.ByHand("orders-test_web", func(v *swarm.ServiceSpec) { *v.Mode.Replicated.Replicas = 3 }))
	s.up(t)
	must(t, one.Until("it to be back", `document.body.dataset.live === "live" && !document.querySelector("#stale").checkVisibility()`))
	must(t, one.Until("what was done meanwhile", `/3\D*3/.test(document.querySelector("#row-orders [data-environment=test] [data-field=count]").textContent)`))
}
