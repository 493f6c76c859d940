package api

import (
	"context"
	"net/http"
	"time"

	"github.com/rolling-swarm/rolling/manager/engine"
	"github.com/rolling-swarm/rolling/manager/project"
	"github.com/rolling-swarm/rolling/manager/release"
)

// ReleasePath names a release in an address.
type ReleasePath struct {
	ProjectPath
	Release release.ID `path:"release" maxLength:"63" doc:"The release's id." example:"r-12"`
}

// NewRelease is what a release is made of.
type NewRelease struct {
	ID     release.ID                     `json:"id,omitempty" maxLength:"63" doc:"Its name; absent: the next number, as r-N."`
	Commit string                         `json:"commit,omitempty" doc:"The hash of the commit that the images are made of."`
	Images map[project.ServiceName]string `json:"images" minProperties:"1" doc:"An image a service, by tag or digest; a tag is resolved once, now. The key \"\" stands for every service that is not named and has none in the project file. What is in the project file alone is taken too."`
}

// Reason says why somebody does what cannot be undone.
type Reason struct {
	Reason string `json:"reason" minLength:"1" maxLength:"1000" doc:"For those who ask later."`
}

// Target is where a release is promoted to.
type Target struct {
	Environment project.EnvironmentName `json:"environment,omitempty" doc:"Absent: the next stage that the release has not reached."`
	Overwrite   bool                    `json:"overwrite,omitempty" doc:"Also write over what was changed by hand."`
}

type (
	createReleaseInput struct {
		ProjectPath
		Repeatable
		Body NewRelease
	}
	listReleases struct {
		ProjectPath
		Paging
	}
	discardInput struct {
		ReleasePath
		Repeatable
		Body Reason
	}
	promoteInput struct {
		ReleasePath
		Repeatable
		Body *Target
	}
	releaseList    struct{ Body List[engine.Release] }
	releaseOutput  struct{ Body engine.Release }
	releaseCreated struct {
		Location string `header:"Location" doc:"Where the release is."`
		Body     engine.Release
	}
)

func (a *API) releaseRoutes() {
	const at, one = "/api/v1/projects/{project}/releases", "/api/v1/projects/{project}/releases/{release}"
	serve(a, a.operation(http.MethodGet, at, "listReleases", "releases", http.StatusOK, "List a project's releases, newest first"), a.listReleases)
	serve(a, a.operation(http.MethodPost, at, "createRelease", "releases", http.StatusCreated, "Make a release of images"), a.createRelease)
	serve(a, a.operation(http.MethodGet, one, "showRelease", "releases", http.StatusOK, "Show a release and where it has been"), a.showRelease)
	serve(a, a.operation(http.MethodPost, one+"/discard", "discardRelease", "releases", http.StatusOK, "Take a release out of use for good"), a.discardRelease)
	serve(a, a.operation(http.MethodPost, one+"/promotion", "promoteRelease", "releases", http.StatusAccepted, "Deploy a release to the next stage, by the very same images"), a.promoteRelease)
}

func (a *API) listReleases(ctx context.Context, in *listReleases) (*releaseList, error) {
	all, err := a.parts.Releases.Releases(ctx, in.Project)
	if err != nil {
		return nil, err
	}
	list, err := page(all, in.Paging, true, func(r engine.Release) string { return sortable(r.Created) + string(r.ID) })
	return &releaseList{list}, err
}

func (a *API) createRelease(ctx context.Context, in *createReleaseInput) (*releaseCreated, error) {
	r, err := a.parts.Releases.CreateRelease(ctx, engine.NewRelease{
		Project: in.Project, ID: in.Body.ID, Commit: in.Body.Commit, Images: in.Body.Images, By: caller(ctx),
	})
	return &releaseCreated{"/api/v1/projects/" + string(r.Project) + "/releases/" + string(r.ID), r}, err
}

func (a *API) showRelease(ctx context.Context, in *ReleasePath) (*releaseOutput, error) {
	r, err := a.parts.Releases.Release(ctx, in.Project, in.Release)
	return &releaseOutput{r}, err
}

func (a *API) discardRelease(ctx context.Context, in *discardInput) (*releaseOutput, error) {
	r, err := a.parts.Releases.Discard(ctx, engine.Discard{Project: in.Project, Release: in.Release, By: caller(ctx), Reason: in.Body.Reason})
	return &releaseOutput{r}, err
}

func (a *API) promoteRelease(ctx context.Context, in *promoteInput) (*rolloutBegun, error) {
	var to Target
	if in.Body != nil {
		to = *in.Body
	}
	return begun(a.parts.Deployments.Promote(ctx, engine.Deploy{
		Project: in.Project, Environment: to.Environment, Release: in.Release, By: caller(ctx), Overwrite: to.Overwrite,
	}))
}

// sortable writes a time so that texts sort as times do.
func sortable(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000000Z ") }
