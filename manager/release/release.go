// Package release decides which release may go where. It knows releases (one commit, images by digest, immutable), the
// record of where each one ran, stages, approvals and freeze windows.
// It knows no Swarm, no store, no registry and no clock: the record and now come in as values, a verdict goes out.
package release

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/rolling-swarm/rolling/manager/project"
)

// ID names a release within its project, as it stands in the label rolling.release.
type ID string

// Release is one commit and the images made of it. It never changes: fields are set by New and read by everyone.
type Release struct {
	ID      ID                            `json:"id"`
	Project project.Name                  `json:"project"`
	Commit  string                        `json:"commit"`
	Images  map[project.ServiceName]Image `json:"images"`
	Author  string                        `json:"author,omitempty"`
	Created time.Time                     `json:"created"`
}

// Image is a reference with a digest: name[:tag]@sha256:… . The tag is for people, the digest decides.
type Image string

var (
	idPattern     = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$`)
	commitPattern = regexp.MustCompile(`^[0-9a-f]{7,64}$`)
	imagePattern  = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._:/-]*@sha256:[0-9a-f]{64}$`)
)

// ParseImage accepts only an image that is pinned by its digest.
func ParseImage(s string) (Image, error) {
	if !imagePattern.MatchString(s) {
		return "", fmt.Errorf("image %q: want NAME@sha256:DIGEST: a tag may mean another image tomorrow", s)
	}
	return Image(s), nil
}

// Digest is what the image is, whatever it is called and wherever it was pulled from.
func (i Image) Digest() string {
	_, digest, _ := strings.Cut(string(i), "@")
	return digest
}

// New checks a release and says all that is wrong with it at once. Created comes from the caller.
func New(r Release) (Release, error) {
	var problems []error
	if !idPattern.MatchString(string(r.ID)) {
		problems = append(problems, fmt.Errorf("id %q: want up to 63 letters, digits, dots, hyphens and underscores", r.ID))
	}
	if r.Project == "" {
		problems = append(problems, errors.New("project: want the project's name"))
	}
	if r.Commit != "" && !commitPattern.MatchString(r.Commit) {
		problems = append(problems, fmt.Errorf("commit %q: want the hash of a commit", r.Commit))
	}
	if len(r.Images) == 0 {
		problems = append(problems, errors.New("images: want one image at least"))
	}
	for _, service := range slices.Sorted(maps.Keys(r.Images)) {
		if _, err := ParseImage(string(r.Images[service])); err != nil {
			problems = append(problems, fmt.Errorf("service %s: %w", service, err))
		}
	}
	if r.Created.IsZero() {
		problems = append(problems, errors.New("created: want the time"))
	}
	if len(problems) > 0 {
		return Release{}, fmt.Errorf("release %s of %s: %w", r.ID, r.Project, errors.Join(problems...))
	}
	r.Images = maps.Clone(r.Images)
	return r, nil
}

// Fingerprint is the same for two releases exactly if they run the same digests for the same services.
func (r Release) Fingerprint() string {
	h := sha256.New()
	for _, service := range slices.Sorted(maps.Keys(r.Images)) {
		fmt.Fprintf(h, "%s %s\n", service, r.Images[service].Digest())
	}
	return hex.EncodeToString(h.Sum(nil))
}
