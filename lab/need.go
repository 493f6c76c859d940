package lab

import "context"

// Need brings Debian packages that a proof or a person uses in the router's namespace, such as iputils-ping. None of
// their services is started.
func (l *Lab) Need(ctx context.Context, packages ...string) error {
	return l.machine().Install(ctx, packages...)
}
