package verify

import "time"

// grace is how much later than it says a service may forget a key, at least.
const grace = time.Second

// expiry retries until the outcome is forgotten.
func expiry() group {
	return group{
		name:   "expiry",
		checks: []check{{"expiry", "2.3"}},
		missing: func(cfg *Config) string {
			if cfg.Expiry == 0 {
				return "give the time that keys are kept with --expiry, if it is short"
			}
			return ""
		},
		cost: cost(2, 3),
		run:  runExpiry,
	}
}

func runExpiry(p *probe) error {
	const name = "expiry"
	op, window := p.next(), p.cfg.Expiry
	first, err := p.send(op)
	if err != nil {
		return err
	}
	retry := func() (a answer, e evidence, err error) {
		n, err := p.executions(op, func() (err error) { a, err = p.send(op); return err })
		return a, p.compare(first, a, n), err
	}
	wait(p.ctx, time.Until(first.sent.Add(window/2)))
	early, e, err := retry()
	// The time is counted from the first request at the earliest.
	switch took := early.done.Sub(first.sent); {
	case err != nil:
		return err
	case e == executed && took < window:
		p.fail(name, "the operation was executed again after %s already, less than %s", short(took), window)
		return nil
	case e == executed:
		p.pass(name, "the key has expired: a retry is a new operation after %s", short(took))
		return nil
	case e == unclear:
		p.skip(name, cannotTell)
		return nil
	}
	for deadline := first.done.Add(window + max(window, grace)); ; {
		wait(p.ctx, time.Until(earlier(time.Now().Add(window/4), deadline)))
		a, e, err := retry()
		took := short(a.sent.Sub(first.sent))
		switch {
		case err != nil:
			return err
		case !a.ok() && !comeBack(a) && a.status < 500:
			p.pass(name, "the key has expired: %d after %s", a.status, took)
			return nil
		case a.ok() && e == executed:
			p.pass(name, "the key has expired: a retry is a new operation after %s", took)
			return nil
		case !a.sent.Before(deadline):
			p.fail(name, "the key has not expired after %s, although keys are kept for %s", took, window)
			return nil
		}
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
