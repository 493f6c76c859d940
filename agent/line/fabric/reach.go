package fabric

import (
	"context"
	"net/url"

	"github.com/rolling-swarm/rolling/internal/wire"
)

// Reach asks the plugin whether one address may connect to another.
func (r *Reader) Reach(ctx context.Context, from, to string) (wire.Reach, error) {
	var got wire.Reach
	err := r.read(ctx, "/explain?"+url.Values{"from": {from}, "to": {to}}.Encode(), &got)
	return got, err
}
