package oncehttp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/oncehq/once/retry"
)

const (
	maxDrain  = 64 << 10 // of a response nobody wants, so that its connection can be used again
	drainTime = 500 * time.Millisecond
)

// A sending is one operation: a request and its tries. It is for one goroutine.
type sending struct {
	t      *Transport
	req    *http.Request // the caller's
	out    *http.Request // what is sent, but for the body
	key    string        // "": none, but the method is idempotent
	body   replayableBody
	series *retry.Series
}

// run makes one try after the other.
func (s *sending) run(ctx context.Context) (*http.Response, error) {
	for n := 1; ; n++ {
		start := time.Now()
		try := s.send(ctx, n)
		again, atLeast := s.judge(&try)
		if try.timedOut() {
			again, atLeast = true, 0
		}
		pause, stop := time.Duration(0), retry.ErrAnswered
		if again {
			if stop = ErrBody; s.body.again != nil {
				pause, stop = s.series.Next(ctx, atLeast)
			}
		}
		if observe := s.t.cfg.Observe; observe != nil {
			observe(ctx, Try{
				Number: n, Request: try.out, Response: try.res, Err: try.err,
				Duration: time.Since(start), Stop: stop, Pause: pause,
			})
		}
		if stop != nil {
			return s.finish(&try, n, stop)
		}
		try.discard()
		if err := retry.Sleep(ctx, pause); err != nil {
			return nil, s.giveUp(&try, n, err)
		}
	}
}

// finish returns what the last try came to.
func (s *sending) finish(try *sentTry, n int, stop error) (*http.Response, error) {
	switch {
	case try.err == nil:
		return try.handOver(), nil
	case s.key == "" && n == 1 && (stop == retry.ErrAnswered || s.req.Context().Err() != nil):
		return nil, try.err // nothing to add
	}
	return nil, s.giveUp(try, n, stop)
}

func (s *sending) giveUp(try *sentTry, n int, reason error) error {
	err := try.err
	if err == nil {
		err = fmt.Errorf("oncehttp: response was %s", try.res.Status)
	}
	return &retry.GiveUpError{Key: s.key, Tries: n, Reason: reason, Err: err}
}

// A sentTry is one try, with its response or an error.
type sentTry struct {
	out    *http.Request
	res    *http.Response
	err    error
	cancel context.CancelCauseFunc // ends what is left of the try
	timer  *time.Timer             // of TryTimeout; nil: none
}

// errTryTimeout is the error of a try whose response did not come in time.
var errTryTimeout error = tryTimeout{}

type tryTimeout struct{}

func (tryTimeout) Error() string   { return "oncehttp: no response within TryTimeout" }
func (tryTimeout) Timeout() bool   { return true }
func (tryTimeout) Temporary() bool { return true }

// send makes the nth try.
func (s *sending) send(ctx context.Context, n int) (try sentTry) {
	ctx, try.cancel = context.WithCancelCause(ctx)
	try.out = s.out.WithContext(ctx)
	if try.out.Body = s.body.first; n > 1 {
		if try.out.Body, try.err = s.body.again(); try.err != nil {
			try.fail(&bodyError{try.err})
			return try
		}
	}
	if s.body.length >= 0 {
		try.out.ContentLength = s.body.length
	}
	if d := s.t.cfg.TryTimeout; d > 0 {
		cancel := try.cancel
		try.timer = time.AfterFunc(d, func() { cancel(errTryTimeout) })
	}
	res, err := s.t.cfg.Base.RoundTrip(try.out)
	switch {
	case err == nil && res == nil:
		try.fail(fmt.Errorf("oncehttp: transport: base %T returned neither response nor error", s.t.cfg.Base))
	case err != nil:
		try.fail(err)
	default:
		try.res = res
		res.Request = try.out
		if res.Body == nil {
			res.Body = http.NoBody
		}
	}
	return try
}

// fail gives the try an error instead of a response.
func (try *sentTry) fail(err error) {
	if try.res != nil {
		try.res.Body.Close()
	}
	try.res, try.err = nil, err
	try.cancel(nil)
}

// timedOut reports whether the response came too late, if at all. From now on it cannot any more.
func (try *sentTry) timedOut() bool {
	if try.timer == nil || try.timer.Stop() {
		return false
	}
	try.fail(errTryTimeout)
	return true
}

// A bodyError says that the caller's GetBody failed: nothing was sent.
type bodyError struct{ err error }

func (e *bodyError) Error() string { return "oncehttp: body cannot be sent again: " + e.err.Error() }
func (e *bodyError) Unwrap() error { return e.err }

// discard reads what is left of a response, within bounds, and closes it.
func (try *sentTry) discard() {
	if try.res == nil {
		return
	}
	timer := time.AfterFunc(drainTime, func() { try.cancel(nil) })
	io.CopyN(io.Discard, try.res.Body, maxDrain)
	timer.Stop()
	try.res.Body.Close()
	try.cancel(nil)
}

// handOver gives the response to the caller. What is left of the try ends with its body.
func (try *sentTry) handOver() *http.Response {
	body := try.res.Body
	if body == http.NoBody {
		try.cancel(nil)
		return try.res
	}
	try.res.Body = &tryBody{body, try.cancel}
	if w, ok := body.(io.Writer); ok { // after 101: the connection itself
		try.res.Body = &tryConn{tryBody{body, try.cancel}, w}
	}
	return try.res
}

// A tryBody frees the context of its try when it is read or closed.
type tryBody struct {
	io.ReadCloser
	cancel context.CancelCauseFunc
}

func (b *tryBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		b.cancel(nil)
	}
	return n, err
}

func (b *tryBody) Close() error {
	err := b.ReadCloser.Close()
	b.cancel(nil)
	return err
}

type tryConn struct {
	tryBody
	io.Writer
}
