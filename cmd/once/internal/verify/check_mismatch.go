package verify

import (
	"net/http"
	"time"
)

func needsVariation(cfg *Config) string {
	if !cfg.varies() {
		return "bodies are all the same; use {{n}} or {{uuid}} in it, or --vary"
	}
	return ""
}

// mismatchAfter uses the key of an operation that is done for another one.
func mismatchAfter() group {
	return group{
		name:    "mismatch",
		checks:  []check{{"mismatch-after", "2.2, 2.7"}},
		missing: needsVariation,
		cost:    cost(1, 3),
		run: func(p *probe) error {
			const name = "mismatch-after"
			op := p.next()
			first, err := p.send(op)
			if err != nil {
				return err
			}
			var second, third answer
			n, err := p.executions(op, func() (err error) {
				if second, err = p.send(p.another(op)); err != nil {
					return err
				}
				third, err = p.retried(op)
				return err
			})
			switch {
			case err != nil:
				return err
			case second.ok():
				p.acceptedMismatch(name, first, second, n)
			case p.compare(first, third, n) == executed || !third.ok():
				p.fail(name, "after the key was refused for another body (%d), the operation itself was not replayed (%d)", second.status, third.status)
			default:
				p.refusedMismatch(name, "a key that was used for another body", second)
			}
			return nil
		},
	}
}

func (p *probe) acceptedMismatch(name string, first, second answer, n int) {
	if n == 0 || marked(second) != "" || string(first.body) == string(second.body) {
		p.fail(name, "a request with the key but another body is answered with the response of the first")
		return
	}
	p.fail(name, "a request with the key but another body is executed")
}

func (p *probe) refusedMismatch(name, what string, a answer) {
	switch {
	case a.status == http.StatusUnprocessableEntity:
		p.pass(name, "%s is refused with 422", what)
		p.refusals = append(p.refusals, refusal{what, a})
	case a.status >= 500:
		p.fail(name, "%s makes the service fail: %d", what, a.status)
	case a.status == http.StatusConflict && name == "mismatch-in-flight":
		p.warn(name, "%s is answered 409, which invites the client to retry in vain; the draft has 422", what)
	default:
		p.warn(name, "%s is refused with %d; the draft has 422", what, a.status)
	}
}

// overlapTries is how often two requests are sent until they overlap.
const overlapTries = 3

// mismatchInFlight uses the key of an operation that is being executed for another one.
func mismatchInFlight() group {
	return group{
		name:    "in-flight",
		checks:  []check{{"mismatch-in-flight", "2.7"}},
		missing: needsVariation,
		cost:    cost(overlapTries, 2*overlapTries),
		run: func(p *probe) error {
			for range overlapTries {
				done, err := p.overlapMismatch()
				if done || err != nil {
					return err
				}
			}
			p.skip("mismatch-in-flight", "the operation is over in %s, before a second request arrives; make it slower for the user agent %s",
				short(p.usual), userAgent(p.group.name))
			return nil
		},
	}
}

// overlapMismatch sends an operation, and while it is in flight another one with its key. It
// reports whether that decided the check.
func (p *probe) overlapMismatch() (bool, error) {
	wait(p.ctx, p.cfg.Pause)
	op := p.next()
	other := p.request(p.another(op))
	var a, b answer
	var errA, errB error
	done := make(chan struct{})
	go func() {
		defer close(done)
		a, errA = p.client.send(p.ctx, p.group.name, p.request(op))
	}()
	wait(p.ctx, p.usual/4)
	b, errB = p.client.send(p.ctx, p.group.name, other)
	<-done
	for _, err := range []error{errA, errB, p.ctx.Err()} {
		if err != nil {
			return false, err
		}
	}
	for _, x := range []answer{a, b} {
		if x.err != nil {
			return false, &noAnswerError{"one of two requests with a key but different bodies", x.err}
		}
	}
	if a.ok() && b.ok() {
		p.acceptedMismatch("mismatch-in-flight", a, b, unknown)
		return true, nil
	}
	if a.ok() && b.status != http.StatusConflict && !b.done.Before(a.done) {
		return false, nil // the first may have been over
	}
	refused := b
	if b.ok() { // it came first
		refused = a
	}
	p.refusedMismatch("mismatch-in-flight", "a key that is in flight with another body", refused)
	return true, nil
}

// short prints a duration for people.
func short(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return "less than 1ms"
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	}
	return d.Round(10 * time.Millisecond).String()
}
