package bundle

import "errors"

// ErrInUse is the engine's refusal to take away what a container uses. It is no failure: the step is for later.
var ErrInUse = errors.New("a container uses it")

// launched are the steps for a plugin whose program a launcher runs: rolling/log, whose pipes to the containers lie in its
// root file system. The engine's ways to another build or setting (upgrade; remove and create) delete that, and every
// line that a container writes from then on. So the program and its settings are laid beside the plugin, where the
// launcher changes the one for the other; what only a new creation changes, the frame, waits until no container of the
// node uses the plugin.
func launched(w Want, have Installed) []Step {
	switch {
	case !have.Present:
		return w.raised("not installed")
	case have.Frame != w.Frame:
		cause := "frame " + Short(have.Frame) + " is installed, " + Short(w.Frame) + " is wanted"
		return append([]Step{{Verb: Rehearse, Cause: cause}, {Verb: Retire, Cause: cause}}, w.raised(cause)...)
	case !have.Enabled:
		return []Step{w.laid("disabled"), {Verb: Enable, Cause: "disabled"}, {Verb: Await, Cause: "disabled"}}
	case have.Build != w.Build:
		cause := "build " + Short(have.Build) + " runs, " + Short(w.Build) + " is wanted"
		return []Step{w.laid(cause), {Verb: Await, Cause: cause}}
	case len(differences(have.Values, w.Values)) > 0:
		return []Step{w.laid("settings differ"), {Verb: Await, Cause: "settings differ"}}
	}
	return nil
}

// raised are the steps from nothing.
func (w Want) raised(cause string) []Step {
	return []Step{w.laid(cause), {Verb: Create, Cause: cause}, {Verb: Enable, Cause: cause}, {Verb: Await, Cause: cause}}
}

// laid names every setting, since a worker has those that it was laid with and no others.
func (w Want) laid(cause string) Step {
	return Step{Verb: Lay, Settings: differences(nil, w.Values), Cause: cause}
}
