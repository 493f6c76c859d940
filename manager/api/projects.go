package api

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strconv"

	"go.yaml.in/yaml/v4"

	"github.com/rolling-swarm/rolling/manager/engine"
	"github.com/rolling-swarm/rolling/manager/project"
)

// File is a project file with what goes with it.
type File struct {
	FileName string            `json:"fileName,omitempty" maxLength:"255" doc:"How the file is called in error texts." example:"rolling.yml"`
	File     string            `json:"file" doc:"The project file's text: Compose with x-rolling."`
	Files    map[string][]byte `json:"files,omitempty" doc:"The contents of the configs' and secrets' files, in base64, by their path as the project file writes it."`
}

// ProjectPath names a project in an address. The parts of an input are exported so that huma sees them.
type ProjectPath struct {
	Project project.Name `path:"project" maxLength:"63" doc:"The project's name." example:"orders"`
}

// Conditional is part of every write of something that has a version.
type Conditional struct {
	IfMatch     string `header:"If-Match" doc:"The ETag that the write replaces; another one by now is answered with 412."`
	IfNoneMatch string `header:"If-None-Match" doc:"Only \"*\": the write must make something new."`
}

type projectOutput struct {
	ETag string `header:"ETag" doc:"The project's version, for If-Match."`
	Body engine.Project
}

type applyInput struct {
	ProjectPath
	Conditional
	DryRun bool `query:"dryRun" doc:"Only say what is wrong with the file."`
	Body   File
}

type deleteInput struct {
	ProjectPath
	IfMatch     string                  `header:"If-Match" doc:"The ETag of what is deleted; another one by now is answered with 412."`
	Environment project.EnvironmentName `query:"environment" maxLength:"63" doc:"Only remove what this environment runs, and keep the project."`
	Services    bool                    `query:"services" doc:"Remove what runs first. Without it nothing is deleted that runs something."`
}

type listProjects struct{ Paging }

type projectList struct{ Body List[engine.Project] }

type nothing struct{}

func (a *API) projectRoutes() {
	const at, one = "/api/v1/projects", "/api/v1/projects/{project}"
	serve(a, a.operation(http.MethodGet, at, "listProjects", "projects", http.StatusOK, "List projects by name"), a.listProjects)
	serve(a, a.operation(http.MethodGet, one, "showProject", "projects", http.StatusOK, "Show a project, its file and what it runs"), a.showProject)
	serve(a, a.operation(http.MethodPut, one, "applyProject", "projects", http.StatusOK, "Keep a project file; nothing is deployed by it"), a.applyProject)
	serve(a, a.operation(http.MethodDelete, one, "deleteProject", "projects", http.StatusNoContent, "Forget a project, or empty one of its environments"), a.deleteProject)
}

func (a *API) listProjects(ctx context.Context, in *listProjects) (*projectList, error) {
	all, err := a.parts.Projects.Projects(ctx)
	if err != nil {
		return nil, err
	}
	list, err := page(all, in.Paging, false, func(p engine.Project) string { return string(p.Name) })
	return &projectList{list}, err
}

func (a *API) showProject(ctx context.Context, in *ProjectPath) (*projectOutput, error) {
	p, err := a.parts.Projects.Project(ctx, in.Project)
	return &projectOutput{etag(p.Version), p}, err
}

func (a *API) applyProject(ctx context.Context, in *applyInput) (*projectOutput, error) {
	version, err := ifVersion(in.IfMatch, in.IfNoneMatch)
	if err != nil {
		return nil, err
	}
	if name := NameIn([]byte(in.Body.File)); name != "" && name != in.Project {
		text := fmt.Sprintf("the file is of project %q, the address of project %q: nothing changed", name, in.Project)
		return nil, problem(http.StatusUnprocessableEntity, CodeProjectName, text, Detail{Path: "x-rolling.project", Text: text})
	}
	p, err := a.parts.Projects.ApplyProject(ctx, engine.Apply{
		FileName: in.Body.FileName, File: []byte(in.Body.File), Files: in.Body.Files,
		By: caller(ctx), IfVersion: version, DryRun: in.DryRun,
	})
	return &projectOutput{etag(p.Version), p}, err
}

func (a *API) deleteProject(ctx context.Context, in *deleteInput) (*nothing, error) {
	version, err := ifVersion(in.IfMatch, "")
	if err != nil {
		return nil, err
	}
	return nil, a.parts.Projects.DeleteProject(ctx, engine.Delete{
		Project: in.Project, Environment: in.Environment, By: caller(ctx), IfVersion: version, Services: in.Services,
	})
}

// NameIn reads the project's name out of a project file, or gives "" if there is none to be found: project.Parse says why.
func NameIn(file []byte) project.Name {
	var document struct {
		Rolling struct {
			Project string `yaml:"project"`
		} `yaml:"x-rolling"`
	}
	var root yaml.Node
	if yaml.Unmarshal(file, &root) != nil || len(root.Content) != 1 || root.Content[0].Kind != yaml.MappingNode {
		return ""
	}
	for i, key := range root.Content[0].Content {
		if i%2 == 0 && key.Value == "x-rolling" && root.Content[0].Content[i+1].Decode(&document.Rolling) != nil {
			return ""
		}
	}
	return project.Name(document.Rolling.Project)
}

func etag(version uint64) string { return `"` + strconv.FormatUint(version, 10) + `"` }

var etagPattern = regexp.MustCompile(`^"(0|[1-9][0-9]{0,19})"$`)

// ifVersion reads If-Match and If-None-Match. Nil means that the client does not care; 0 that there must be none yet.
func ifVersion(match, noneMatch string) (*uint64, error) {
	bad := func(text string) error { return problem(http.StatusBadRequest, CodeInvalidRequest, text) }
	switch {
	case match != "" && noneMatch != "":
		return nil, bad("If-Match and If-None-Match contradict each other: want one of them")
	case noneMatch == "*":
		return new(uint64), nil
	case noneMatch != "":
		return nil, bad(fmt.Sprintf(`If-None-Match: %.40q: want "*"`, noneMatch))
	case match == "":
		return nil, nil
	}
	m := etagPattern.FindStringSubmatch(match)
	if m == nil {
		return nil, bad(fmt.Sprintf("If-Match: %.40q: want one ETag as it was given, quotes included", match))
	}
	version, err := strconv.ParseUint(m[1], 10, 64)
	if err != nil || version == 0 {
		return nil, bad(fmt.Sprintf("If-Match: %.40q is no ETag of ours", match))
	}
	return &version, nil
}
