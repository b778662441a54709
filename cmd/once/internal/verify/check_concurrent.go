package verify

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
)

// concurrent sends an operation many times at once.
func concurrent() group {
	return group{
		name: "concurrent",
		checks: []check{{"concurrent-once", "2.6"}, {"concurrent-answers", "2.6, 2.7"}, {"concurrent-later", "2.6"},
			{"conflict-retry-after", "RFC 9110 10.2.3"}},
		cost: func(cfg *Config) (int, int) { return 1, cfg.Concurrency + 1 },
		run:  runConcurrent,
	}
}

func runConcurrent(p *probe) error {
	op := p.next()
	requests := slices.Repeat([]request{p.request(op)}, p.cfg.Concurrency)
	var answers []answer
	var later answer
	n, err := p.executions(op, func() (err error) {
		if answers, err = p.atOnce(requests); err != nil {
			return err
		}
		wait(p.ctx, p.usual)
		return nil
	})
	if err != nil {
		return err
	}
	again, err := p.executions(op, func() (err error) { later, err = p.retried(op); return err })
	if err != nil {
		return err
	}
	p.judgeExecutions(answers, n)
	p.judgeAnswers(answers)
	p.judgeLater(answers, later, again)
	return nil
}

// judgeExecutions decides how often the operation was executed for answers at once.
func (p *probe) judgeExecutions(answers []answer, n int) {
	const name = "concurrent-once"
	var succeeded []answer
	unmarked, differ := 0, false
	for _, a := range answers {
		if a.ok() {
			succeeded = append(succeeded, a)
			differ = differ || !bytes.Equal(a.body, succeeded[0].body)
			if marked(a) == "" {
				unmarked++
			}
		}
	}
	switch {
	case n > 1, n == 0 && len(succeeded) > 0:
		p.fail(name, "%d requests at once executed the operation %s: %s", len(answers), times(n), tally(answers))
	case len(succeeded) == 0:
		p.fail(name, "none of %d requests at once was answered with success: %s", len(answers), tally(answers))
	case n == 1:
		p.pass(name, "%d requests at once executed the operation once", len(answers))
	case p.marker != "" && unmarked > 1, differ && p.marker == "":
		p.fail(name, "%d requests at once got the responses of several executions: %s", len(answers), tally(answers))
	case unmarked <= 1, p.tells:
		p.pass(name, "%d requests at once got the response of one execution", len(answers))
	default:
		p.skip(name, cannotTell)
	}
}

// judgeAnswers allows the response of the operation and 409.
func (p *probe) judgeAnswers(answers []answer) {
	const name = "concurrent-answers"
	var conflicts []answer
	broken, odd := false, false
	for _, a := range answers {
		switch {
		case a.err == nil && a.status == http.StatusConflict:
			conflicts = append(conflicts, a)
		case a.err != nil || a.status >= 500 && a.status != http.StatusServiceUnavailable:
			broken = true
		case !a.ok():
			odd = true
		}
	}
	switch {
	case broken:
		p.fail(name, "requests at once make the service fail: %s", tally(answers))
	case odd:
		p.warn(name, "neither the response of the operation nor 409: %s", tally(answers))
	default:
		p.pass(name, "each got the response of the operation or 409: %s", tally(answers))
	}
	if len(conflicts) == 0 {
		p.skip("conflict-retry-after", "there was no 409 (the service waits, or the operation is over too soon)")
		return
	}
	p.refusals = append(p.refusals, refusal{"a key that is in flight", conflicts[0]})
	for _, a := range conflicts {
		switch d := retryAfter(a); {
		case d < 0:
			p.warn("conflict-retry-after", "Retry-After is neither a number of seconds nor a date: %q", a.header.Get("Retry-After"))
			return
		case a.header.Get("Retry-After") == "":
			p.warn("conflict-retry-after", "409 does not say when to come back: there is no Retry-After")
			return
		}
	}
	p.pass("conflict-retry-after", "409 says when to come back: Retry-After: %s", conflicts[0].header.Get("Retry-After"))
}

// judgeLater decides if a key is of use after it was fought for.
func (p *probe) judgeLater(answers []answer, later answer, again int) {
	const name = "concurrent-later"
	switch {
	case comeBack(later):
		p.fail(name, "the key is stuck: %d although all requests were answered more than %s ago", later.status, short(p.cfg.Settle))
	case !later.ok():
		p.fail(name, "a later retry is answered %d", later.status)
	case again > 0, again == unknown && p.marker != "" && marked(later) == "":
		p.fail(name, "a later retry executed the operation again")
	case again == 0, marked(later) != "":
		p.pass(name, "a later retry got the replay")
	case slices.ContainsFunc(answers, func(a answer) bool { return a.ok() && bytes.Equal(a.body, later.body) }) && p.tells:
		p.pass(name, "a later retry got the same response")
	case p.tells:
		p.fail(name, "a later retry got the response of another execution")
	default:
		p.skip(name, cannotTell)
	}
}

// tally says how often which status was answered.
func tally(answers []answer) string {
	var all []string
	for _, a := range answers {
		all = append(all, a.String())
	}
	slices.Sort(all)
	return counted(all)
}

// parallel sends different operations at once: none must get the response of another.
func parallel() group {
	return group{
		name:   "parallel-keys",
		checks: []check{{"parallel-keys", "2.2"}},
		cost:   func(cfg *Config) (int, int) { return cfg.Concurrency, 2 * cfg.Concurrency },
		run:    runParallel,
	}
}

func runParallel(p *probe) error {
	const name = "parallel-keys"
	var requests []request
	var op operation
	for range p.cfg.Concurrency {
		op = p.next()
		requests = append(requests, p.request(op))
	}
	var first, second []answer
	n, err := p.executions(op, func() (err error) { first, err = p.atOnce(requests); return err })
	if err != nil {
		return err
	}
	again, err := p.executions(op, func() (err error) { second, err = p.atOnce(requests); return err })
	if err != nil {
		return err
	}
	counts := p.cfg.EffectsPath != "" && !hasPlaceholder(p.cfg.EffectsPath) // else of the last one alone
	for i := range first {
		switch a, b := first[i], second[i]; {
		case !a.ok() || !b.ok():
			p.fail(name, "of %d different keys at once, not all succeed: %s; retries: %s", len(first), tally(first), tally(second))
			return nil
		case !bytes.Equal(a.body, b.body) && slices.ContainsFunc(first, func(c answer) bool { return bytes.Equal(c.body, b.body) }):
			p.fail(name, "a retry got the response of another key")
			return nil
		case !counts && p.compare(a, b, unknown) == executed:
			p.fail(name, "retries of different keys at once executed the operation again")
			return nil
		}
	}
	switch {
	case counts && n != len(first):
		p.fail(name, "%d different keys at once executed the operation %s", len(first), times(n))
	case counts && again != 0:
		p.fail(name, "retries of %d keys at once executed the operation %s", len(first), times(again))
	default:
		p.pass(name, "%d different keys at once: each gets its own response, and so do retries%s", len(first), withCount(counts, n))
	}
	return nil
}

func withCount(counts bool, n int) string {
	if !counts {
		return ""
	}
	return fmt.Sprintf("; %d executions", n)
}
