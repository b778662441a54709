package oncehttp

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"sync"
	"time"
)

// A recorder is the ResponseWriter that the handler is given. It holds everything back until the
// exchange says what may leave: first nothing, later all of it, by doing with the client's writer
// what the handler did with this one. To the client there is no difference, down to where a chunk
// ends.
//
// It has no Unwrap method, for then http.ResponseController would get around it.
type recorder struct {
	w      http.ResponseWriter // the client's
	turn   *turn
	limit  int64       // of a body that is recorded
	most   int64       // of a body that is held back
	entry  http.Header // what the header was before the handler ran; nil: empty
	copies *sync.Pool  // of *[copySize]byte

	mu       sync.Mutex // guards the rest
	mode     mode
	large    bool  // the body is larger than the limit, but still held back
	failure  error // if refusing
	status   int   // zero: not yet known
	declared int64 // Content-Length, or -1
	written  int64 // also what was refused, as in net/http
	framing  framing
	scratch  *scratch // the exchange's; not for the handler any more when closed
}

// heldFactor is how many times larger than the limit a response may be that cannot be recorded
// before the handler has returned.
const heldFactor = 16

// copySize is how much is copied at a time, as in package io.
const copySize = 32 << 10

type mode uint8

const (
	holding   mode = iota // what is written is held back
	streaming             // what is written goes to the client
	refusing              // what is written is refused
	closed                // the handler has returned
)

var (
	errClosed = errors.New("oncehttp: response was written to after the handler had returned")
	errHijack = fmt.Errorf("oncehttp: a response that is recorded cannot be taken over; "+
		"send no key, or set PassUpgrades: %w", http.ErrNotSupported)
)

func (rec *recorder) open(t *turn, entry http.Header) {
	rec.w, rec.turn, rec.entry = t.x.w, t, entry
	rec.limit, rec.copies = t.x.m.cfg.MaxResponseBody, &t.x.m.copies
	if rec.most = rec.limit; t.x.m.binds {
		rec.most = min(rec.most*heldFactor, math.MaxInt32)
	}
	rec.framing, rec.scratch = framingFor(t.x.r), t.x.scratch
}

// close ends the handler's use of the recorder, and returns how it stood.
func (rec *recorder) close() (mode, error) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	was := rec.mode
	rec.mode = closed
	return was, rec.failure
}

// response returns what the handler has answered so far.
func (rec *recorder) response() response {
	res := response{
		status:  rec.status,
		header:  &rec.scratch.header,
		entry:   rec.entry,
		body:    rec.scratch.body,
		framing: rec.framing,
		final:   rec.w.Header(),
		major:   rec.turn.x.r.ProtoMajor,
	}
	if rec.status == 0 { // the handler said nothing
		res.status = http.StatusOK
		res.header.take(res.final)
	}
	return res
}

func (rec *recorder) Header() http.Header { return rec.w.Header() }

// WriteHeader sends informational responses (1xx) at once, since they are no part of the outcome.
func (rec *recorder) WriteHeader(status int) {
	if status < 100 || status > 999 {
		panic(fmt.Sprintf("oncehttp: invalid WriteHeader code %v", status)) // as net/http does
	}
	rec.mu.Lock()
	defer rec.mu.Unlock()
	switch {
	case rec.mode == closed || rec.status != 0:
	case status < 200 && status != http.StatusSwitchingProtocols:
		rec.w.WriteHeader(status)
	default:
		rec.freeze(status)
	}
}

// freeze fixes status and header.
func (rec *recorder) freeze(status int) {
	rec.status = status
	h := rec.w.Header()
	rec.scratch.header.take(h)
	rec.declared = declaredLength(first(h["Content-Length"]))
	if isEvents(h) {
		rec.spill() // nobody can wait for its end
	}
}

// spill stops to hold back: the response is larger than the limit, or an event stream. Unless the
// operation can be recorded first, what was and will be written goes nowhere.
func (rec *recorder) spill() {
	if rec.failure = rec.turn.overflow(); rec.failure != nil {
		rec.mode = refusing
		return
	}
	rec.emit()
	rec.mode = streaming
}

func (rec *recorder) Write(p []byte) (int, error) {
	n, pass, err := write(rec, p, wrote)
	if pass {
		return rec.w.Write(p)
	}
	return n, err
}

// WriteString implements [io.StringWriter].
func (rec *recorder) WriteString(s string) (int, error) {
	n, pass, err := write(rec, s, wroteString)
	if pass {
		return io.WriteString(rec.w, s)
	}
	return n, err
}

// write records p, or reports that it is to be passed to the client. Like net/http it refuses
// what a response of this status, or of the announced length, cannot have.
func write[T []byte | string](rec *recorder, p T, kind actionKind) (n int, pass bool, err error) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if rec.mode == closed {
		return 0, false, errClosed
	}
	if rec.status == 0 {
		rec.freeze(http.StatusOK)
	}
	if rec.mode == holding {
		switch n, err := rec.admit(len(p)); {
		case n == 0:
			return 0, false, err
		case int64(len(rec.scratch.body)+n) > rec.most:
			rec.spill()
		case int64(len(rec.scratch.body)+n) > rec.limit:
			rec.large = true
		}
	}
	switch rec.mode {
	case refusing:
		return 0, false, rec.failure
	case streaming:
		return 0, true, nil
	}
	rec.scratch.body = append(rec.scratch.body, p...)
	if kind == wroteString && !rec.framing.isCut(len(p)) {
		kind = wrote
	}
	rec.note(kind, len(p))
	return len(p), false, nil
}

// admit returns how many of n bytes the response can have: all or none.
func (rec *recorder) admit(n int) (int, error) {
	if n == 0 {
		return 0, nil
	}
	if !bodyAllowed(rec.status) {
		return 0, http.ErrBodyNotAllowed
	}
	rec.written += int64(n)
	if rec.declared >= 0 && rec.written > rec.declared {
		return 0, http.ErrContentLength
	}
	return n, nil
}

// note records what the handler did.
func (rec *recorder) note(kind actionKind, n int) {
	actions := rec.scratch.actions
	last := len(actions) - 1
	switch {
	case last < 0 || actions[last].kind != kind || kind == wroteString || kind == wrote && !rec.framing.joins(n):
		rec.scratch.actions = append(actions, action{kind, int32(n)})
	default:
		actions[last].n += int32(n)
	}
	switch kind {
	case wrote:
		rec.framing.write(n)
	case wroteString:
		rec.framing.writeString(n)
	case flushed:
		rec.framing.flush()
	}
}

// ReadFrom implements [io.ReaderFrom], for io.Copy.
func (rec *recorder) ReadFrom(src io.Reader) (n int64, err error) {
	if rec.isStreaming() {
		return io.Copy(rec.w, src)
	}
	buf := rec.copies.Get().(*[copySize]byte)
	defer rec.copies.Put(buf)
	defer func() { rec.endCopy(int(n)) }()
	for {
		k, readErr := src.Read(buf[:])
		if k > 0 {
			recorded, pass, err := write(rec, buf[:k], copied)
			if pass {
				recorded, err = rec.w.Write(buf[:k])
			}
			if n += int64(recorded); err != nil {
				return n, err
			}
			if pass && readErr == nil {
				rest, err := io.Copy(rec.w, src)
				return n + rest, err
			}
		}
		if readErr == io.EOF {
			return n, nil
		}
		if readErr != nil {
			return n, readErr
		}
	}
}

func (rec *recorder) isStreaming() bool {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	return rec.mode == streaming
}

// endCopy works out what a copy of n bytes would have done to the connection.
func (rec *recorder) endCopy(n int) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if rec.mode != holding {
		return
	}
	rec.framing.copied(n)
	// The next copy is another one.
	rec.scratch.actions = append(rec.scratch.actions, action{wrote, 0})
}

// Flush implements [http.Flusher]. What is held back stays so.
func (rec *recorder) Flush() { rec.FlushError() }

// FlushError is what http.ResponseController looks for.
func (rec *recorder) FlushError() error {
	rec.mu.Lock()
	if rec.mode == holding && rec.status == 0 {
		rec.freeze(http.StatusOK)
	}
	mode := rec.mode
	if mode == holding {
		rec.note(flushed, 0)
	}
	rec.mu.Unlock()
	switch mode {
	case streaming:
		return http.NewResponseController(rec.w).Flush()
	case refusing:
		return rec.failure
	case closed:
		return errClosed
	}
	return nil
}

// Hijack implements [http.Hijacker], to say why it does not.
func (rec *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) { return nil, nil, errHijack }

// SetReadDeadline is what http.ResponseController looks for.
func (rec *recorder) SetReadDeadline(t time.Time) error {
	return http.NewResponseController(rec.w).SetReadDeadline(t)
}

// SetWriteDeadline is what http.ResponseController looks for.
func (rec *recorder) SetWriteDeadline(t time.Time) error {
	return http.NewResponseController(rec.w).SetWriteDeadline(t)
}

// EnableFullDuplex is what http.ResponseController looks for.
func (rec *recorder) EnableFullDuplex() error {
	return http.NewResponseController(rec.w).EnableFullDuplex()
}
