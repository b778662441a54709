package main

import (
	"context"
	"fmt"
)

// A verdict is what became of a message, in a word.
type verdict string

const (
	correct       verdict = "correct"
	lost          verdict = "**lost**"
	duplicated    verdict = "duplicated"
	unknownUndone verdict = "in doubt (not done)" // set aside for people, who will find that out
	unknownDone   verdict = "in doubt (done)"
	outputLost    verdict = "**output lost**"
	outputDoubled verdict = "output duplicated"
	impossible    verdict = "–"
)

// tooOld is the oncemsg.Kind of what is set aside since it may be done and forgotten.
const tooOld = "too-old"

// verdict judges one message, by what its effects or their ids were counted. Outputs count by
// their ids as well: to send one again under its id is what consumers that handle once expect.
func (f fate) verdict(effects int, outputs bool) verdict {
	switch {
	case effects > 1:
		return duplicated
	case effects == 1 && f.deadKind == tooOld:
		return correct // of the copy nothing but that it is there was told
	case f.deadKind != "" && effects == 0:
		return unknownUndone
	case f.deadKind != "":
		return unknownDone
	case effects == 0:
		return lost
	case outputs && f.outputs == 0:
		return outputLost
	case outputs && f.outputs > 1:
		return outputDoubled
	}
	return correct
}

// A result is what a cell came to.
type result struct {
	adapter  string
	verdict  verdict
	derived  verdict // if the effect's provider ignores a repeated id; in mode Rerun
	problems []error // what must not be
	again    int     // how often the cell was played again
}

// judge compares what became of the messages with what must.
func (c *cell) judge(ctx context.Context) (result, error) {
	r := result{adapter: c.adapter.name}
	outputs := c.mode.name != modeDropOnly
	for _, id := range []string{first, victim, last} {
		if c.sent[id].id == "" {
			continue
		}
		f, err := c.fate(ctx, id)
		if err != nil {
			return r, err
		}
		v, want := f.verdict(f.effects, outputs), correct
		if id == victim {
			r.verdict, r.derived = v, f.verdict(f.ids, outputs)
			want = c.want()
		}
		if v != want {
			r.problems = append(r.problems, c.problem(id, v, want))
		}
	}
	if want := c.failure.want.derived; c.mode.name == modeRerun && r.derived != want {
		r.problems = append(r.problems, c.problem(victim+" by derived ids", r.derived, want))
	}
	return r, nil
}

// want is what must become of victim.
func (c *cell) want() verdict {
	w := c.failure.want
	switch {
	case c.failure.tooOld && c.adapter.timeless:
		return duplicated // as without it
	case c.mode.name == modeHold:
		return w.hold
	case c.mode.name == modeInTransaction:
		return w.inTransaction
	case c.mode.name == modeDropOnly:
		return w.dropOnly
	}
	return w.rerun
}

func (c *cell) problem(what string, got, want verdict) error {
	return fmt.Errorf("%s, %s, %s: %s is %s, want %s", c.adapter.name, c.mode.name, c.failure.name, what, got, want)
}

// tries is how often a cell is played if a lease was lost that should not have been: the machine was
// too slow for it, and what happens then is another failure.
const tries = 4

// run plays the cell and judges it.
func (l *lab) run(ctx context.Context, a adapter, m mode, f failure) (result, error) {
	for again := 0; ; again++ {
		c, err := l.play(ctx, a, m, f)
		if err != nil {
			return result{}, err
		}
		r, err := c.judge(ctx)
		r.again = again
		if err != nil || len(r.problems) == 0 || f.stops || !c.ledger.stalled() || again+1 == tries {
			return r, err
		}
	}
}
