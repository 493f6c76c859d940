package proof

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rolling-swarm/rolling/lab"
	"github.com/rolling-swarm/rolling/lab/browser"
)

// boardWithin is how soon a person sees on the board what somebody has done.
const boardWithin = time.Second

// board is the dashboard in a browser on this machine, by way of a relay to wherever the manager is.
type board struct {
	w   *World
	url string
	tab *browser.Tab
}

// boardShows looks at the dashboard as a person does.
func boardShows(ctx context.Context, w *World) (seen string, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends relay and browser
	if err := w.Lab.Need(ctx, browser.Packages()...); err != nil {
		return "", err
	}
	address, err := w.Lab.Relay(ctx, 0, lab.Dashboard())
	if err != nil {
		return "", err
	}
	chromium, stop, err := browser.Start(ctx)
	if err != nil {
		return "", err
	}
	defer stop()
	tab, end, err := chromium.Open("http://" + address + "/")
	if err != nil {
		return "", err
	}
	defer end()
	b := &board{w, "http://" + address, tab}
	scaled, byHand, err := b.changes(ctx)
	if err != nil {
		return "", err
	}
	rollout, err := b.promote(ctx)
	if err != nil {
		return "", err
	}
	n, err := b.pictures(ctx, rollout)
	if err != nil {
		return "", err
	}
	if all := tab.Complaints(); len(all) > 0 {
		return "", fmt.Errorf("the browser complains: %s", strings.Join(all, "; "))
	}
	return fmt.Sprintf("a scale shows %d ms after the command's return, docker service scale %d ms; a release was promoted to production by three clicks; %d pictures in build/demo",
		scaled.Milliseconds(), byHand.Milliseconds(), n), nil
}

// cell is the place of an environment on the board.
func cell(env, field string) string {
	return fmt.Sprintf(`#row-orders [data-environment=%q] [data-field=%q]`, env, field)
}

// changes scales the test environment twice, and measures until the board shows it by itself.
func (b *board) changes(ctx context.Context) (rolling, byHand time.Duration, err error) {
	if err := b.tab.Wait(cell("test", "count")); err != nil {
		return 0, 0, err
	}
	if err := b.tab.Until("the event stream", `document.body.dataset.live === "live"`); err != nil {
		return 0, 0, err
	}
	var begun outcome
	rolling, err = b.shown("2", func() (err error) {
		begun, err = b.w.ends(ctx, 0, "scale", "orders", "test", "web=2", "--detach", "--quiet")
		return err
	})
	if err != nil {
		return 0, 0, err
	}
	if _, err := b.w.ends(ctx, 0, "rollout", "watch", strings.TrimSpace(begun.stdout)); err != nil {
		return 0, 0, err
	}
	leader, err := b.w.leader(ctx)
	if err != nil {
		return 0, 0, err
	}
	byHand, err = b.shown("3", func() error {
		_, err := b.w.Lab.Docker(ctx, leader, "service", "scale", "--detach", test+"=3")
		return err
	})
	if err != nil {
		return 0, 0, err
	}
	if rolling > boardWithin || byHand > boardWithin {
		return 0, 0, fmt.Errorf("the board showed rolling scale %s and docker service scale %s after their return, want %s or less", rolling, byHand, boardWithin)
	}
	_, err = b.w.ends(ctx, 0, "scale", "orders", "test", "web=1")
	return rolling, byHand, err
}

// shown does something and gives the time from its return until the board shows the count, without anybody touching it.
func (b *board) shown(count string, do func() error) (time.Duration, error) {
	if err := do(); err != nil {
		return 0, err
	}
	returned := time.Now()
	is := fmt.Sprintf(`document.querySelector(%q).textContent.replace(/\s/g, "").endsWith("/%s")`, cell("test", "count"), count)
	err := b.tab.Until("the board to show "+count+" tasks", is)
	return time.Since(returned), err
}

// promote brings a new release to production by clicking, and gives the address of its rollout.
func (b *board) promote(ctx context.Context) (string, error) {
	image, err := b.w.pushVariant(ctx, "board", "RELEASE=board")
	if err != nil {
		return "", err
	}
	const id = "r-board"
	if err := b.w.all(ctx,
		[]string{"release", "create", "orders", "--id", id, "--commit", strings.Repeat("b", 40), "--image", "web=" + b.w.repository() + ":board"},
		[]string{"deploy", "orders", "test", id},
	); err != nil {
		return "", err
	}
	if err := errors.Join(
		b.tab.Go(b.url+"/projects/orders"),
		b.tab.Click("#release-"+id+" [data-action=promote]"),
		b.tab.Wait("#plan"),
		b.tab.Click("[data-action=confirm]"),
		b.tab.Wait("#rollout-head"),
	); err != nil {
		return "", err
	}
	at, err := b.tab.At()
	if err != nil {
		return "", err
	}
	if err := eventually(ctx, 3*time.Minute, "the rollout's page says that it succeeded", func(context.Context) error {
		n, err := b.tab.Count(`#rollout-head [data-state=succeeded]`)
		if err == nil && n == 0 {
			state, _ := b.tab.Text("#rollout-head") // only for the error's text
			err = fmt.Errorf("%s says %q", at, state)
		}
		return err
	}); err != nil {
		return "", err
	}
	_, digest, _ := strings.Cut(image, "@")
	if runs, err := b.w.imageOf(ctx, production); err != nil || !strings.HasSuffix(runs, digest) {
		return "", fmt.Errorf("%s runs %s, want %s: %w", production, runs, digest, err)
	}
	return at, nil
}

// pictures keeps every page in both languages and both themes.
func (b *board) pictures(ctx context.Context, rollout string) (n int, err error) {
	pages := map[string]string{
		"board": b.url + "/", "releases": b.url + "/projects/orders", "environment": b.url + "/projects/orders/environments/production",
		"plan": b.url + "/projects/orders/environments/test/deploy?release=r-1", "rollout": rollout, "rollouts": b.url + "/rollouts",
	}
	folder := filepath.Join(b.w.Root, "build/demo")
	if err := os.RemoveAll(folder); err != nil {
		return 0, fmt.Errorf("clear the pictures: %w", err)
	}
	for _, language := range []string{"en", "zh"} {
		for _, theme := range []string{"light", "dark"} {
			if err := b.prefer(language, theme); err != nil {
				return n, err
			}
			for name, at := range pages {
				if ctx.Err() != nil {
					return n, ctx.Err()
				}
				looks := fmt.Sprintf(`html[lang^=%q][data-theme=%q] body`, language, theme)
				if err := errors.Join(b.tab.Go(at), b.tab.Wait(looks), b.tab.Picture(filepath.Join(folder, name+"-"+language+"-"+theme+".png"))); err != nil {
					return n, err
				}
				n++
			}
		}
	}
	return n, nil
}

// prefer sets language and theme as the page's own buttons keep them.
func (b *board) prefer(language, theme string) error {
	_, err := browser.Eval[string](b.tab, fmt.Sprintf(`document.cookie = "rolling_language=%s; path=/"; document.cookie = "rolling_theme=%s; path=/"`, language, theme))
	return err
}
