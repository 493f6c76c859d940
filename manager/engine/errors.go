package engine

import (
	"errors"

	"github.com/rolling-swarm/rolling/manager/project"
	"github.com/rolling-swarm/rolling/manager/release"
)

// Code is the kind of an error; doors make an exit code or an HTTP status of it.
type Code string

// The kinds of error. Any other error of the engine means that the store or Swarm did not answer.
const (
	Invalid      Code = "invalid"       // what was asked makes no sense; Problems, if there are any, say where
	NotFound     Code = "not_found"     // there is no such thing
	Exists       Code = "exists"        // there is one already
	Stale        Code = "stale"         // it was changed meanwhile: IfVersion did not hold
	InUse        Code = "in_use"        // something runs that needs it
	Refused      Code = "refused"       // the release may not go there; Refusals say why
	Busy         Code = "busy"          // another rollout holds the environment: Holder
	Blocked      Code = "blocked"       // only a person can move what stands in the way; Plan shows it
	Drifted      Code = "drifted"       // somebody changed it by hand, and overwriting was not asked for; Plan shows it
	NoRoom       Code = "no_room"       // too few free addresses; Plan shows it
	ImageUnknown Code = "image_unknown" // no registry has the image
)

// Error is a refusal with its kind and all that a door may want to show.
type Error struct {
	Code     Code
	Problems []project.Problem
	Refusals []release.Refusal
	Holder   *Rollout
	Plan     *Plan
	err      error
}

func (e *Error) Error() string { return e.err.Error() }

// Unwrap gives what lies beneath.
func (e *Error) Unwrap() error { return e.err }

// CodeOf is the kind of an error, or "" when it is none of the engine's refusals.
func CodeOf(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}
