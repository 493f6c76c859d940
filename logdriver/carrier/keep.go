package carrier

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/rolling-swarm/rolling/logdriver/batch"
	"github.com/rolling-swarm/rolling/logdriver/route"
)

const (
	// restAfter: an ended container that Kafka has whole takes no memory any more.
	restAfter = 5 * time.Second
	// syncsAtOnce: a disk takes several; a slow one must not make the last container wait for all others.
	syncsAtOnce = 8
)

func (c *Carrier) opened() []*lane {
	c.mu.Lock()
	defer c.mu.Unlock()
	lanes := make([]*lane, 0, len(c.lanes))
	for _, l := range c.lanes {
		lanes = append(lanes, l)
	}
	return lanes
}

// sync brings all logs to the disk. A loss of power costs what came since.
func (c *Carrier) sync() {
	var all sync.WaitGroup
	tokens := make(chan struct{}, syncsAtOnce)
	for _, l := range c.opened() {
		tokens <- struct{}{}
		all.Go(func() {
			defer func() { <-tokens }()
			if err := l.log.Sync(); err != nil {
				c.complain(l.route.Container, err)
			}
		})
	}
	all.Wait()
}

// keepHouse removes what nobody needs any more.
func (c *Carrier) keepHouse() {
	for _, l := range c.opened() {
		if err := errors.Join(l.log.Trim(c.set.Keep), l.log.Settle()); err != nil {
			c.complain(l.route.Container, err)
		}
		live, ended := l.live()
		if !live && time.Since(ended) > restAfter && (l.log.Drained() || c.kafka == nil) {
			c.lay(l)
		}
	}
	c.expire()
	c.makeRoom()
}

// lay puts an ended container to rest.
func (c *Carrier) lay(l *lane) {
	c.turn.Lock()
	defer c.turn.Unlock()
	live, ended := l.live()
	c.mu.Lock()
	current := c.lanes[l.route.Container] == l
	c.mu.Unlock()
	if live || !current {
		return
	}
	if err := c.shut(l); err != nil {
		c.log.Warn("a log did not close cleanly", "container", l.route.Container, "cause", err)
	}
	if l.log.Blank() {
		c.remove(l.route)
		return
	}
	c.mu.Lock()
	c.resting[l.route.Container] = resting{l.route, ended, l.log.Size().Unsent}
	c.mu.Unlock()
}

// expire deletes logs of containers that ended long ago.
func (c *Carrier) expire() {
	c.mu.Lock()
	var old []route.Lane
	for _, r := range c.resting {
		if time.Since(r.ended) > c.set.KeepFor {
			old = append(old, r.route)
		}
	}
	c.mu.Unlock()
	for _, r := range old {
		c.turn.Lock()
		c.remove(r)
		c.turn.Unlock()
	}
}

// remove deletes a log that is not open; turn is held.
func (c *Carrier) remove(r route.Lane) {
	c.mu.Lock()
	_, open := c.lanes[r.Container]
	delete(c.resting, r.Container)
	c.mu.Unlock()
	if open {
		return
	}
	log, err := c.store.Open(r)
	if err == nil {
		err = errors.Join(log.Close(), c.store.Remove(log))
	}
	if err != nil {
		c.log.Warn("an old log stays", "container", r.Container, "cause", err)
	}
}

// over: below nine tenths of the bound nobody has to give anything up.
func (c *Carrier) over() bool { return c.store.Total() > c.set.Limits.Whole/10*9 }

// makeRoom keeps the whole below its bound: ended containers give up first, then what Kafka has, then the oldest of
// who holds most. A container finds its own way to the bound only if this is too slow.
func (c *Carrier) makeRoom() {
	for c.over() {
		c.mu.Lock()
		var oldest *resting
		for _, r := range c.resting {
			if oldest == nil || r.ended.Before(oldest.ended) {
				oldest = &r
			}
		}
		c.mu.Unlock()
		if oldest == nil {
			break
		}
		c.turn.Lock()
		c.remove(oldest.route)
		c.turn.Unlock()
	}
	lanes := c.opened()
	slices.SortFunc(lanes, func(a, b *lane) int { return int(b.log.Size().Behind - a.log.Size().Behind) })
	for _, l := range lanes {
		if !c.over() {
			return
		}
		if err := l.log.Trim(0); err != nil {
			c.complain(l.route.Container, err)
		}
	}
	for c.over() && c.dropOfLargest(lanes) {
	}
}

func (c *Carrier) dropOfLargest(lanes []*lane) bool {
	var largest *lane
	most := int64(0)
	for _, l := range lanes {
		if behind := l.log.Size().Behind; l.route.OnFull == route.DropOldest && behind > most {
			largest, most = l, behind
		}
	}
	if largest == nil {
		return false
	}
	dropped, err := largest.log.DropOldest(batch.Full)
	if err != nil {
		c.complain(largest.route.Container, err)
	}
	return dropped
}

// complain says that the disk makes trouble, once a minute and container at most.
func (c *Carrier) complain(container string, err error) {
	c.Stats.DiskTrouble.Add(1)
	if c.Stats.quiet(container, time.Minute) {
		return
	}
	c.log.Error("the spool's disk makes trouble", "container", container, "cause", err)
}
