package pages

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/rolling-swarm/rolling/manager/engine"
	"github.com/rolling-swarm/rolling/manager/project"
	"github.com/rolling-swarm/rolling/manager/release"
	"github.com/rolling-swarm/rolling/ui"
)

// deed carries out what a form asks for, and says which page to show then. A page that it gives instead is shown at once:
// a question, or the form once more.
type deed func(ctx context.Context, v *visit, a address, by string, c echo.Context) (next string, again *page, err error)

// act answers a form. It was sent by this server's own page, or nothing happens.
func (p *Pages) act(by func(context.Context) string, does deed) echo.HandlerFunc {
	return func(c echo.Context) error {
		v := p.visit(c)
		ctx := c.Request().Context()
		if !p.honest(c) {
			f := fault{Code: "form", Back: local(c.FormValue("here"))}
			return p.send(c, v, f.status(), v.faultPage(f))
		}
		next, again, err := does(ctx, v, addressOf(c, func(name string) string { return c.FormValue(name) }), by(ctx), c)
		switch {
		case err != nil:
			f := p.faultOf(ctx, v, err)
			if f.Back == "" {
				f.Back = local(c.FormValue("here"))
			}
			return p.send(c, v, f.status(), v.faultPage(f))
		case again != nil:
			return p.send(c, v, max(again.status, http.StatusOK), *again)
		}
		return c.Redirect(http.StatusSeeOther, next)
	}
}

// local keeps an address to this server: what a form says may come from anywhere.
func local(address string) string {
	if !strings.HasPrefix(address, "/") || strings.HasPrefix(address, "//") || strings.ContainsAny(address, "\\\r\n\t") {
		return "/"
	}
	return address
}

func rolloutAt(r engine.Rollout) string { return path("rollouts", r.ID) }

// planView is a plan to look at before it is carried out.
type planView struct {
	Project     project.Name
	Environment engine.Environment
	Release     release.ID
	From        release.ID
	Plan        *engine.Plan
	Sum         string // of the plan's text: what was looked at is what is carried out
	Choices     []choice
	Kind        string // deploy or rollback
	Promotes    bool   // the release goes on to a later stage
	Reasons     []reason
	Fault       *fault
	Changed     bool // it is no more the plan that was looked at
	Action      string
}

// choice is a release that may be chosen.
type choice struct {
	ID     release.ID
	Commit string
	Chosen bool
}

// Ready says that there is something to carry out, and nothing in the way that a person cannot wave aside.
func (v planView) Ready() bool {
	return v.Plan != nil && !v.Plan.Empty && len(v.Plan.Blocked) == 0 && len(v.Plan.Room) == 0 && len(v.Reasons) == 0 && v.Environment.Rollout == ""
}

func sumOf(p engine.Plan) string {
	sum := sha256.Sum256([]byte(p.Text))
	return hex.EncodeToString(sum[:8])
}

const choicesShown = 50

// deployment shows what a deployment would do.
func (p *Pages) deployment(ctx context.Context, v *visit, a address) (page, error) {
	of, env, err := p.find(ctx, a)
	if err != nil {
		return page{}, err
	}
	view := planView{Project: of.Name, Environment: env, From: env.Release, Kind: "deploy", Release: a.release, Action: path("projects", of.Name, "environments", env.Name, "deploy")}
	all, err := p.parts.Releases.Releases(ctx, of.Name)
	if err != nil {
		return page{}, err
	}
	if view.Release == "" {
		view.Release = env.Release
	}
	for _, r := range all {
		if r.Discarded != nil {
			continue
		}
		if view.Release == "" {
			view.Release = r.ID // the newest: what else would one want in an empty place
		}
		if len(view.Choices) < choicesShown || r.ID == view.Release {
			view.Choices = append(view.Choices, choice{r.ID, short(r.Commit), r.ID == view.Release})
		}
	}
	if view.Release != "" {
		p.plan(ctx, v, &view, func() (engine.Plan, error) {
			return p.parts.Plans.Plan(ctx, engine.PlanOf{Project: of.Name, Environment: env.Name, Release: view.Release})
		})
		gates, err := p.gates(ctx, of, []release.ID{view.Release})
		if err != nil && view.Fault == nil {
			return page{}, err
		}
		view.Reasons = reasons(gates[view.Release][env.Name])
		view.Promotes = env.Release != view.Release
	}
	return v.planPage(view, "deploy.title"), nil
}

// plan fills in what would be done, or why that cannot be said.
func (p *Pages) plan(ctx context.Context, v *visit, view *planView, ask func() (engine.Plan, error)) {
	made, err := ask()
	if err != nil {
		f := p.faultOf(ctx, v, err)
		view.Fault = &f
		return
	}
	view.Plan, view.Sum, view.Release = &made, sumOf(made), made.Release
}

func (v *visit) planPage(view planView, title string) page {
	env := path("projects", view.Project, "environments", view.Environment.Name)
	text := v.t(title, "environment", view.Environment.Name)
	return page{title: text, nav: "board",
		crumbs: []crumb{{v.t("nav.board"), "/"}, {string(view.Project), path("projects", view.Project)}, {string(view.Environment.Name), env}, {text, ""}},
		parts:  []part{{"plan-head", "plan-head", view}, {"plan", "plan", view}}}
}

// wayBack shows what going back would do.
func (p *Pages) wayBack(ctx context.Context, v *visit, a address) (page, error) {
	of, env, err := p.find(ctx, a)
	if err != nil {
		return page{}, err
	}
	view := planView{Project: of.Name, Environment: env, From: env.Release, Kind: "rollback", Action: path("projects", of.Name, "environments", env.Name, "rollback")}
	p.plan(ctx, v, &view, func() (engine.Plan, error) { return p.parts.Plans.PlanBack(ctx, of.Name, env.Name) })
	return v.planPage(view, "back.title"), nil
}

// looked compares the plan of now with the one that the sender looked at, and gives the page once more if they differ.
func (p *Pages) looked(ctx context.Context, v *visit, a address, b build, sum string) (*page, error) {
	pg, err := b(ctx, v, a)
	if err != nil {
		return nil, err
	}
	for i := range pg.parts {
		view, ok := pg.parts[i].data.(planView)
		if !ok || view.Sum == sum || view.Fault != nil {
			continue
		}
		view.Changed = true
		pg.parts[i].data, pg.status = view, http.StatusPreconditionFailed
	}
	if pg.status == 0 {
		return nil, nil
	}
	return &pg, nil
}

func (p *Pages) deploy(ctx context.Context, v *visit, a address, by string, c echo.Context) (string, *page, error) {
	again, err := p.looked(ctx, v, a, p.deployment, c.FormValue("sum"))
	if err != nil || again != nil {
		return "", again, err
	}
	o := engine.Deploy{Project: a.project, Environment: a.environment, Release: a.release, By: by, Overwrite: c.FormValue("overwrite") != ""}
	start := p.parts.Deployments.Deploy
	if c.FormValue("promote") != "" {
		start = p.parts.Deployments.Promote
	}
	r, err := start(ctx, o)
	return rolloutAt(r), nil, err
}

func (p *Pages) rollback(ctx context.Context, v *visit, a address, by string, c echo.Context) (string, *page, error) {
	again, err := p.looked(ctx, v, a, p.wayBack, c.FormValue("sum"))
	if err != nil || again != nil {
		return "", again, err
	}
	r, err := p.parts.Deployments.Rollback(ctx, engine.Rollback{Project: a.project, Environment: a.environment, By: by, Overwrite: c.FormValue("overwrite") != ""})
	return rolloutAt(r), nil, err
}

type scaleView struct {
	Project     project.Name
	Environment project.EnvironmentName
	Service     project.ServiceName
	Action      string
}

// scale asks once more before a service loses its last task.
func (p *Pages) scale(ctx context.Context, v *visit, a address, by string, c echo.Context) (string, *page, error) {
	o := engine.Scale{Project: a.project, Environment: a.environment, Service: a.service, By: by, Overwrite: c.FormValue("overwrite") != ""}
	if c.FormValue("unscale") == "" {
		n, err := strconv.ParseUint(strings.TrimSpace(c.FormValue("replicas")), 10, 32)
		if err != nil {
			return "", nil, &fault{Code: "count", Detail: fmt.Sprintf("%.20q", c.FormValue("replicas"))}
		}
		if n == 0 && c.FormValue("sure") == "" {
			view := scaleView{a.project, a.environment, a.service, path("projects", a.project, "environments", a.environment, "services", a.service, "scale")}
			title := v.t("scale.zero.title", "service", a.service)
			return "", &page{title: title, nav: "board", parts: []part{{"scale", "scale", view}}}, nil
		}
		o.Replicas = &n
	}
	_, err := p.parts.Deployments.Scale(ctx, o)
	return path("projects", a.project, "environments", a.environment), nil, err
}

func (p *Pages) cancel(ctx context.Context, _ *visit, a address, by string, _ echo.Context) (string, *page, error) {
	_, err := p.parts.Rollouts.Cancel(ctx, engine.Cancel{Rollout: a.rollout, By: by})
	return path("rollouts", a.rollout), nil, err
}

// prefer keeps a language or a theme in a cookie.
func (p *Pages) prefer(_ context.Context, _ *visit, _ address, _ string, c echo.Context) (string, *page, error) {
	const year = 365 * 24 * 60 * 60
	keep := func(name, value string) {
		c.SetCookie(&http.Cookie{Name: name, Value: value, Path: "/", MaxAge: year, HttpOnly: true, SameSite: http.SameSiteLaxMode})
	}
	if l, known := ui.Known(c.FormValue("language")); known {
		keep(languageCookie, string(l))
	}
	if theme := c.FormValue("theme"); isTheme(theme) {
		keep(themeCookie, theme)
	}
	return local(c.FormValue("here")), nil, nil
}
