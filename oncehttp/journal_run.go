package oncehttp

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"

	"github.com/oncehq/once"
)

// ErrNotKept is what the body of a recorded response returns if it was larger than
// [JournalConfig.MaxBody].
var ErrNotKept = errors.New("oncehttp: body of the response was too large to be kept")

// run claims the operation, records the request if it is not yet, sends it and records the
// response. in may be nil if the request is recorded.
func (j *Journal) run(ctx context.Context, id string, fp once.Fingerprint, in *intent) (*http.Response, error) {
	a, err := j.guard.Begin(ctx, j.key(id), fp)
	if err != nil {
		return nil, err
	}
	if out, done := a.Replay(); done {
		return recordedResponse(out, nil)
	}
	ended := false
	defer func() {
		if !ended { // a panic
			a.Abandon(errors.New("oncehttp: journal: sending panicked"))
		}
	}()
	in, age, err := j.record(a.Context(), id, in)
	if err == nil && age > j.cfg.Window {
		err = ErrWindow
	}
	if err != nil {
		ended = true
		a.Release() // nothing was sent by this attempt
		if errors.Is(err, ErrWindow) {
			return nil, &PendingError{ID: id, Err: err}
		}
		return nil, &once.KeyError{Key: j.key(id), Err: err}
	}
	out, rest, err := j.send(a.Context(), id, in)
	ended = true
	if err != nil {
		a.Abandon(err)
		return nil, err
	}
	err = a.Complete(out)
	if errors.Is(err, once.ErrTooLarge) && out.Type == messageType {
		head, body, _ := bytes.Cut(out.Data, []byte(crlf+crlf))
		out = once.Outcome{Type: notKeptType, Data: append(bytes.Clone(head), crlf+crlf...)}
		rest = io.NopCloser(bytes.NewReader(body))
		err = a.Complete(out)
	}
	if err != nil {
		rest.Close()
		a.Abandon(err) // which it is already, unless nothing of it fits the store
		return nil, &PendingError{ID: id, Err: err}
	}
	j.forgetIntent(ctx, id)
	return recordedResponse(out, rest)
}

// forgetIntent removes the request of an operation that is done. If that fails, Pending does it
// later.
func (j *Journal) forgetIntent(ctx context.Context, id string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), j.cfg.Lease)
	defer cancel()
	if rec, err := j.cfg.Store.Load(ctx, j.intentKey(id)); err == nil {
		j.forget(ctx, rec)
	}
}

// send sends the request, as often as the transport does, and returns the response if it settles
// the operation. If its body is too large to be kept, rest is all of it.
func (j *Journal) send(ctx context.Context, id string, in *intent) (out once.Outcome, rest io.ReadCloser, err error) {
	pending := func(status int, err error) error { return &PendingError{ID: id, Status: status, Err: err} }
	req := in.request(ctx)
	if j.cfg.Sign != nil {
		if err := j.cfg.Sign(req); err != nil {
			return out, nil, pending(0, fmt.Errorf("oncehttp: journal: signing failed: %w", err))
		}
	}
	res, err := j.client.Do(req)
	if err != nil {
		return out, nil, pending(0, err)
	}
	if !j.settles(res) {
		res.Body.Close()
		return out, nil, pending(res.StatusCode, nil)
	}
	body, whole, err := readUpTo(res.Body, j.cfg.MaxBody)
	if err != nil {
		// The service has its response recorded; the next try is given it again.
		res.Body.Close()
		return out, nil, pending(0, err)
	}
	if whole {
		res.Body.Close()
		return once.Outcome{Type: messageType, Data: responseMessage(res, body)}, http.NoBody, nil
	}
	rest = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(body), res.Body), res.Body}
	return once.Outcome{Type: notKeptType, Data: responseMessage(res, nil)}, rest, nil
}

// settles reports whether the response is the outcome of the operation.
func (j *Journal) settles(res *http.Response) bool {
	if Replayed(res) {
		return true
	}
	switch res.StatusCode {
	case http.StatusUnauthorized, http.StatusProxyAuthRequired:
		return false
	}
	s := sending{t: j.cfg.Transport, key: j.cfg.Transport.SentKey(res)}
	again, _ := s.judge(&sentTry{res: res, cancel: func(error) {}})
	return !again && res.StatusCode < 500
}

// responseMessage returns the response as a literal HTTP/1.1 message.
func responseMessage(res *http.Response, body []byte) []byte {
	b := fmt.Appendf(nil, "HTTP/1.1 %03d %s\r\n", res.StatusCode, http.StatusText(res.StatusCode))
	skip := append(neverReplayed(), "Content-Length", "Trailer")
	for _, name := range slices.Sorted(maps.Keys(res.Header)) {
		if slices.Contains(skip, name) && name != "Date" {
			continue
		}
		for _, value := range res.Header[name] {
			b = appendField(b, name, value)
		}
	}
	if bodyAllowed(res.StatusCode) {
		b = appendField(b, "Content-Length", strconv.Itoa(len(body)))
	}
	return append(append(b, crlf...), body...)
}

// recordedResponse returns the response of an outcome. If its body was not kept, rest is it, or
// nil if it is gone.
func recordedResponse(out once.Outcome, rest io.ReadCloser) (*http.Response, error) {
	if out.Type != messageType && out.Type != notKeptType {
		return nil, errForeign
	}
	res, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(out.Data)), nil)
	if err != nil {
		return nil, fmt.Errorf("oncehttp: journal: recorded response cannot be read: %w", err)
	}
	if out.Type == notKeptType {
		if rest == nil {
			rest = io.NopCloser(notKept{})
		}
		res.Body, res.ContentLength = rest, -1
		res.Header.Del("Content-Length")
	}
	return res, nil
}

type notKept struct{}

func (notKept) Read([]byte) (int, error) { return 0, ErrNotKept }
