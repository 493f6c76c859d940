package pages_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/rolling-swarm/rolling/manager/pages/pagestest"
	"github.com/rolling-swarm/rolling/ui"
)

// every are the pages of the sample world, by the name of their golden files.
func every() map[string]string {
	return map[string]string{
		"board": "/", "board-found": "/?q=ORD", "board-none": "/?q=nothing", "board-unwell": "/?show=unwell",
		"environment": "/projects/orders/environments/production", "environment-empty": "/projects/search/environments/zhang",
		"environment-failed": "/projects/payments/environments/test", "releases": "/projects/orders", "releases-empty": "/projects/search",
		"deploy": "/projects/orders/environments/test/deploy?release=r-43", "deploy-closed": "/projects/orders/environments/staging/deploy?release=r-43",
		"deploy-none": "/projects/search/environments/zhang/deploy", "deploy-empty": "/projects/orders/environments/staging/deploy?release=r-40",
		"rollback": "/projects/orders/environments/staging/rollback", "rollback-none": "/projects/gateway/environments/test/rollback",
		"log": "/projects/orders/environments/production/tasks/api1q7x2m/log", "rollouts": "/rollouts", "rollouts-of": "/rollouts?project=payments&environment=test",
		"rollout": "/rollouts/ro90", "rollout-back": "/rollouts/ro88",
	}
}

func TestPagesReadAsTheyShould(t *testing.T) {
	for name, path := range every() {
		for _, l := range ui.Languages() {
			t.Run(name+" in "+string(l), func(t *testing.T) {
				h := open(t, pagestest.Sample(noon))
				h.lang = string(l)
				a := h.page(path)
				proper(t, a)
				if want := map[ui.Language]string{ui.English: "en", ui.Chinese: "zh-CN"}[l]; attr(a.tree.LastChild, "lang") != want {
					t.Errorf("the page says that it is in %q", attr(a.tree.LastChild, "lang"))
				}
				golden(t, name+"."+string(l)+".txt", outline(a.tree))
			})
		}
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v: go test -update writes it", err)
	}
	if got != string(want) {
		t.Errorf("%s reads otherwise:\n%s\n(-update takes it over)", file, difference(string(want), got))
	}
}

func difference(want, got string) string {
	a, b := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(a), len(b)) {
		x, y := "", ""
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		if x != y {
			return fmt.Sprintf("line %d\n  was %s\n  is  %s", i+1, x, y)
		}
	}
	return "the same"
}

// proper holds a page against what HTML and the policy ask of every page.
func proper(t *testing.T, a answer) {
	t.Helper()
	balanced(t, a.body)
	ids := map[string]bool{}
	h1 := 0
	key := regexp.MustCompile(`^[a-z]+(\.[a-z_]+)+$`)
	for n := range a.tree.Descendants() {
		if n.Type == html.TextNode && key.MatchString(strings.TrimSpace(n.Data)) && !strings.Contains(n.Data, "rolling.yml") && n.Parent.Data != "code" && n.Parent.Data != "dt" {
			t.Errorf("%q looks like a word that is missing", n.Data)
		}
		if n.Type != html.ElementNode {
			continue
		}
		if n.Data == "h1" {
			h1++
		}
		if id := attr(n, "id"); id != "" {
			if ids[id] {
				t.Errorf("the id %q stands twice", id)
			}
			ids[id] = true
		}
		inert(t, n)
		named(t, a.tree, n)
	}
	if h1 != 1 && !strings.Contains(a.body, `class="tail"`) {
		t.Errorf("%d main headings", h1)
	}
	for n := range a.tree.Descendants() {
		for _, name := range []string{"for", "aria-labelledby"} {
			if to := attr(n, name); to != "" && !ids[to] {
				t.Errorf("%s=%q points at nothing", name, to)
			}
		}
		if to := attr(n, "hx-target"); strings.HasPrefix(to, "#") && !ids[to[1:]] {
			t.Errorf("hx-target=%q points at nothing", to)
		}
	}
}

// inert refuses all that could act by itself, or that the policy would block.
func inert(t *testing.T, n *html.Node) {
	t.Helper()
	switch n.Data {
	case "script":
		if !strings.HasPrefix(attr(n, "src"), "/assets/") || n.FirstChild != nil {
			t.Errorf("a script of its own: %v", n.Attr)
		}
	case "style", "img", "iframe", "object", "embed", "base":
		t.Errorf("a %s: %v", n.Data, n.Attr)
	}
	for _, at := range n.Attr {
		switch {
		case strings.HasPrefix(at.Key, "on"), at.Key == "style", strings.HasPrefix(at.Key, "hx-on"):
			t.Errorf("%s has %s=%q", n.Data, at.Key, at.Val)
		case at.Key == "href" || at.Key == "action" || at.Key == "src" || at.Key == "hx-get":
			if !strings.HasPrefix(at.Val, "/") && !strings.HasPrefix(at.Val, "#") || strings.HasPrefix(at.Val, "//") {
				t.Errorf("%s leads away: %s=%q", n.Data, at.Key, at.Val)
			}
		}
	}
}

// named wants a name for everything that can be pressed or filled in.
func named(t *testing.T, tree, n *html.Node) {
	t.Helper()
	switch {
	case n.Data == "button", n.Data == "a", n.Data == "summary":
		if text(n) == "" && attr(n, "aria-label") == "" {
			t.Errorf("a %s without a name: %v", n.Data, n.Attr)
		}
	case n.Data == "input" && attr(n, "type") != "hidden" && attr(n, "type") != "checkbox", n.Data == "select":
		id := attr(n, "id")
		for l := range tree.Descendants() {
			if l.Data == "label" && attr(l, "for") == id && text(l) != "" {
				return
			}
		}
		t.Errorf("%s %s has no label", n.Data, id)
	}
}

// balanced wants every element closed in its order, since the parser would silently mend it.
func balanced(t *testing.T, body string) {
	t.Helper()
	void := " meta link input path circle rect br "
	var open []string
	z := html.NewTokenizer(strings.NewReader(body))
	for {
		switch kind := z.Next(); kind {
		case html.ErrorToken:
			if len(open) > 0 {
				t.Errorf("never closed: %v", open)
			}
			return
		case html.StartTagToken:
			name, _ := z.TagName()
			if !strings.Contains(void, " "+string(name)+" ") {
				open = append(open, string(name))
			}
		case html.EndTagToken:
			name, _ := z.TagName()
			if len(open) == 0 || open[len(open)-1] != string(name) {
				t.Fatalf("</%s> closes nothing of %v", name, open)
			}
			open = open[:len(open)-1]
		}
	}
}

// TestPoisonIsInert: whatever stands in names, causes, lines, images and plans stays text.
func TestPoisonIsInert(t *testing.T) {
	p := url.PathEscape(pagestest.Poison)
	env := "/projects/" + p + "/environments/" + p
	for name, path := range map[string]string{
		"the board": "/", "a search": "/?q=" + url.QueryEscape(pagestest.Poison), "an environment": env, "releases": "/projects/" + p,
		"a plan": env + "/deploy?release=" + url.QueryEscape(pagestest.Poison), "a way back": env + "/rollback", "a log": env + "/tasks/" + p + "/log",
		"rollouts": "/rollouts", "rollouts of one": "/rollouts?project=" + url.QueryEscape(pagestest.Poison) + "&environment=" + url.QueryEscape(pagestest.Poison),
		"a rollout": "/rollouts/" + p, "no project": "/projects/x" + p, "no task": env + "/tasks/x" + p + "/log",
	} {
		t.Run(name, func(t *testing.T) {
			h := open(t, pagestest.Poisoned(noon))
			a := h.get(path)
			if wrong := strings.HasPrefix(name, "no "); a.Code != http.StatusOK != wrong {
				t.Errorf("%d", a.Code)
			}
			proper(t, a)
			if !strings.Contains(outline(a.tree), "<script>alert(1)</script>") && name != "a search" {
				t.Errorf("the text itself is gone:\n%s", outline(a.tree))
			}
		})
	}
	t.Run("errors", func(t *testing.T) {
		w := pagestest.Sample(noon)
		w.SwarmAway = errors.New(pagestest.Poison)
		a := open(t, w).get("/projects/orders/environments/production")
		proper(t, a)
		if !strings.Contains(text(a.tree), "<script>alert(1)") {
			t.Error("the error's text is gone")
		}
	})
}

func TestWorldsOfAllSizes(t *testing.T) {
	for name, c := range map[string]struct {
		world *pagestest.World
		rows  int
		wants string
	}{
		"nothing": {&pagestest.World{Now: noon}, 0, "No projects yet"}, "a few": {pagestest.Sample(noon), 4, "orders"}, "a hundred": {pagestest.Many(100, noon), 100, "service-095"},
	} {
		t.Run(name, func(t *testing.T) {
			a := open(t, c.world).page("/")
			proper(t, a)
			rows := 0
			for n := range a.tree.Descendants() {
				if attr(n, "data-project") != "" && n.Data == "section" {
					rows++
				}
			}
			if rows != c.rows || !strings.Contains(text(a.tree), c.wants) {
				t.Errorf("%d rows, want %d and %q", rows, c.rows, c.wants)
			}
		})
	}
}

// TestWhatIsAwayIsSaid: a page shows what it can, says what it cannot, and what to do.
func TestWhatIsAwayIsSaid(t *testing.T) {
	away := errors.New("ask the engine for services: dial unix /var/run/docker.sock: connect: no such file or directory")
	t.Run("the board without the Swarm shows the record", func(t *testing.T) {
		w := pagestest.Sample(noon)
		w.SwarmAway = away
		a := open(t, w).page("/")
		proper(t, a)
		for _, want := range []string{"does not answer", "What runs goes on running", "docker.sock", "r-41", "Unknown"} {
			if !strings.Contains(text(a.tree), want) {
				t.Errorf("it does not say %q", want)
			}
		}
		if strings.Contains(text(a.tree), "31/32") {
			t.Error("it shows counts that nobody told")
		}
	})
	t.Run("another page says so and comes back by itself", func(t *testing.T) {
		w := pagestest.Sample(noon)
		w.SwarmAway = away
		a := open(t, w).get("/projects/orders/environments/production")
		proper(t, a)
		fault := byID(a.tree, "fault")
		if a.Code != http.StatusServiceUnavailable || fault == nil || attr(fault, "data-code") != "away" || !strings.Contains(a.body, "data-page=") {
			t.Errorf("%d\n%s", a.Code, outline(a.tree))
		}
	})
	t.Run("without the store nothing is known", func(t *testing.T) {
		w := pagestest.Sample(noon)
		w.StoreAway = errors.New("read projects: database not open")
		if a := open(t, w).get("/"); a.Code != http.StatusServiceUnavailable || !strings.Contains(text(a.tree), "database not open") {
			t.Errorf("%d %s", a.Code, text(a.tree))
		}
	})
	t.Run("a log that cannot be had", func(t *testing.T) {
		w := pagestest.Sample(noon)
		w.TailError, w.Lines = errors.New("no agent on n1"), nil
		a := open(t, w).page("/projects/orders/environments/production/tasks/api1q7x2m/log")
		proper(t, a)
		if !strings.Contains(text(a.tree), "no agent on n1") {
			t.Error(text(a.tree))
		}
	})
	for name, c := range map[string]struct {
		path, code string
		status     int
	}{
		"no page":        {"/nope", "no_page", 404},
		"no project":     {"/projects/nope", "not_found", 404},
		"no environment": {"/projects/orders/environments/nope", "not_found", 404},
		"no rollout":     {"/rollouts/nope", "not_found", 404},
		"no task":        {"/projects/orders/environments/production/tasks/nope/log", "no_task", 404},
	} {
		for _, l := range ui.Languages() {
			t.Run(name+" in "+string(l), func(t *testing.T) {
				h := open(t, pagestest.Sample(noon))
				h.lang = string(l)
				a := h.get(c.path)
				proper(t, a)
				if f := byID(a.tree, "fault"); a.Code != c.status || f == nil || attr(f, "data-code") != c.code {
					t.Errorf("%d\n%s", a.Code, outline(a.tree))
				}
			})
		}
	}
}
