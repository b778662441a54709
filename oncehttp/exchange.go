package oncehttp

import (
	"context"
	"errors"
	"net/http"

	"github.com/oncehq/once"
)

// reruns is how often a handler is run again for one request because the database rolled its
// transaction back.
const reruns = 10

// An exchange is one request and its response.
type exchange struct {
	m    *Middleware
	w    http.ResponseWriter
	r    *http.Request
	next http.Handler

	key     once.Key
	fp      once.Fingerprint
	body    []byte // of the request, in the scratch; nil: there is none, or it was not read
	scratch *scratch
}

// pass lets the request through unguarded.
func (x *exchange) pass() {
	r := x.r
	if x.body != nil {
		r = x.r.WithContext(x.r.Context())
		held := &heldBody{data: x.body}
		r.Body, _ = held.open()
		r.GetBody = held.open
		defer held.end()
		defer x.returned(r)
	}
	x.next.ServeHTTP(x.w, r)
}

// returned does for the copy of the request that the handler was given what a server does for
// the original.
func (x *exchange) returned(r *http.Request) {
	x.r.Pattern = r.Pattern // for what is outside and logs it
	if r.MultipartForm != nil && x.r.MultipartForm == nil {
		r.MultipartForm.RemoveAll()
	}
}

// guard claims the operation and runs the handler, or answers with what others came to.
func (x *exchange) guard() {
	if a, ok := once.FromContext(x.r.Context()); ok && a.Key() == x.key {
		x.pass() // this is the operation: the handler is wrapped twice
		return
	}
	var entry http.Header
	if h := x.w.Header(); len(h) > 0 {
		entry = h.Clone()
	}
	for run := 0; ; run++ {
		a, err := x.m.cfg.Guard.BeginDetached(x.r.Context(), x.key, x.fp)
		if err != nil {
			x.refuseBegin(err)
			return
		}
		if out, done := a.Replay(); done {
			x.replay(out)
			return
		}
		x.scratch.reset()
		t := new(turn)
		err = t.take(x, a, entry)
		if err == nil {
			return
		}
		t.rec.resetHeader()
		if errors.Is(err, once.ErrRolledBack) && run < reruns {
			continue
		}
		x.explain(err)
		return
	}
}

// refuseBegin answers when the operation could not be claimed.
func (x *exchange) refuseBegin(err error) {
	switch ctx := x.r.Context(); {
	case ctx.Err() != nil:
		x.refuse(ProblemInFlight, nil) // the client has hung up while it waited
	case x.m.cfg.DangerouslyRunOnStoreError && isOutage(err):
		x.m.cfg.Logger.ErrorContext(ctx, "oncehttp: request is run unguarded", "error", err)
		x.pass()
	default:
		x.refuse(problemOf(err), err)
	}
}

// isOutage reports whether err is due to the store's state and not to the operation's.
func isOutage(err error) bool {
	for _, other := range []error{once.ErrLost, once.ErrRolledBack, once.ErrTooLarge, once.ErrNotFound} {
		if errors.Is(err, other) {
			return false
		}
	}
	name := problemOf(err)
	return name == ProblemStoreUnavailable || name == ProblemStoreFull
}

func (x *exchange) replay(out once.Outcome) { x.m.replay(x.w, x.r, x.scratch, x.key, out) }

// explain answers when the handler was run but its response must not be shown.
func (x *exchange) explain(err error) {
	switch {
	case errors.Is(err, errResponseTooLarge):
		x.refuse(ProblemResponseTooLarge, err)
	case errors.Is(err, once.ErrRolledBack):
		x.refuse(ProblemRolledBack, err)
	case errors.Is(err, once.ErrLost):
		// Somebody else has taken over. If there is an outcome, it is this caller's too.
		rec, loadErr := x.m.cfg.Guard.Store().Load(context.WithoutCancel(x.r.Context()), x.key)
		if loadErr == nil && rec.State == once.Done && rec.Fingerprint.Matches(x.fp) {
			x.replay(rec.Outcome)
			return
		}
		x.refuse(ProblemOutcomeUnknown, err)
	default:
		x.refuse(ProblemOutcomeUnknown, err)
	}
}
