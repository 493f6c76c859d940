package release

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rolling-swarm/rolling/manager/project"
)

// Outcome is how bringing an environment to a release ended.
type Outcome string

// A deployment is running until it ends as one of the others.
const (
	Running    Outcome = "running"
	Succeeded  Outcome = "succeeded"
	RolledBack Outcome = "rolled_back"
	Paused     Outcome = "paused"
	TimedOut   Outcome = "timed_out"
	Cancelled  Outcome = "cancelled"
	Failed     Outcome = "failed"
)

// Deployment is one attempt to bring an environment to a release.
type Deployment struct {
	Environment project.EnvironmentName `json:"environment"`
	Release     ID                      `json:"release"`
	Fingerprint string                  `json:"fingerprint"` // of the release as it was deployed
	Outcome     Outcome                 `json:"outcome"`
	Started     time.Time               `json:"started"`
}

// Approval is one person's word on one release for one environment. Whose word counts is decided elsewhere.
type Approval struct {
	Release     ID                      `json:"release"`
	Environment project.EnvironmentName `json:"environment"`
	By          string                  `json:"by"`
	Agrees      bool                    `json:"agrees"` // false: rejected
	Reason      string                  `json:"reason,omitempty"`
	At          time.Time               `json:"at"`
}

// Discard takes a release out of use for good.
type Discard struct {
	Release ID        `json:"release"`
	By      string    `json:"by"`
	Reason  string    `json:"reason"`
	At      time.Time `json:"at"`
}

// Record is what has happened to the releases of one project, each list oldest first.
type Record struct {
	Deployments []Deployment
	Approvals   []Approval
	Discards    []Discard
}

// Current is the release that an environment runs by the record: that of its last success, or "".
func (r Record) Current(e project.EnvironmentName) ID {
	for _, d := range slices.Backward(r.Deployments) {
		if d.Environment == e && d.Outcome == Succeeded {
			return d.Release
		}
	}
	return ""
}

// Before is the release to go back to in an environment: the last that succeeded there and is not the current one,
// nor discarded. It is "" when there is none.
func (r Record) Before(e project.EnvironmentName) ID {
	current := r.Current(e)
	for _, d := range slices.Backward(r.Deployments) {
		if d.Environment == e && d.Outcome == Succeeded && d.Release != current && r.discard(d.Release) == nil {
			return d.Release
		}
	}
	return ""
}

// Reached are the environments in which the release last succeeded, in the record's order.
func (r Record) Reached(id ID) []project.EnvironmentName {
	var reached []project.EnvironmentName
	for _, d := range r.Deployments {
		if d.Release == id && r.proved(id, d.Fingerprint, d.Environment) && !slices.Contains(reached, d.Environment) {
			reached = append(reached, d.Environment)
		}
	}
	return reached
}

// proved says whether the last attempt with these very images in that environment succeeded.
func (r Record) proved(id ID, fingerprint string, e project.EnvironmentName) bool {
	for _, d := range slices.Backward(r.Deployments) {
		if d.Environment == e && d.Release == id {
			return d.Outcome == Succeeded && d.Fingerprint == fingerprint
		}
	}
	return false
}

func (r Record) discard(id ID) *Discard {
	for i := range r.Discards {
		if r.Discards[i].Release == id {
			return &r.Discards[i]
		}
	}
	return nil
}

// CheckDiscard refuses to discard what is running or on its way, since going back to it may be needed.
func (r Record) CheckDiscard(p *project.Project, id ID) error {
	if r.discard(id) != nil {
		return fmt.Errorf("discard release %s: it is discarded already", id)
	}
	var used []string
	for _, e := range p.Environments {
		onTheWay := slices.ContainsFunc(r.Deployments, func(d Deployment) bool {
			return d.Environment == e.Name && d.Release == id && d.Outcome == Running
		})
		if onTheWay || r.Current(e.Name) == id {
			used = append(used, string(e.Name))
		}
	}
	if len(used) > 0 {
		return fmt.Errorf("discard release %s: it is in use in %s: deploy another release there first", id, strings.Join(used, ", "))
	}
	return nil
}
