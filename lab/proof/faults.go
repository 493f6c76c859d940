package proof

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rolling-swarm/rolling/lab"
)

func badReleases(ctx context.Context, w *World) (string, error) {
	if _, err := w.pushVariant(ctx, "broken", "LISTEN=none"); err != nil {
		return "", err
	}
	if _, err := w.pushVariant(ctx, "sick", "SICK=true"); err != nil {
		return "", err
	}
	if err := w.all(ctx, []string{"scale", "orders", "test", "web=3"}); err != nil {
		return "", err
	}
	want, err := w.tasksOf(ctx, test, 3)
	if err != nil {
		return "", err
	}
	through := w.nginxLoad(ctx, "orders-test")
	defer through.stop()
	if err := through.reach(ctx, 15*time.Second, want); err != nil {
		return "", err
	}
	fewest := w.watchCount(ctx, test)
	var causes []string
	for i, variant := range []string{"broken", "sick"} {
		id := "r-" + variant
		if err := w.all(ctx, []string{"release", "create", "orders", "--id", id, "--commit", strings.Repeat(strconv.Itoa(8+i), 40), "--image", "web=" + w.repository() + ":" + variant}); err != nil {
			return "", err
		}
		ended, err := w.ends(ctx, 3, "deploy", "orders", "test", id)
		if err != nil {
			return "", err
		}
		causes = append(causes, fmt.Sprintf("%s: %q", variant, cause(ended.stderr)))
	}
	least := fewest()
	if least < 3 {
		return "", fmt.Errorf("only %d tasks ran for a while, want 3 at every moment", least)
	}
	answers, err := through.end("nginx")
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("exit code 3 each; %s; never below 3 tasks, %d requests, none failed", strings.Join(causes, "; "), answers), nil
}

// cause is the line of an error that begins with the command's name.
func cause(stderr string) string {
	for line := range strings.Lines(stderr) {
		if rest, ok := strings.CutPrefix(line, "rolling: "); ok {
			return strings.TrimSpace(rest)
		}
	}
	return strings.TrimSpace(stderr)
}

// watchCount looks at a service's running tasks every 200 ms until the returned function is called, which gives the fewest.
func (w *World) watchCount(ctx context.Context, service string) func() int {
	ctx, stop := context.WithCancel(ctx)
	fewest := 1 << 30
	var done sync.WaitGroup
	done.Go(func() {
		for ctx.Err() == nil {
			if leader, err := w.Lab.Leader(ctx); err == nil {
				if all, err := w.tasks(ctx, leader); err == nil {
					all = slices.DeleteFunc(all, func(t Task) bool { return t.Service != service })
					fewest = min(fewest, len(all))
				}
			}
			time.Sleep(200 * time.Millisecond)
		}
	})
	return func() int {
		stop()
		done.Wait()
		return fewest
	}
}

// rightWithin bounds when requests that are sent after a power loss are answered again.
const rightWithin = 5 * time.Second

// nodeLosesPower: Swarm itself needs more than ten seconds to see it; until then nginx's own memory of failures steers
// around the dead members.
func nodeLosesPower(ctx context.Context, w *World) (string, error) {
	leader, err := w.leader(ctx)
	if err != nil {
		return "", err
	}
	tasks, err := w.tasksOf(ctx, production, 3)
	if err != nil {
		return "", err
	}
	// Not the manager's node, and rather not the leader: Swarm then sees the loss sooner. It need not spread tasks evenly.
	tasks = slices.DeleteFunc(slices.Clone(tasks), func(t Task) bool { return t.Node == w.Lab.Managers()[0] })
	if len(tasks) == 0 {
		return "", fmt.Errorf("every task of %s runs on the manager's node", production)
	}
	victim := tasks[0]
	if i := slices.IndexFunc(tasks, func(t Task) bool { return t.Node != leader }); i >= 0 {
		victim = tasks[i]
	}
	through := w.nginxLoad(ctx, upstream)
	defer through.stop()
	if err := through.reach(ctx, 15*time.Second, tasks); err != nil {
		return "", err
	}
	through.forget()
	if err := w.Lab.Kill(ctx, victim.Node); err != nil {
		return "", err
	}
	dark := time.Now()
	gone, err := w.memberGone(ctx, dark, victim)
	if err != nil {
		return "", err
	}
	if rest := rightWithin - time.Since(dark); rest > 0 {
		time.Sleep(rest)
	}
	time.Sleep(2 * time.Second) // requests that are to be without failure
	answers, early, err := through.endSparing("nginx", dark.Add(rightWithin))
	if err != nil {
		return "", fmt.Errorf("sent more than %s after the power loss: %w", rightWithin, err)
	}
	right := time.Duration(0)
	for _, f := range early {
		right = max(right, f.at.Sub(dark))
	}
	if err := w.Lab.Start(ctx, victim.Node); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s dark: %d of %d requests failed, the last of them sent %.1f s after it; its member left nginx after %.1f s", victim.Node, len(early), len(early)+answers, right.Seconds(), gone.Seconds()), nil
}

// memberGone waits until the leader's agent no longer counts the dead node's task as a member.
func (w *World) memberGone(ctx context.Context, dark time.Time, victim Task) (time.Duration, error) {
	err := eventually(ctx, time.Minute, "the dead node's member gone", func(ctx context.Context) error {
		text, err := w.upstreams(ctx)
		if err == nil && strings.Contains(text, `"`+victim.Addresses[0].String()+`"`) {
			err = fmt.Errorf("%s is still a member", victim.Addresses[0])
		}
		return err
	})
	return time.Since(dark), err
}

func discoveryGoesOn(ctx context.Context, w *World) (string, error) {
	leader, err := w.leader(ctx)
	if err != nil {
		return "", err
	}
	if _, err := w.tasksOf(ctx, production, 3); err != nil {
		return "", err
	}
	through := w.nginxLoad(ctx, upstream)
	defer through.stop()
	if err := errors.Join(w.kill(ctx, leader, "/agent"), w.kill(ctx, w.Lab.Managers()[0], "/rolling")); err != nil {
		return "", err
	}
	killed := time.Now()
	if _, err := w.Lab.Docker(ctx, leader, "service", "scale", "--detach", production+"=4"); err != nil {
		return "", err
	}
	four, err := w.tasksOf(ctx, production, 4)
	if err != nil {
		return "", err
	}
	if err := through.reach(ctx, 30*time.Second, four); err != nil {
		return "", err
	}
	joined := time.Since(killed)
	answers, err := through.end("nginx")
	if err != nil {
		return "", err
	}
	if err := eventually(ctx, time.Minute, "the manager answers again", func(ctx context.Context) error {
		_, err := w.ends(ctx, 0, "project", "list")
		return err
	}); err != nil {
		return "", err
	}
	return fmt.Sprintf("a fourth task, started by docker service scale, was a member %.1f s after the kills; %d requests, none failed", joined.Seconds(), answers), nil
}

// kill ends a program on a node by SIGKILL.
func (w *World) kill(ctx context.Context, node, program string) error {
	out, err := w.Lab.Exec(ctx, node, "pidof", program)
	if err != nil {
		return fmt.Errorf("process %s on %s: %w", program, node, err)
	}
	_, err = w.Lab.Exec(ctx, node, "kill", "-9", strings.Fields(out)[0])
	return err
}

func driftIsShown(ctx context.Context, w *World) (string, error) {
	leader, err := w.leader(ctx)
	if err != nil {
		return "", err
	}
	if _, err := w.Lab.Docker(ctx, leader, "service", "update", "--detach", "--label-add", "by=hand", production); err != nil {
		return "", err
	}
	shown, err := w.ends(ctx, 2, "plan", "orders", "production")
	if err != nil {
		return "", err
	}
	if !strings.Contains(shown.stdout, "by hand") {
		return "", fmt.Errorf("the plan does not say that it was changed by hand:\n%s", shown.stdout)
	}
	if _, err := w.ends(ctx, 1, "deploy", "orders", "production"); err != nil {
		return "", err
	}
	label := func() (string, error) {
		return w.Lab.Docker(ctx, leader, "service", "inspect", "--format", `{{index .Spec.Labels "by"}} {{.Spec.Mode.Replicated.Replicas}}`, production)
	}
	if still, err := label(); err != nil || strings.TrimSpace(still) != "hand 4" {
		return "", fmt.Errorf("after a deployment that was refused the service has %q, want what was laid by hand: %w", still, err)
	}
	if err := w.all(ctx, []string{"deploy", "orders", "production", "--overwrite"}, []string{"plan", "orders", "production"}); err != nil {
		return "", err
	}
	if after, err := label(); err != nil || strings.TrimSpace(after) != "3" {
		return "", fmt.Errorf("after --overwrite the service has %q, want no label and 3 replicas: %w", after, err)
	}
	return "shown as changed by hand, refused without --overwrite, put right with it; the plan is empty again", nil
}

// upstreams is what the lab's nginx holds.
func (w *World) upstreams(ctx context.Context) (string, error) {
	return w.getFromRouter(ctx, "http://"+w.Lab.Address(lab.Router).String()+":8082/upstreams")
}
