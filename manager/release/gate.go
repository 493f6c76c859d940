package release

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rolling-swarm/rolling/manager/project"
)

// Code is the kind of a refusal; doors make an exit code or an HTTP status of it.
type Code string

// The kinds of refusal.
const (
	UnknownEnvironment Code = "unknown_environment"
	OtherProject       Code = "other_project"
	Discarded          Code = "discarded"
	StageSkipped       Code = "stage_skipped"
	ImagesChanged      Code = "images_changed"
	Rejected           Code = "rejected"
	ApprovalMissing    Code = "approval_missing"
	Frozen             Code = "frozen"
	RolloutRunning     Code = "rollout_running"
)

// Refusal is one reason why a release may not go to an environment.
type Refusal struct {
	Code Code   `json:"code"`
	Text string `json:"text"`
}

// Verdict says whether a release may be deployed, with every reason against it.
type Verdict struct {
	Refusals []Refusal `json:"refusals,omitempty"`
}

// Allowed says that nothing speaks against it.
func (v Verdict) Allowed() bool { return len(v.Refusals) == 0 }

// Has says whether a reason of that kind is among the refusals.
func (v Verdict) Has(code Code) bool {
	return slices.ContainsFunc(v.Refusals, func(r Refusal) bool { return r.Code == code })
}

func (v Verdict) String() string {
	var texts []string
	for _, r := range v.Refusals {
		texts = append(texts, r.Text)
	}
	return strings.Join(texts, "; ")
}

// Question asks whether a release may be deployed to an environment now.
type Question struct {
	Project *project.Project
	Release Release
	To      project.EnvironmentName
	Record  Record
	Now     time.Time

	// Back: it is the way back from a release that went wrong. A release that has run in that environment before needs
	// no second approval for this, and a freeze does not hold a repair up.
	Back bool
}

// Decide answers with every refusal at once. A release reaches an environment only after the same digests have
// succeeded in one environment of the nearest earlier stage that the project has; the first stage is open.
func Decide(q Question) Verdict {
	var v Verdict
	refuse := func(code Code, format string, args ...any) {
		v.Refusals = append(v.Refusals, Refusal{code, fmt.Sprintf(format, args...)})
	}
	r := q.Release
	env, ok := q.Project.Environment(q.To)
	if !ok {
		refuse(UnknownEnvironment, "project %s has no environment %s (%s)", q.Project.Name, q.To, strings.Join(q.Project.EnvironmentNames(), ", "))
		return v
	}
	if r.Project != q.Project.Name {
		refuse(OtherProject, "release %s belongs to project %s, not to %s", r.ID, r.Project, q.Project.Name)
		return v
	}
	if d := q.Record.discard(r.ID); d != nil {
		refuse(Discarded, "release %s was discarded by %s on %s: %s", r.ID, d.By, d.At.UTC().Format(time.DateOnly), d.Reason)
	}
	for _, d := range q.Record.Deployments {
		if d.Environment == q.To && d.Outcome == Running {
			refuse(RolloutRunning, "release %s is being rolled out to %s since %s: wait for it, or cancel it", d.Release, q.To, d.Started.UTC().Format(time.RFC3339))
		}
	}
	returning := q.Back && ran(q.Record, r, q.To)
	if !returning {
		stageGate(q, env, refuse)
		approvalGate(q, env, refuse)
		if until, frozen := FrozenUntil(env.Freezes, q.Now); frozen {
			refuse(Frozen, "%s is frozen until %s", q.To, until.Format("15:04 MST on 2006-01-02"))
		}
	}
	return v
}

// ran says whether these very images have ever succeeded there: enough to go back to, even if a later attempt failed.
func ran(record Record, r Release, e project.EnvironmentName) bool {
	return slices.ContainsFunc(record.Deployments, func(d Deployment) bool {
		return d.Environment == e && d.Release == r.ID && d.Outcome == Succeeded && d.Fingerprint == r.Fingerprint()
	})
}

func stageGate(q Question, env project.Environment, refuse func(Code, string, ...any)) {
	before := previous(q.Project, env.Stage)
	if len(before) == 0 {
		return
	}
	var names []string
	changed := false
	for _, e := range before {
		if q.Record.proved(q.Release.ID, q.Release.Fingerprint(), e.Name) {
			return
		}
		names = append(names, string(e.Name))
		changed = changed || slices.ContainsFunc(q.Record.Deployments, func(d Deployment) bool {
			return d.Environment == e.Name && d.Release == q.Release.ID && d.Fingerprint != q.Release.Fingerprint()
		})
	}
	if changed {
		refuse(ImagesChanged, "release %s ran in %s with other images than it has now: a release never changes; make a new one", q.Release.ID, strings.Join(names, ", "))
		return
	}
	refuse(StageSkipped, "release %s has not succeeded in %s (stage %s), and %s (stage %s) comes after it: deploy it there first",
		q.Release.ID, strings.Join(names, " or "), before[0].Stage, env.Name, env.Stage)
}

// previous gives the environments of the nearest earlier stage that the project has.
func previous(p *project.Project, stage project.Stage) []project.Environment {
	for s := stage - 1; s >= project.Isolated; s-- {
		var found []project.Environment
		for _, e := range p.Environments {
			if e.Stage == s {
				found = append(found, e)
			}
		}
		if len(found) > 0 {
			return found
		}
	}
	return nil
}

// approvalGate counts people who agree, each once, the author never. The last word of a person counts; one who rejects
// stops the release.
func approvalGate(q Question, env project.Environment, refuse func(Code, string, ...any)) {
	last := map[string]Approval{}
	var people []string
	for _, a := range q.Record.Approvals {
		if a.Release != q.Release.ID || a.Environment != env.Name || a.By == "" {
			continue
		}
		if _, seen := last[a.By]; !seen {
			people = append(people, a.By)
		}
		last[a.By] = a
	}
	agree := 0
	for _, by := range people {
		switch a := last[by]; {
		case !a.Agrees:
			refuse(Rejected, "%s rejected release %s for %s: %s", by, q.Release.ID, env.Name, a.Reason)
		case by != q.Release.Author:
			agree++
		}
	}
	if agree < env.Approvals {
		refuse(ApprovalMissing, "%s wants %d approvals of people other than the author, release %s has %d", env.Name, env.Approvals, q.Release.ID, agree)
	}
}
