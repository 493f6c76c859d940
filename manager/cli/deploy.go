package cli

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rolling-swarm/rolling/manager/api"
	"github.com/rolling-swarm/rolling/manager/project"
	"github.com/rolling-swarm/rolling/manager/release"
)

var planView = view[api.Plan]{
	id: func(p api.Plan) string {
		var objects []string
		for _, s := range p.Steps {
			objects = append(objects, s.Object)
		}
		return strings.Join(objects, "\n")
	},
	text: func(p api.Plan) string { return p.Text },
}

func overwriteFlag(cmd *cobra.Command, overwrite *bool) {
	cmd.Flags().BoolVar(overwrite, "overwrite", false, "also write over what was changed by hand")
}

func (c *commands) plan() *cobra.Command {
	var o output
	cmd := c.verb("plan PROJECT ENVIRONMENT [RELEASE]", "Say what a deployment would do; exit code 2 if that is anything", func(ctx context.Context, _ *cobra.Command, args []string) error {
		empty, err := c.showPlan(ctx, o, args)
		if err == nil && !empty {
			return &ended{code: exitChanges}
		}
		return err
	})
	cmd.Long = cmd.Short + ". Without RELEASE it is the one that runs there, which shows what was changed by hand or in the project file since."
	o.flags(cmd)
	return cmd
}

// planned asks for the plan of PROJECT ENVIRONMENT [RELEASE]; without the last it is that of the release that runs there.
func (c *commands) planned(ctx context.Context, args []string) (item[api.Plan], error) {
	cl, err := c.client()
	if err != nil {
		return item[api.Plan]{}, err
	}
	query := url.Values{}
	if r := argument(args, 2); r != "" {
		query.Set("release", r)
	}
	raw, _, err := cl.do(ctx, http.MethodGet, where("/api/v1/projects/%s/environments/%s/plan", args[0], args[1]), query, nil, nil)
	if err != nil {
		return item[api.Plan]{}, err
	}
	return decode[api.Plan](raw)
}

// showPlan prints a plan, and says whether there is nothing to do.
func (c *commands) showPlan(ctx context.Context, o output, args []string) (bool, error) {
	it, err := c.planned(ctx, args)
	if err != nil {
		return false, err
	}
	v := planView
	if o.form == "wide" {
		o.form = "table"
	}
	if o.quiet && len(it.is.Steps) == 0 {
		return it.is.Empty, nil
	}
	return it.is.Empty, showOne(c, o, v, it)
}

func (c *commands) deploy() *cobra.Command {
	var w waiting
	var dryRun, overwrite bool
	cmd := c.verb("deploy PROJECT ENVIRONMENT [RELEASE]", "Bring an environment to a release", func(ctx context.Context, _ *cobra.Command, args []string) error {
		if dryRun {
			_, err := c.showPlan(ctx, w.output, args)
			return err
		}
		id := release.ID(argument(args, 2))
		if id == "" {
			running, err := c.planned(ctx, args)
			if err != nil {
				return err
			}
			id = running.is.Release
		}
		return c.start(ctx, w, http.MethodPost, "/api/v1/rollouts", api.NewRollout{
			Project: project.Name(args[0]), Environment: project.EnvironmentName(args[1]), Release: id, Overwrite: overwrite,
		})
	})
	cmd.Long = cmd.Short + " and wait for the end. Without RELEASE it is the one that runs there, with the project file as it is now.\n\n" +
		"Exit code: 0 succeeded, 3 rolled back, 4 timed out, 5 an approval is missing, 6 denied or frozen, 130 interrupted (the rollout goes on), 1 anything else."
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only show the plan")
	overwriteFlag(cmd, &overwrite)
	w.flags(c, cmd)
	return cmd
}

// start begins a rollout and waits for its end.
func (c *commands) start(ctx context.Context, w waiting, method, path string, body any) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	it, err := fetch[api.Rollout](ctx, cl, method, path, body)
	if err != nil {
		return err
	}
	return c.begun(ctx, cl, w, it)
}

// fromFile is the word for the project file's own count.
const fromFile = "file"

func (c *commands) scale() *cobra.Command {
	var w waiting
	var overwrite bool
	cmd := c.verb("scale PROJECT ENVIRONMENT SERVICE=COUNT", "Bring a service to another count; SERVICE=file is the project file's own again", func(ctx context.Context, cmd *cobra.Command, args []string) error {
		service, replicas, ok := readCount(args[2])
		if !ok {
			return usage(cmd, "%q: want SERVICE=COUNT, or SERVICE=%s for the project file's own count", args[2], fromFile)
		}
		return c.start(ctx, w, http.MethodPut, where("/api/v1/projects/%s/environments/%s/services/%s/scale", args[0], args[1], service),
			api.Count{Replicas: replicas, Overwrite: overwrite})
	})
	overwriteFlag(cmd, &overwrite)
	w.flags(c, cmd)
	return cmd
}

func readCount(s string) (service string, replicas *uint64, ok bool) {
	service, count, found := strings.Cut(s, "=")
	if !found || service == "" {
		return "", nil, false
	}
	if count == fromFile {
		return service, nil, true
	}
	n, err := strconv.ParseUint(count, 10, 64)
	return service, &n, err == nil
}
