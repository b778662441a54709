package oncehttp

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/oncehq/once"
)

var (
	errPanicked         = errors.New("oncehttp: handler panicked")
	errResponseTooLarge = errors.New("oncehttp: response is too large or endless; " +
		"raise MaxResponseBody, or send no key")
)

// A turn is one run of the handler for a request whose operation was claimed.
type turn struct {
	x       *exchange
	attempt *once.Attempt
	held    heldBody
	body    bodyReader
	rec     recorder
	ctx     runContext
	control control
}

// take runs the handler and answers the client, but only with what the store has acknowledged.
// If it returns an error then nothing has been sent.
func (t *turn) take(x *exchange, a *once.Attempt, entry http.Header) (err error) {
	t.x, t.attempt = x, a
	t.ctx.attempt, t.ctx.control = a.Context(), &t.control
	t.rec.open(t, entry)
	r := x.r.WithContext(&t.ctx)
	if x.body != nil {
		t.held.data, t.body.held = x.body, &t.held
		r.Body, r.GetBody = &t.body, t.held.open
	}
	returned := false
	defer func() {
		if !returned { // a panic or Goexit, which goes on after this
			t.rec.close()
			a.Abandon(errPanicked) // changes nothing if the attempt has ended
		}
		t.ctx.end()
		t.held.end()
		x.returned(r)
	}()
	x.next.ServeHTTP(&t.rec, r)
	err = t.settle()
	returned = true
	return err
}

// settle records what the response means, and sends it.
func (t *turn) settle() error {
	mode, failure := t.rec.close()
	switch {
	case mode == streaming:
		return nil // recorded before
	case errors.Is(failure, errResponseTooLarge):
		t.attempt.Abandon(failure) // a transaction is rolled back by that
		return failure
	case mode == refusing:
		return failure
	}
	if err := t.record(!t.rec.large); err != nil {
		return err
	}
	t.rec.emit()
	return nil
}

// overflow records the operation while the handler is still writing, without the body that does
// not fit. The response may then be sent. It is called by the recorder.
func (t *turn) overflow() error {
	if t.x.m.binds {
		return errResponseTooLarge // to complete it could commit what is not finished
	}
	return t.record(false)
}

// record ends the attempt as the response, the handler and the configuration say. kept: the body
// is all there, and recorded if it is an outcome. After nil the response may be sent.
func (t *turn) record(kept bool) error {
	m, res := t.x.m, t.rec.response()
	t.control.mu.Lock()
	decision, noStore, retention := t.control.decision, t.control.noStore, t.control.retention
	t.control.mu.Unlock()
	if decision == 0 {
		decision = m.cfg.Keep(res.status)
	}
	switch decision {
	case Release:
		if err := t.attempt.Release(); err != nil {
			t.warn("oncehttp: claim was not released; it is in doubt when its lease is over", err)
		}
		return nil
	case Abandon:
		cause := fmt.Errorf("oncehttp: handler answered with status %d", res.status)
		if err := t.attempt.Abandon(cause); err != nil {
			t.warn("oncehttp: claim was not ended; it is in doubt when its lease is over", err)
		}
		return nil
	}
	if retention == 0 && m.cfg.RetentionFor != nil {
		retention = m.cfg.RetentionFor(t.x.r, res.status)
	}
	if retention <= 0 {
		retention = m.cfg.Retention
	}
	err := t.complete(&res, kept && !noStore, retention)
	if err != nil && m.cfg.DangerouslyRunOnStoreError && isOutage(err) {
		t.warn("oncehttp: response is sent although it was not recorded", err)
		return nil
	}
	return err
}

// complete records the response as the outcome, or that the operation is done if the response is
// not to be kept or the store cannot keep it.
func (t *turn) complete(res *response, kept bool, retention time.Duration) error {
	m, s := t.x.m, t.rec.scratch
	out := once.Outcome{Failed: res.status >= 400, Type: messageType}
	if kept {
		out.Data = m.message(s, res)
		err := t.attempt.CompleteFor(out, retention)
		if !errors.Is(err, once.ErrTooLarge) {
			return err
		}
	}
	out.Type, out.Data = notKeptType, m.messageNotKept(s, res)
	err := t.attempt.CompleteFor(out, retention)
	if errors.Is(err, once.ErrTooLarge) {
		res.header = new(snapshot)
		out.Data = m.messageNotKept(s, res)
		err = t.attempt.CompleteFor(out, retention)
	}
	if errors.Is(err, once.ErrTooLarge) {
		t.attempt.Abandon(err)
	}
	return err
}

func (t *turn) warn(text string, err error) {
	t.x.m.cfg.Logger.WarnContext(t.x.r.Context(), text, "key", t.x.key.String(), "error", err)
}
