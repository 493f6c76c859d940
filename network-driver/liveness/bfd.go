package liveness

import "time"

// Session is our end of BFD with one router: asynchronous mode, no echo, no demand (RFC 5880, 6.8).
type Session struct {
	mine       uint32
	every      time.Duration
	multiplier uint8

	state      State
	diagnostic uint8
	remote     Packet // the last one
	heard      time.Time
	polls      bool // our intervals changed, and the router has not said that it knows
	due        time.Time
	downs      int
}

// slow: RFC 5880, 6.8.3 allows no more than one packet a second before a session is up.
const slow = time.Second

// NewSession waits for the router. The discriminator must differ from those of this node's other sessions, and not be 0.
func NewSession(mine uint32, every time.Duration, multiplier uint8) *Session {
	return &Session{mine: mine, every: every, multiplier: multiplier, state: Down}
}

// State is where the session stands, and Downs how often it was up and then not.
func (s *Session) State() State { return s.state }

// Downs is how often the session was up and then not.
func (s *Session) Downs() int { return s.downs }

// Receive takes the router's packet. When it polls, the answer is to be sent at once.
func (s *Session) Receive(p Packet, now time.Time) (answer Packet, polled bool) {
	if p.Yours != 0 && p.Yours != s.mine {
		return Packet{}, false
	}
	s.remote, s.heard = p, now
	if p.Final {
		s.polls = false
	}
	before := s.state
	s.follow(p)
	if s.state != before {
		s.polls = s.state == Up
		s.due = now
	}
	if sooner := now.Add(s.pace()); sooner.Before(s.due) {
		s.due = sooner // it can take more by now than when the last one was sent (FRR: 1 s until it is up)
	}
	if !p.Poll {
		return Packet{}, false
	}
	answer = s.packet()
	answer.Poll, answer.Final = false, true
	return answer, true
}

// follow is the table of RFC 5880, 6.8.6.
func (s *Session) follow(p Packet) {
	switch {
	case p.State == AdminDown:
		if s.state != Down {
			s.fall(NeighbourDown)
		}
	case s.state == Down && p.State == Down:
		s.state = Init
	case s.state == Down && p.State == Init, s.state == Init && (p.State == Init || p.State == Up):
		s.state, s.diagnostic = Up, NoDiagnostic
	case s.state == Up && p.State == Down:
		s.fall(NeighbourDown)
	}
}

func (s *Session) fall(diagnostic uint8) {
	if s.state == Up {
		s.downs++
	}
	s.state, s.diagnostic = Down, diagnostic
}

// Tick gives the packet that is due, if one is. Shorten is between 0 and 1: RFC 5880, 6.8.7 wants intervals that differ.
func (s *Session) Tick(now time.Time, shorten float64) (p Packet, send bool) {
	if s.state >= Init && now.Sub(s.heard) > s.detection() {
		s.fall(TimeExpired)
		s.remote = Packet{} // its discriminator is forgotten: it may be another by now
		s.due = now
	}
	if now.Before(s.due) || s.remote.Required == 0 && !s.heard.IsZero() && s.remote.Mine != 0 {
		return Packet{}, false
	}
	every := s.pace()
	s.due = now.Add(every - time.Duration(shorten*float64(every)/4))
	return s.packet(), true
}

// Due is when the next packet is to be sent, and Expires when the router's silence is too long.
func (s *Session) Due() time.Time { return s.due }

// Expires is when the router's silence is too long, if the session is up or about to be.
func (s *Session) Expires() (time.Time, bool) { return s.heard.Add(s.detection()), s.state >= Init }

func (s *Session) detection() time.Duration {
	return time.Duration(s.remote.Multiplier) * max(s.every, s.remote.Desired)
}

// pace is what we would and the router can.
func (s *Session) pace() time.Duration { return max(s.desired(), s.remote.Required) }

func (s *Session) desired() time.Duration {
	if s.state != Up {
		return max(slow, s.every)
	}
	return s.every
}

func (s *Session) packet() Packet {
	return Packet{
		Diagnostic: s.diagnostic, State: s.state, Poll: s.polls, Multiplier: s.multiplier, Mine: s.mine, Yours: s.remote.Mine,
		Desired: s.desired(), Required: s.every,
	}
}

// Farewell tells the router that the session ends on purpose, so that it concludes nothing from the silence.
func (s *Session) Farewell() Packet {
	p := s.packet()
	p.State, p.Diagnostic, p.Poll = AdminDown, Administratively, false
	return p
}
