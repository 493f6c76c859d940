package driver

import (
	"context"
	"slices"
	"time"

	"github.com/rolling-swarm/rolling/internal/allotment"
	"github.com/rolling-swarm/rolling/ipam-driver/pool"
)

// reading is what came of asking the Swarm for named pools and reservations.
type reading struct {
	at       *time.Time
	problems []string // of Configs that are refused; the last good one rules meanwhile
	fault    string
}

// settledPicture is how they stand, for people.
type settledPicture struct {
	Number   uint64         `json:"number"` // of the Config that rules; 0: none
	Plan     allotment.Plan `json:"plan"`
	Read     *time.Time     `json:"read,omitempty"` // when the Swarm was last asked
	Fault    string         `json:"fault,omitempty"`
	Problems []string       `json:"problems"`
	Trespass []string       `json:"trespass"` // reserved addresses that somebody else has
}

func (r reading) picture() settledPicture {
	return settledPicture{Read: r.at, Fault: r.fault, Problems: append([]string{}, r.problems...), Trespass: []string{}}
}

func (p *settledPicture) rules(b *pool.Book) {
	p.Number, p.Plan = b.Settled()
	p.Trespass = append(p.Trespass, b.Trespass()...)
}

// readSettled reads the newest Config that makes sense. What was read before rules until then, also after a restart.
func (d *Driver) readSettled(ctx context.Context) {
	if d.parts.Eyes == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, lookWithin)
	defer cancel()
	all, here, err := d.parts.Eyes.Settled(ctx)
	if err != nil {
		d.notes.Lock()
		d.settled.fault = err.Error()
		d.notes.Unlock()
		return
	}
	if !here {
		return
	}
	number, plan, bad := allotment.Newest(all)
	var problems []string
	for _, err := range bad {
		problems = append(problems, err.Error())
	}
	if number > 0 || len(all) == 0 {
		d.settle("named pools and reservations", func(b *pool.Book) pool.Change {
			c, err := b.Settle(number, plan)
			if err != nil { // what was parsed can be written
				problems = append(problems, err.Error())
			}
			if !c.IsZero() {
				d.parts.Log.Info("named pools and reservations were read", "config", allotment.ConfigName(number), "pools", len(plan.Pools), "reservations", len(plan.Reservations))
			}
			return c
		})
	}
	at := d.parts.Clock().UTC()
	d.notes.Lock()
	known := slices.Equal(d.settled.problems, problems)
	d.settled = reading{at: &at, problems: problems}
	d.notes.Unlock()
	if !known {
		for _, p := range problems {
			d.parts.Log.Error("a config is refused, the last good one rules", "cause", p)
		}
	}
}
