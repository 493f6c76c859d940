package pages_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/rolling-swarm/rolling/manager/engine"
	"github.com/rolling-swarm/rolling/manager/pages/pagestest"
	"github.com/rolling-swarm/rolling/manager/release"
)

const (
	production = "/projects/orders/environments/production"
	staging    = "/projects/orders/environments/staging"
	testing43  = "/projects/orders/environments/test/deploy?release=r-43"
)

// TestActs carries every act out as a browser without JavaScript does: the page's own form, then where it leads.
func TestActs(t *testing.T) {
	for name, c := range map[string]struct {
		page, action string
		set          map[string]string
		done, next   string
	}{
		"promote a release":        {testing43, "/projects/orders/environments/test/deploy", nil, "promote r-43 to orders/test by ann overwrite false", "/rollouts/ro900"},
		"roll back":                {staging + "/rollback", staging + "/rollback", nil, "roll back orders/staging by ann overwrite false", "/rollouts/ro900"},
		"scale a service":          {production, production + "/services/api/scale", map[string]string{"replicas": "7"}, "scale api of orders/production to 7 by ann", production},
		"scale to nothing, surely": {production, production + "/services/api/scale", map[string]string{"replicas": "0", "sure": "1"}, "scale api of orders/production to 0 by ann", production},
		"the file's own count":     {"/projects/gateway/environments/test", "/projects/gateway/environments/test/services/proxy/scale", map[string]string{"unscale": "1"}, "scale proxy of gateway/test to the file's own by ann", "/projects/gateway/environments/test"},
		"cancel a rollout":         {"/rollouts/ro90", "/rollouts/ro90/cancel", nil, "cancel ro90 by ann", "/rollouts/ro90"},
		"cancel where it runs":     {production, "/rollouts/ro90/cancel", nil, "cancel ro90 by ann", "/rollouts/ro90"},
	} {
		t.Run(name, func(t *testing.T) {
			h := open(t, pagestest.Sample(noon))
			a := h.submit(h.page(c.page), c.action, c.set)
			if a.Code != http.StatusSeeOther || a.Header().Get("Location") != c.next || !slices.Equal(h.world.Acts(), []string{c.done}) {
				t.Errorf("%d to %q after %q\n%s", a.Code, a.Header().Get("Location"), h.world.Acts(), outline(a.tree))
			}
		})
	}
}

func TestFormsOfOthersDoNothing(t *testing.T) {
	for name, spoil := range map[string]func(h *house, form url.Values){
		"no token":              func(_ *house, f url.Values) { f.Del("csrf") },
		"an empty token":        func(_ *house, f url.Values) { f.Set("csrf", "") },
		"the cookie's own word": func(h *house, f url.Values) { f.Set("csrf", h.jar["rolling_csrf"]) },
		"a token that was changed": func(_ *house, f url.Values) {
			first := map[bool]string{true: "B", false: "A"}[f.Get("csrf")[0] == 'A']
			f.Set("csrf", first+f.Get("csrf")[1:])
		},
		"another browser's cookie": func(h *house, _ url.Values) { h.jar["rolling_csrf"] = strings.Repeat("A", 26) },
		"no cookie":                func(h *house, _ url.Values) { delete(h.jar, "rolling_csrf") },
		"a token of another process": func(h *house, f url.Values) {
			other := open(h.T, pagestest.Sample(noon))
			other.jar = h.jar
			f.Set("csrf", attr(first(other.page("/"), "csrf"), "value"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := open(t, pagestest.Sample(noon))
			a := h.page("/rollouts/ro90")
			form := url.Values{"csrf": {attr(first(a, "csrf"), "value")}, "here": {"/rollouts/ro90"}}
			spoil(h, form)
			got := h.post("/rollouts/ro90/cancel", form)
			proper(t, got)
			if got.Code != http.StatusForbidden || len(h.world.Acts()) != 0 || attr(byID(got.tree, "fault"), "data-code") != "form" {
				t.Errorf("%d %v", got.Code, h.world.Acts())
			}
		})
	}
	t.Run("the same form twice is honest", func(t *testing.T) {
		h := open(t, pagestest.Sample(noon))
		a, b := attr(first(h.page("/"), "csrf"), "value"), attr(first(h.page("/"), "csrf"), "value")
		if a == b {
			t.Error("a token is not masked anew")
		}
		for _, token := range []string{a, b, a} {
			if got := h.post("/rollouts/ro90/cancel", url.Values{"csrf": {token}}); got.Code != http.StatusSeeOther {
				t.Errorf("%d", got.Code)
			}
		}
	})
}

func first(a answer, field string) *html.Node {
	for n := range a.tree.Descendants() {
		if n.Data == "input" && attr(n, "name") == field {
			return n
		}
	}
	return nil
}

func TestAPlanIsCarriedOutAsItWasLookedAt(t *testing.T) {
	h := open(t, pagestest.Sample(noon))
	a := h.page(testing43)
	h.world.Change(func(w *pagestest.World) {
		p := w.Plans["orders/test/r-43"]
		p.Text += "~ service orders-test_web: somebody was here\n"
		w.Plans["orders/test/r-43"] = p
	})
	again := h.submit(a, "/projects/orders/environments/test/deploy", nil)
	proper(t, again)
	if again.Code != http.StatusPreconditionFailed || len(h.world.Acts()) != 0 || !strings.Contains(text(again.tree), "The plan has changed") {
		t.Fatalf("%d %v\n%s", again.Code, h.world.Acts(), outline(again.tree))
	}
	if done := h.submit(again, "/projects/orders/environments/test/deploy", nil); done.Code != http.StatusSeeOther || len(h.world.Acts()) != 1 {
		t.Errorf("%d %v", done.Code, h.world.Acts())
	}
}

func TestWhatWasChangedByHandIsOverwrittenOnlyWhenAsked(t *testing.T) {
	h := open(t, pagestest.Sample(noon))
	h.world.Closed = nil
	a := h.page(staging + "/deploy?release=r-43")
	if !strings.Contains(a.body, `name="overwrite" value="1" required`) {
		t.Fatal("it does not ask")
	}
	h.submit(a, staging+"/deploy", map[string]string{"overwrite": "1"})
	if got := h.world.Acts(); len(got) != 1 || !strings.HasSuffix(got[0], "overwrite true") {
		t.Error(got)
	}
}

// TestNothingToConfirmWhereNothingMayBeDone looks at plans that a person cannot carry out.
func TestNothingToConfirmWhereNothingMayBeDone(t *testing.T) {
	for name, change := range map[string]func(*pagestest.World, *engine.Plan){
		"it is empty": func(_ *pagestest.World, p *engine.Plan) { p.Steps, p.Empty = nil, true },
		"something is in the way": func(_ *pagestest.World, p *engine.Plan) {
			p.Blocked = []engine.Remark{{Object: "network x", Text: "is somebody's"}}
		},
		"no room": func(_ *pagestest.World, p *engine.Plan) { p.Room = []string{"network x: 1 free, 2 needed"} },
		"the gate is closed": func(w *pagestest.World, _ *engine.Plan) {
			w.Closed["orders"]["r-43"]["test"] = []release.Refusal{{Code: release.Frozen, Text: "test is frozen until 18:00"}}
		},
		"another rollout runs": func(w *pagestest.World, _ *engine.Plan) { w.Views[1].Environments[0].Rollout = "ro91" },
	} {
		t.Run(name, func(t *testing.T) {
			h := open(t, pagestest.Sample(noon))
			p := h.world.Plans["orders/test/r-43"]
			change(h.world, &p)
			h.world.Plans["orders/test/r-43"] = p
			a := h.page(testing43)
			proper(t, a)
			if strings.Contains(a.body, `data-action="confirm"`) {
				t.Errorf("it may be confirmed:\n%s", outline(a.tree))
			}
		})
	}
}

func TestRefusalsSayWhatToDo(t *testing.T) {
	for _, code := range []engine.Code{engine.Busy, engine.Refused, engine.Drifted, engine.NoRoom, engine.Stale, engine.Blocked, engine.Invalid} {
		t.Run(string(code), func(t *testing.T) {
			h := open(t, pagestest.Sample(noon))
			h.lang = "zh"
			h.world.Refusal = pagestest.Refuse(code, "the engine's own words on %s", code)
			a := h.submit(h.page(testing43), "/projects/orders/environments/test/deploy", nil)
			proper(t, a)
			f := byID(a.tree, "fault")
			if a.Code < 400 || a.Code >= 500 || f == nil || attr(f, "data-code") != string(code) || !strings.Contains(text(f), "the engine's own words") {
				t.Errorf("%d\n%s", a.Code, outline(a.tree))
			}
		})
	}
}

func TestScalingAsksBeforeTheLastTaskGoes(t *testing.T) {
	h := open(t, pagestest.Sample(noon))
	action := production + "/services/web/scale"
	a := h.submit(h.page(production), action, map[string]string{"replicas": "0"})
	proper(t, a)
	if a.Code != http.StatusOK || len(h.world.Acts()) != 0 || byID(a.tree, "scale") == nil {
		t.Fatalf("%d %v", a.Code, h.world.Acts())
	}
	if sure := h.submit(a, action, nil); sure.Code != http.StatusSeeOther || len(h.world.Acts()) != 1 {
		t.Errorf("%d %v", sure.Code, h.world.Acts())
	}
	for _, bad := range []string{"", "-1", "many", "1.5", "99999999999999"} {
		if got := h.submit(h.page(production), action, map[string]string{"replicas": bad}); got.Code != http.StatusUnprocessableEntity || len(h.world.Acts()) != 1 {
			t.Errorf("%q: %d %v", bad, got.Code, h.world.Acts())
		}
	}
}

func TestPreferencesAreKept(t *testing.T) {
	h := open(t, pagestest.Sample(noon))
	a := h.submit(h.page("/rollouts?project=orders"), "/preferences", map[string]string{"language": "zh"})
	if a.Code != http.StatusSeeOther || a.Header().Get("Location") != "/rollouts?project=orders" {
		t.Fatalf("%d %v", a.Code, a.Header())
	}
	h.submit(h.page("/"), "/preferences", map[string]string{"theme": "dark"})
	after := h.page("/")
	if root := after.tree.LastChild; attr(root, "lang") != "zh-CN" || attr(root, "data-theme") != "dark" || !strings.Contains(text(after.tree), "总览") {
		t.Errorf("%v", root.Attr)
	}
	h.jar["rolling_theme"], h.jar["rolling_language"] = "><script>", "tlh"
	if root := h.page("/").tree.LastChild; attr(root, "lang") != "en" || attr(root, "data-theme") != "system" {
		t.Errorf("a spoilt cookie: %v", root.Attr)
	}
	for _, away := range []string{"https://elsewhere.example/", "//elsewhere.example", "/\\elsewhere.example", "javascript:alert(1)", "", "/\r\nX: y"} {
		a := h.submit(h.page("/"), "/preferences", map[string]string{"here": away, "theme": "light"})
		if to := a.Header().Get("Location"); a.Code != http.StatusSeeOther || to != "/" {
			t.Errorf("%q leads to %q", away, to)
		}
	}
}
