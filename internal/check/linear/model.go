package linear

import (
	"errors"

	"github.com/anishathalye/porcupine"
	"github.com/oncehq/once"
)

// A state is that of one operation. It can be compared with ==.
type state struct {
	phase   once.State // zero: absent
	owner   once.Owner
	fp      once.Fingerprint
	attempt int
	data    string
	fence   uint64 // of the latest claim, if seen; else that of the latest claim that was
	seen    bool   // somebody was told the fence of the latest claim
}

// model is the state machine of docs/DESIGN.md, section 3, without what time does to it. The end of
// a call that is unknown is at the end of time: that it was never carried out is the same as that
// it was carried out after everything else.
var model = porcupine.Model{
	Init: func() any { return state{} },
	Step: func(s, in, out any) (bool, any) {
		next, ok := step(s.(state), in.(*input), out.(output))
		return ok, next
	},
}

// step returns the state after the call, and whether the reply is the one that it must get.
func step(s state, in *input, out output) (state, bool) {
	switch in.verb {
	case claim:
		return claims(s, in, out)
	case load:
		if s.phase == 0 {
			return s, out.unknown || errors.Is(out.err, once.ErrNotFound)
		}
		return reads(s, in, out)
	}
	next, err := s, error(nil)
	owned := s.phase != 0 && s.phase != once.Done && s.owner == in.owner
	switch {
	case in.verb == complete && s.phase == once.Done && s.owner == in.owner && s.data == in.data:
	case !owned:
		err = once.ErrLost
	case in.verb == renew && in.gone:
		next.phase = once.InDoubt
	case in.verb == renew:
		next.phase = once.InFlight
	case in.verb == complete && !in.gone:
		next.phase, next.data = once.Done, in.data
	default:
		next = s.absent()
	}
	return next, out.unknown || errors.Is(out.err, err)
}

func (s state) absent() state { return state{fence: s.fence, seen: s.seen} }

func claims(s state, in *input, out output) (state, bool) {
	next := s
	switch {
	case s.phase == 0:
		next.fp, next.attempt = in.fp, 1
	case !s.fp.Matches(in.fp):
		return s, out.unknown || errors.Is(out.err, once.ErrMismatch) && out.rec.State == 0
	case s.phase == once.InDoubt && s.owner != in.owner && in.takeover > s.attempt:
		next.attempt++
	default:
		return reads(s, in, out)
	}
	next.phase, next.owner, next.data, next.seen = once.InFlight, in.owner, "", false
	return reads(next, in, out)
}

// reads checks a record that was returned. The first to see a claim learns its fence, which must
// be greater than all that were seen before.
func reads(s state, in *input, out output) (state, bool) {
	if out.unknown {
		return s, true
	}
	r := &out.rec
	ok := out.err == nil && r.Key == in.key && r.State == s.phase && r.Owner == s.owner &&
		r.Attempt == s.attempt && r.Fingerprint == s.fp && string(r.Outcome.Data) == s.data
	if s.seen {
		return s, ok && r.Fence == s.fence
	}
	ok = ok && r.Fence > s.fence
	s.fence, s.seen = r.Fence, true
	return s, ok
}
