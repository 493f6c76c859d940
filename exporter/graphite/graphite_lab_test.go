//go:build lab

package graphite

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/exporter/sample"
	"github.com/rolling-swarm/rolling/lab/parts"
	"github.com/rolling-swarm/rolling/lab/parts/alone"
)

// TestARealGraphiteThatGoesAndComesBackHasEveryPoint: the points' times are chosen, so an outage of minutes takes seconds.
func TestARealGraphiteThatGoesAndComesBackHasEveryPoint(t *testing.T) {
	carbon := alone.New(t, "graphite")
	carbon.Start()
	s, _ := run(t, parts.GraphiteAddress(carbon.Site), 100_000)
	step := int64(parts.GraphiteStep / time.Second)
	begin := (time.Now().Unix()/step - 400) * step
	const slots, rounds = 20, 400
	told := func(from, upto int) {
		for r := from; r < upto; r++ {
			var all []sample.Point
			for i := range slots {
				all = append(all, sample.Point{Path: fmt.Sprintf("rolling.dc.orders.production.web.%d.cpu_seconds_total", i), Value: float64(r), At: begin + int64(r)*step})
			}
			s.Push(all)
		}
	}
	all := func(upto int) error { return lacking(carbon.Site, begin, step, slots, upto) }
	told(0, 100)
	eventually(t, "the first points", func() error { return all(100) })
	carbon.Stop()
	told(100, 200) // 200 s away
	carbon.Start()
	eventually(t, "the points of an outage", func() error { return all(200) })
	told(200, 300)
	carbon.Kill() // what carbon had taken and not written is lost with it, but for what is sent again
	told(300, rounds)
	carbon.Start()
	eventually(t, "the points around a crash", func() error { return all(rounds) })
	d := s.State()
	if d.Dropped != 0 || d.Resent == 0 {
		t.Errorf("%+v", d)
	}
	t.Logf("%d points in Graphite, 0 lost; written %d, of them %d again over %d connections", slots*rounds, d.Sent, d.Resent, d.Dials)
}

// lacking asks graphite-web for each slot's points.
func lacking(site parts.Site, begin, step int64, slots, rounds int) error {
	url := fmt.Sprintf("%s/render?format=json&noCache=1&from=%d&until=%d&target=rolling.dc.orders.production.web.*.cpu_seconds_total", parts.GraphiteWeb(site), begin-1, begin+int64(rounds-1)*step)
	resp, err := http.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	var lines []struct {
		Target     string
		Datapoints [][2]*float64
	}
	if err := json.Unmarshal(text, &lines); err != nil {
		return fmt.Errorf("%w: %.100s", err, text)
	}
	if len(lines) != slots {
		return fmt.Errorf("%d of %d slots", len(lines), slots)
	}
	for _, l := range lines {
		has := map[int64]float64{}
		for _, p := range l.Datapoints {
			if p[0] != nil && p[1] != nil {
				has[int64(*p[1])] = *p[0]
			}
		}
		for r := range rounds {
			if v, ok := has[begin+int64(r)*step]; !ok || v != float64(r) {
				return fmt.Errorf("%s lacks the point %d (%v %t), has %d of %d", l.Target, r, v, ok, len(has), rounds)
			}
		}
	}
	return nil
}
