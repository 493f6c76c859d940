package cli

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rolling-swarm/rolling/manager/api"
	"github.com/rolling-swarm/rolling/manager/project"
	"github.com/rolling-swarm/rolling/manager/release"
)

var releaseView = view[api.Release]{
	id: func(r api.Release) string { return string(r.ID) },
	columns: []column[api.Release]{
		{"RELEASE", false, func(r api.Release) string { return string(r.ID) }},
		{"COMMIT", false, func(r api.Release) string { return r.Commit[:min(len(r.Commit), 12)] }},
		{"REACHED", false, reached},
		{"CREATED", false, func(r api.Release) string { return stamp(r.Created) }},
		{"AUTHOR", false, func(r api.Release) string { return r.Author }},
		{"IMAGES", true, func(r api.Release) string { return strings.Join(images(r), " ") }},
	},
	text: releaseText,
}

func reached(r api.Release) string {
	if r.Discarded != nil {
		return "discarded"
	}
	var words []string
	for _, e := range r.Reached {
		words = append(words, string(e))
	}
	return strings.Join(words, " ")
}

func images(r api.Release) []string {
	var words []string
	for _, service := range slices.Sorted(maps.Keys(r.Images)) {
		words = append(words, fmt.Sprintf("%s=%s", service, r.Images[service]))
	}
	return words
}

func releaseText(r api.Release) string {
	var b strings.Builder
	pair := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%-9s %s\n", name, value)
		}
	}
	pair("release", string(r.ID))
	pair("project", string(r.Project))
	pair("commit", r.Commit)
	pair("created", stamp(r.Created)+by(r.Author))
	pair("reached", reached(r))
	for _, image := range images(r) {
		pair("image", image)
	}
	for _, a := range r.Approvals {
		word := "approved"
		if !a.Agrees {
			word = "rejected"
		}
		pair(word, strings.TrimSuffix(fmt.Sprintf("for %s by %s at %s: %s", a.Environment, a.By, stamp(a.At), a.Reason), ": "))
	}
	if d := r.Discarded; d != nil {
		pair("discarded", fmt.Sprintf("by %s at %s: %s", d.By, stamp(d.At), d.Reason))
	}
	return b.String()
}

func (c *commands) releases() *cobra.Command {
	return c.noun("release", "Releases: one commit and its images", c.releaseCreate(), c.releaseList(), c.releaseShow(), c.releasePromote(), c.releaseDiscard())
}

func (c *commands) releaseCreate() *cobra.Command {
	var o output
	var pairs []string
	var commit, id string
	cmd := c.verb("create PROJECT", "Make a release of images that are in a registry", func(ctx context.Context, cmd *cobra.Command, args []string) error {
		asked, problem := readImages(pairs)
		if problem != "" {
			return usage(cmd, "%s", problem)
		}
		cl, err := c.client()
		if err != nil {
			return err
		}
		it, err := fetch[api.Release](ctx, cl, http.MethodPost, where("/api/v1/projects/%s/releases", args[0]),
			api.NewRelease{ID: release.ID(id), Commit: commit, Images: asked})
		if err != nil {
			return err
		}
		return showOne(c, o, releaseView, it)
	})
	cmd.Flags().StringArrayVar(&pairs, "image", nil, "SERVICE=REF, by tag or digest, over the one in the project file; REF alone is for every service that has none there; may be repeated")
	cmd.Flags().StringVar(&commit, "commit", "", "the hash of the commit that the images are made of")
	cmd.Flags().StringVar(&id, "id", "", "the release's name (default: the next number, as r-N)")
	o.flags(cmd)
	return cmd
}

// readImages reads SERVICE=REF and REF. An image's reference holds no "=".
func readImages(pairs []string) (map[project.ServiceName]string, string) {
	if len(pairs) == 0 {
		return nil, "--image is missing: want SERVICE=REF, or REF for every service"
	}
	asked := map[project.ServiceName]string{}
	for _, pair := range pairs {
		service, image, named := strings.Cut(pair, "=")
		if !named {
			service, image = "", pair
		}
		if image == "" || named && service == "" || strings.ContainsAny(pair, " \t\n") || strings.Contains(image, "=") {
			return nil, fmt.Sprintf("--image %q: want SERVICE=REF, or REF for every service", pair)
		}
		if _, twice := asked[project.ServiceName(service)]; twice {
			return nil, fmt.Sprintf("--image %q: that service has an image already", pair)
		}
		asked[project.ServiceName(service)] = image
	}
	return asked, ""
}

func (c *commands) releaseList() *cobra.Command {
	var o output
	var limit int
	cmd := c.verb("list PROJECT", "List a project's releases, newest first", func(ctx context.Context, cmd *cobra.Command, args []string) error {
		if limit < 0 {
			return usage(cmd, "--limit: want 0 or more")
		}
		return listing(ctx, c, o, releaseView, where("/api/v1/projects/%s/releases", args[0]), nil, limit)
	})
	cmd.Flags().IntVar(&limit, "limit", 0, "at most so many (0: all)")
	o.flags(cmd)
	return cmd
}

func (c *commands) releaseShow() *cobra.Command {
	var o output
	cmd := c.verb("show PROJECT RELEASE", "Show a release and where it has been", func(ctx context.Context, _ *cobra.Command, args []string) error {
		return showing(ctx, c, o, releaseView, where("/api/v1/projects/%s/releases/%s", args[0], args[1]))
	})
	o.flags(cmd)
	return cmd
}

func (c *commands) releasePromote() *cobra.Command {
	var w waiting
	var to string
	var overwrite bool
	cmd := c.verb("promote PROJECT RELEASE", "Deploy a release to the next stage, by the very same images", func(ctx context.Context, _ *cobra.Command, args []string) error {
		cl, err := c.client()
		if err != nil {
			return err
		}
		it, err := fetch[api.Rollout](ctx, cl, http.MethodPost, where("/api/v1/projects/%s/releases/%s/promotion", args[0], args[1]),
			api.Target{Environment: project.EnvironmentName(to), Overwrite: overwrite})
		if err != nil {
			return err
		}
		return c.begun(ctx, cl, w, it)
	})
	cmd.Flags().StringVar(&to, "to", "", "the environment (default: the next stage that the release has not reached)")
	overwriteFlag(cmd, &overwrite)
	w.flags(c, cmd)
	return cmd
}

func (c *commands) releaseDiscard() *cobra.Command {
	var o output
	var reason string
	var yes bool
	cmd := c.verb("discard PROJECT RELEASE", "Take a release out of use for good", func(ctx context.Context, cmd *cobra.Command, args []string) error {
		if reason == "" {
			return usage(cmd, "--reason is missing: say why, for those who ask later")
		}
		if err := c.confirm(cmd, yes, "discard release "+args[1]+" of "+args[0]); err != nil {
			return err
		}
		cl, err := c.client()
		if err != nil {
			return err
		}
		it, err := fetch[api.Release](ctx, cl, http.MethodPost, where("/api/v1/projects/%s/releases/%s/discard", args[0], args[1]), api.Reason{Reason: reason})
		if err != nil {
			return err
		}
		return showOne(c, o, releaseView, it)
	})
	cmd.Flags().StringVar(&reason, "reason", "", "why")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	o.flags(cmd)
	return cmd
}
