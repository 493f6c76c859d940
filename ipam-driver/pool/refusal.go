package pool

import (
	"cmp"
	"fmt"
	"strings"
	"time"
)

// RefusedError says no to a call for good: the same call would be refused again.
type RefusedError struct{ Pool, Why string }

func (e *RefusedError) Error() string {
	if e.Pool == "" {
		return e.Why
	}
	return e.Pool + ": " + e.Why
}

// FullError says that a share has no address left. Why says how many are used for what, and what to do.
type FullError struct {
	Pool, Why string
	Lost      int // of its addresses wait for a lost node: it may be back by now
}

func (e *FullError) Error() string { return e.Pool + ": no available addresses: " + e.Why }

// Temporary: a release or the end of a rest changes the answer.
func (e *FullError) Temporary() bool { return true }

// WaitError says that the answer is not known yet.
type WaitError struct{ Pool, Why string }

func (e *WaitError) Error() string { return e.Pool + ": " + e.Why + ": try again in some seconds" }

// Temporary: the answer will be known.
func (e *WaitError) Temporary() bool { return true }

func (b *Book) inUse(s *share, l *lease, now int64) error {
	who := b.named(l.owner).String()
	switch {
	case l.state == resting:
		return &RefusedError{s.terms.String(), fmt.Sprintf("address %s rests %s more: node %s was not ready when Swarm let it go and may still use it: wait, bring the node back, or choose another address", fromNumber(l.addr), left(l.until, now), b.nodeName(l.node))}
	case who == "" && l.gateway:
		who = "a network's gateway"
	case who == "":
		who = "somebody else"
	}
	return &RefusedError{s.terms.String(), fmt.Sprintf("address %s is in use since %s by %s (%s): choose another, or none", fromNumber(l.addr), moment(l.since).Format(time.RFC3339), who, l.share.terms)}
}

func (b *Book) nodeName(id string) string {
	return cmp.Or(b.called[id], id)
}

// named is the owner with its node's name in place of the id.
func (b *Book) named(o *Owner) *Owner {
	if o == nil {
		return nil
	}
	shown := *o
	shown.Node = b.nodeName(o.Node)
	return &shown
}

func left(until, now int64) time.Duration {
	return (time.Duration(until-now) * time.Millisecond).Round(time.Second)
}

// full counts why a share has nothing left.
func (b *Book) full(s *share, now int64) error {
	u := b.usage(s, now)
	var why []string
	if s.Quota > 0 && u.Leased >= s.Quota {
		return &FullError{Pool: s.terms.String(), Why: fmt.Sprintf("%d of quota %d leased: raise the quota or stop something", u.Leased, s.Quota)}
	}
	if s.Block != 0 {
		size := 1 << (32 - s.Block)
		why = append(why, fmt.Sprintf("%d blocks of %d used", s.blocks(), size))
		if s.Quota > 0 {
			why[0] = fmt.Sprintf("%d of %d blocks used", s.blocks(), (s.Quota+size-1)/size)
		}
	}
	why = append(why, fmt.Sprintf("%d of %d addresses used", u.Used, u.Size))
	if u.Resting > 0 {
		why = append(why, fmt.Sprintf("%d rest (the first is free in %s)", u.Resting, left(u.NextFree, now)))
	}
	if u.Reserved > 0 {
		why = append(why, fmt.Sprintf("%d are reserved", u.Reserved))
	}
	if u.Lost > 0 {
		why = append(why, fmt.Sprintf("%d of them wait for a lost node", u.Lost))
	}
	return &FullError{s.terms.String(), strings.Join(why, ", ") + ": use a wider subnet or range, or remove a network", u.Lost}
}
