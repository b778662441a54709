package verify

import (
	"time"
)

// hangUps is how many operations lose their client.
const hangUps = 3

// hangUp closes the connection while the operation is in flight, and tries again: what a client
// does whose patience ends, and what keys are for.
func hangUp() group {
	return group{
		name:   "hang-up",
		checks: []check{{"hang-up", "2.6"}},
		cost:   cost(hangUps, 2*hangUps),
		run:    runHangUp,
	}
}

func runHangUp(p *probe) error {
	const name = "hang-up"
	counted, unproven := 0, false
	// Nobody knows when the effect takes place: at once, in the middle, or at the end.
	for i := range hangUps {
		var later answer
		op := p.next()
		n, err := p.executions(op, func() (err error) {
			wait(p.ctx, p.cfg.Pause)
			after := p.usual * time.Duration(i) / hangUps
			if _, err = p.client.sendAndHangUp(p.ctx, p.group.name, p.request(op), after); err != nil {
				return err
			}
			wait(p.ctx, max(p.usual, 50*time.Millisecond)) // the first must be there before the retry
			if later, err = p.retried(op); err != nil {
				return err
			}
			wait(p.ctx, p.usual)
			return nil
		})
		switch {
		case err != nil:
			return err
		case comeBack(later):
			p.fail(name, "the key is stuck after the client hung up: still %d after %s", later.status, short(p.cfg.Settle))
			return nil
		case n > 1:
			p.fail(name, "the operation was executed %s: for a client that hung up, and for its retry", times(n))
			return nil
		case !later.ok():
			p.fail(name, "after the client hung up, its retry was answered %d", later.status)
			return nil
		case n == 0:
			p.fail(name, "the operation is answered %d, but was not executed", later.status)
			return nil
		case n == unknown && marked(later) == "":
			unproven = true
		default:
			counted++
		}
	}
	if unproven {
		p.skip(name, "cannot tell if a client that hung up had an effect already; count effects with --effects-path")
		return nil
	}
	p.pass(name, "%d clients hung up and tried again: each operation was executed once, and its response found", counted)
	return nil
}
