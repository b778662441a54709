package verify

import (
	"context"
	"fmt"
	"net/http"
	"net/textproto"
	"strconv"
	"sync"
	"time"
)

// state is what the groups hand on to each other.
type state struct {
	n int64 // the number of the last operation

	// Set by first.
	usual time.Duration // how long the operation takes
	tells bool          // two executions of the same request have different responses

	marker   string    // the field that marks replays; set by replay
	refusals []refusal // of requests that idempotency forbids
}

// A refusal is an error of a client that should be described by a problem.
type refusal struct {
	what   string
	answer answer
}

// A probe is the hands of a group of checks.
type probe struct {
	*state
	ctx    context.Context
	cfg    *Config
	client *client
	group  *group
	found  map[string]Finding
}

func (p *probe) pass(name, format string, args ...any) { p.report(name, Pass, format, args) }
func (p *probe) fail(name, format string, args ...any) { p.report(name, Fail, format, args) }
func (p *probe) warn(name, format string, args ...any) { p.report(name, Warn, format, args) }
func (p *probe) skip(name, format string, args ...any) { p.report(name, Skip, format, args) }

func (p *probe) report(name string, r Result, format string, args []any) {
	p.found[name] = Finding{Result: r, Why: fmt.Sprintf(format, args...)}
}

// A noAnswerError says that the service broke the connection off, or took too long.
type noAnswerError struct {
	what string
	err  error
}

func (e *noAnswerError) Error() string { return e.what + " was not answered: " + e.err.Error() }

func (e *noAnswerError) Unwrap() error { return e.err }

// An operation is what should happen once: a request and its key.
type operation struct {
	variant
	method, path, body string
	key                string // without quotes
	other              bool   // by somebody else
}

// next returns a new operation.
func (p *probe) next() operation {
	p.n++
	v := variant{p.n, newUUID()}
	return operation{variant: v, method: p.cfg.Method, path: v.render(p.cfg.Path), body: p.cfg.body(v), key: newUUID()}
}

// nextWith returns a new operation with a body of that template.
func (p *probe) nextWith(template string) operation {
	op := p.next()
	op.body = op.render(template)
	return op
}

// another returns the operation with the body of another, but the same key.
func (p *probe) another(op operation) operation {
	p.n++
	op.body = p.cfg.body(variant{p.n, newUUID()})
	return op
}

// request returns the request of the operation, with its key as usual.
func (p *probe) request(op operation) request {
	key := `"` + op.key + `"`
	if p.cfg.Bare {
		key = op.key
	}
	return p.keyed(op, key)
}

// keyed returns the request of the operation with these field lines.
func (p *probe) keyed(op operation, lines ...string) request {
	return request{method: op.method, url: p.cfg.url(op.path), body: op.body, keys: lines, other: op.other}
}

// raw sends a request after a pause. There may be no answer.
func (p *probe) raw(r request) (answer, error) {
	wait(p.ctx, p.cfg.Pause)
	return p.client.send(p.ctx, p.group.name, r)
}

// send sends an operation after a pause. No answer is an error.
func (p *probe) send(op operation) (answer, error) {
	return p.answered("the request", p.request(op))
}

func (p *probe) answered(what string, r request) (answer, error) {
	a, err := p.raw(r)
	if err == nil && a.err != nil {
		if cause := context.Cause(p.ctx); cause != nil {
			return a, cause
		}
		return a, &noAnswerError{what, a.err}
	}
	return a, err
}

// atOnce sends all requests at the same time.
func (p *probe) atOnce(requests []request) ([]answer, error) {
	wait(p.ctx, p.cfg.Pause)
	answers, errs := make([]answer, len(requests)), make([]error, len(requests))
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i, r := range requests {
		wg.Go(func() {
			<-start
			answers[i], errs[i] = p.client.send(p.ctx, p.group.name, r)
		})
	}
	close(start)
	wg.Wait()
	for i := range requests {
		if errs[i] != nil {
			return nil, errs[i]
		}
	}
	if cause := context.Cause(p.ctx); cause != nil {
		return nil, cause
	}
	return answers, nil
}

// retried sends an operation until its answer is none that asks to come back, as long as
// the configuration says that a key may take to settle.
func (p *probe) retried(op operation) (answer, error) {
	deadline := time.Now().Add(p.cfg.Settle)
	for pause := 100 * time.Millisecond; ; pause *= 2 {
		a, err := p.send(op)
		if err != nil || !comeBack(a) || time.Now().After(deadline) {
			return a, err
		}
		wait(p.ctx, min(max(retryAfter(a), pause), p.cfg.Settle/4))
	}
}

func comeBack(a answer) bool {
	switch a.status {
	case http.StatusConflict, http.StatusTooEarly, http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return true
	}
	return false
}

// retryAfter reads the field of RFC 9110 section 10.2.3. It is zero if that is absent, -1 if wrong.
func retryAfter(a answer) time.Duration {
	value := textproto.TrimString(a.header.Get("Retry-After"))
	if value == "" {
		return 0
	}
	if s, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(s) * time.Second
	}
	if t, err := http.ParseTime(value); err == nil {
		return max(time.Until(t), 0)
	}
	return -1
}

// times says how often something happened.
func times(n int) string {
	switch n {
	case 0:
		return "not at all"
	case 1:
		return "once"
	case 2:
		return "twice"
	}
	return fmt.Sprintf("%d times", n)
}
