package metrics

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/lab"
	"github.com/rolling-swarm/rolling/lab/bench/figure"
	"github.com/rolling-swarm/rolling/lab/parts"
)

// around is how much of the time before and after an outage is looked at.
const around = 5 * parts.GraphiteStep

// outage kills Graphite, gives it back, and looks for every point of the time.
func (b *bench) outage(ctx context.Context) (figure.Figure, error) {
	from := time.Now().Add(-around).Truncate(parts.GraphiteStep)
	if err := b.s.Lab.KillPart(ctx, "graphite"); err != nil {
		return figure.Figure{}, err
	}
	select {
	case <-ctx.Done():
		return figure.Figure{}, ctx.Err()
	case <-time.After(b.set.Outage):
	}
	if err := b.s.Lab.StartPart(ctx, "graphite"); err != nil {
		return figure.Figure{}, err
	}
	back := time.Now()
	until := back.Add(around).Truncate(parts.GraphiteStep)
	var lost, points, slots int
	// The first look may come before the backlog has been sent; what is still missing after a minute is lost.
	for {
		select {
		case <-ctx.Done():
			return figure.Figure{}, ctx.Err()
		case <-time.After(time.Second):
		}
		var err error
		if lost, points, slots, err = b.missing(ctx, from, until); err != nil && time.Since(back) > time.Minute {
			return figure.Figure{}, err
		}
		if err == nil && time.Since(until) > 0 && (lost == 0 && points > 0 || time.Since(back) > time.Minute) {
			break
		}
	}
	return figure.Alone("metrics.outage_lost_points", "points", float64(lost), 1,
		fmt.Sprintf("Graphite killed -9 and away for %s; %d points of %d slots of a node looked at, two metrics each", b.set.Outage, points, slots)), nil
}

// missing counts what graphite-web lacks of two figures of the idle containers.
func (b *bench) missing(ctx context.Context, from, until time.Time) (lost, points, slots int, err error) {
	at := parts.Site{Router: b.s.Lab.Address(lab.Router)}
	for _, metric := range []string{"cpu_seconds_total", "memory_working_set_bytes"} {
		q := url.Values{"format": {"json"}, "noCache": {"1"}, "from": {fmt.Sprint(from.Unix())}, "until": {fmt.Sprint(until.Unix())},
			"target": {strings.Join([]string{contract.GraphiteRoot, lab.MetricsCluster, contract.NoName, contract.NoName, "idle*", "*", metric}, ".")}}
		text, err := get(ctx, b.s.Lab.DialContext(lab.Router), parts.GraphiteWeb(at)+"/render?"+q.Encode())
		if err != nil {
			return 0, 0, 0, err
		}
		var lines []struct{ Datapoints [][2]*float64 }
		if err := json.Unmarshal([]byte(text), &lines); err != nil {
			return 0, 0, 0, fmt.Errorf("graphite-web: %w: %.100s", err, text)
		}
		slots = len(lines)
		for _, l := range lines {
			for _, p := range l.Datapoints {
				points++
				if p[0] == nil {
					lost++
				}
			}
		}
	}
	if slots < len(b.ids) {
		return 0, 0, 0, fmt.Errorf("graphite-web has %d of %d slots", slots, len(b.ids))
	}
	return lost, points, slots, nil
}
