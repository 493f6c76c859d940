package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/rolling-swarm/rolling/manager/api"
	"github.com/rolling-swarm/rolling/manager/project"
)

var projectView = view[api.Project]{
	id: func(p api.Project) string { return string(p.Name) },
	columns: []column[api.Project]{
		{"PROJECT", false, func(p api.Project) string { return string(p.Name) }},
		{"ENVIRONMENTS", false, environments},
		{"UPDATED", false, func(p api.Project) string { return stamp(p.Updated) }},
		{"BY", false, func(p api.Project) string { return p.By }},
		{"VERSION", true, func(p api.Project) string { return strconv.FormatUint(p.Version, 10) }},
		{"FILE", true, func(p api.Project) string { return p.FileName }},
		{"REPOSITORY", true, func(p api.Project) string { return p.Repository }},
	},
	text: projectText,
}

// environments are a project's environments with the release that each runs.
func environments(p api.Project) string {
	var words []string
	for _, e := range p.Environments {
		running := string(e.Release)
		if running == "" {
			running = "-"
		}
		words = append(words, string(e.Name)+"="+running)
	}
	return strings.Join(words, " ")
}

func projectText(p api.Project) string {
	var b strings.Builder
	pair := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%-12s %s\n", name, value)
		}
	}
	pair("project", string(p.Name))
	pair("version", strconv.FormatUint(p.Version, 10))
	pair("updated", stamp(p.Updated)+by(p.By))
	pair("file", p.FileName)
	pair("repository", p.Repository)
	for _, problem := range p.Problems {
		pair("problem", problem.String())
	}
	for _, e := range p.Environments {
		b.WriteString("\n")
		pair("environment", string(e.Name))
		pair("stage", e.Stage)
		pair("release", string(e.Release))
		pair("rollout", string(e.Rollout))
		if e.FrozenUntil != nil {
			pair("frozen until", stamp(*e.FrozenUntil))
		}
		if e.Approvals > 0 {
			pair("approvals", strconv.Itoa(e.Approvals))
		}
		if e.Adopted {
			pair("note", "it runs something that the record knows nothing of")
		}
		for _, s := range e.Services {
			pair("service", fmt.Sprintf("%s %d/%d %s", s.Name, s.Running, s.Wanted, s.Image))
		}
	}
	return b.String()
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func (c *commands) projects() *cobra.Command {
	return c.noun("project", "Project files", c.projectApply(), c.projectList(), c.projectShow(), c.projectDelete())
}

func (c *commands) projectApply() *cobra.Command {
	var o output
	var file string
	var dryRun bool
	var version uint64
	cmd := c.verb("apply", "Keep a project file; nothing is deployed by it", func(ctx context.Context, cmd *cobra.Command, _ []string) error {
		var replaces *uint64
		if cmd.Flags().Changed("if-version") {
			replaces = &version
		}
		return c.apply(ctx, o, file, dryRun, replaces)
	})
	cmd.Flags().StringVarP(&file, "file", "f", "rolling.yml", "the project file; - is stdin")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only say what is wrong with the file")
	cmd.Flags().Uint64Var(&version, "if-version", 0, "only if this is the version that it replaces; 0: only if it is new")
	o.flags(cmd)
	return cmd
}

func (c *commands) apply(ctx context.Context, o output, path string, dryRun bool, replaces *uint64) error {
	file, err := c.gather(path)
	if err != nil {
		return err
	}
	name := api.NameIn([]byte(file.File))
	if name == "" {
		return nameless(file)
	}
	cl, err := c.client()
	if err != nil {
		return err
	}
	query, header := url.Values{}, http.Header{}
	if dryRun {
		query.Set("dryRun", "true")
	}
	if replaces != nil && *replaces == 0 {
		header.Set("If-None-Match", "*")
	} else if replaces != nil {
		header.Set("If-Match", fmt.Sprintf(`"%d"`, *replaces))
	}
	raw, _, err := cl.do(ctx, http.MethodPut, where("/api/v1/projects/%s", string(name)), query, header, file)
	if err != nil {
		return err
	}
	it, err := decode[api.Project](raw)
	if err != nil {
		return err
	}
	what := "kept as version " + strconv.FormatUint(it.is.Version, 10)
	switch {
	case dryRun:
		what = "nothing is wrong with " + file.FileName + ", nothing changed"
	case !it.is.Changed:
		what = "is so already, version " + strconv.FormatUint(it.is.Version, 10)
	}
	v := projectView
	v.text = func(p api.Project) string { return string(p.Name) + ": " + what }
	return showOne(c, o, v, it)
}

// nameless says what is wrong with a file that has no name to send it to, by the core that the manager uses.
func nameless(file api.File) error {
	_, err := project.Parse(project.Input{File: file.FileName, Bytes: []byte(file.File), Files: file.Files, Zone: time.LoadLocation})
	if err == nil {
		err = fmt.Errorf("%s: x-rolling.project: want the project's name", file.FileName)
	}
	return err
}

// gather reads a project file and what it names. A file that is missing is left out: the manager says so with everything
// else that is wrong.
func (c *commands) gather(path string) (api.File, error) {
	var text []byte
	var err error
	name, folder := filepath.Base(path), filepath.Dir(path)
	if path == "-" {
		name, folder = "stdin", "."
		text, err = io.ReadAll(c.In)
	} else {
		text, err = c.ReadFile(path)
	}
	if err != nil {
		return api.File{}, fmt.Errorf("read the project file: %w", err)
	}
	if !utf8.Valid(text) {
		return api.File{}, fmt.Errorf("%s: want text in UTF-8", path)
	}
	file := api.File{FileName: name, File: string(text)}
	for _, named := range project.FilesNamed(text) {
		content, err := c.ReadFile(filepath.Join(folder, filepath.FromSlash(named)))
		if err != nil {
			c.say("rolling: %v", err)
			continue
		}
		if file.Files == nil {
			file.Files = map[string][]byte{}
		}
		file.Files[named] = content
	}
	return file, nil
}

func (c *commands) projectList() *cobra.Command {
	var o output
	cmd := c.verb("list", "List projects", func(ctx context.Context, _ *cobra.Command, _ []string) error {
		return listing(ctx, c, o, projectView, "/api/v1/projects", nil, 0)
	})
	o.flags(cmd)
	return cmd
}

// listing is what every list command does.
func listing[T any](ctx context.Context, c *commands, o output, v view[T], path string, query url.Values, limit int) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	all, err := list[T](ctx, cl, path, query, limit, func(w string) { c.say("rolling: missing here: %s", w) })
	if err != nil {
		return err
	}
	return showAll(c, o, v, all)
}

// showing is what every show command does.
func showing[T any](ctx context.Context, c *commands, o output, v view[T], path string) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	it, err := fetch[T](ctx, cl, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	return showOne(c, o, v, it)
}

func (c *commands) projectShow() *cobra.Command {
	var o output
	var file bool
	cmd := c.verb("show PROJECT", "Show a project and what its environments run", func(ctx context.Context, _ *cobra.Command, args []string) error {
		v := projectView
		if file {
			v.text, v.exact = func(p api.Project) string { return p.File }, true
		}
		return showing(ctx, c, o, v, where("/api/v1/projects/%s", args[0]))
	})
	cmd.Flags().BoolVar(&file, "content", false, "print the project file itself")
	o.flags(cmd)
	return cmd
}

func (c *commands) projectDelete() *cobra.Command {
	var yes, services bool
	var environment string
	cmd := c.verb("delete PROJECT", "Forget a project, or empty one of its environments", func(ctx context.Context, cmd *cobra.Command, args []string) error {
		question := "forget project " + args[0]
		query := url.Values{}
		if services {
			question += " and remove everything that it runs"
			query.Set("services", "true")
		}
		if environment != "" {
			question = "remove everything that " + args[0] + " runs in " + environment
			query.Set("environment", environment)
		}
		if err := c.confirm(cmd, yes, question); err != nil {
			return err
		}
		cl, err := c.client()
		if err != nil {
			return err
		}
		_, _, err = cl.do(ctx, http.MethodDelete, where("/api/v1/projects/%s", args[0]), query, nil, nil)
		return err
	})
	cmd.Flags().StringVar(&environment, "environment", "", "only remove what this environment runs, and keep the project")
	cmd.Flags().BoolVar(&services, "services", false, "remove what runs first; without it nothing is deleted that runs something")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

// confirm asks before what cannot be undone.
func (c *commands) confirm(cmd *cobra.Command, yes bool, question string) error {
	if yes {
		return nil
	}
	if !c.Terminal {
		return usage(cmd, "%s: this cannot be undone: say --yes", question)
	}
	_, _ = fmt.Fprintf(c.Err, "%s? This cannot be undone. [y/N] ", question)
	var answer string
	if _, err := fmt.Fscanln(c.In, &answer); err != nil && answer != "" {
		return err
	}
	if strings.EqualFold(answer, "y") || strings.EqualFold(answer, "yes") {
		return nil
	}
	return errors.New("nothing changed")
}
