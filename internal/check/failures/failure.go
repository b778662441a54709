package main

import (
	"errors"
	"time"
)

// A failure is what befalls a message.
type failure struct {
	name   string
	window bool // the record is kept for the lab's window only
	tooOld bool // and messages that are older are refused without one
	stops  bool // a lease is meant to be lost
	want   wants
	play   func(*cell) error
}

// Wants is what must become of the message in our modes: in Rerun, in Rerun if the effect's
// provider ignores a repeated derived id, in Hold, InTransaction and DropOnlyMayLose.
type wants struct{ rerun, derived, hold, inTransaction, dropOnly verdict }

var errPlanned = errors.New("planned failure")

var failures = []failure{
	{
		name: "handler fails",
		want: wants{correct, correct, unknownUndone, correct, correct},
		play: func(c *cell) error {
			c.set(atBefore, func(*member) error { return errPlanned })
			return c.misfortune()
		},
	},
	{
		name: "kill -9 before the effect",
		want: wants{correct, correct, unknownUndone, correct, lost},
		play: killedAt(atBefore),
	},
	{
		name: "kill -9 after the effect",
		want: wants{duplicated, correct, unknownDone, correct, correct},
		play: killedAt(atAfter),
	},
	{
		name: "kill -9 after the record, before the ack",
		want: wants{correct, correct, correct, correct, correct},
		play: killedAt(atRecorded),
	},
	{
		name: "lease lost: stopped, then goes on", stops: true,
		want: wants{duplicated, correct, unknownDone, correct, correct},
		play: func(c *cell) error {
			c.set(atBefore, c.zombie)
			return c.misfortune()
		},
	},
	{
		name: "publishing an output fails",
		want: wants{correct, correct, correct, correct, impossible},
		play: func(c *cell) error {
			c.set(atOutput, func(*member) error { return errPlanned })
			return c.misfortune()
		},
	},
	{
		name: "restarted, then a copy comes",
		want: wants{correct, correct, correct, correct, correct},
		play: func(c *cell) error {
			if err := c.misfortune(); err != nil {
				return err
			}
			return errors.Join(c.restart(), c.send(victim), c.quiet())
		},
	},
	{
		name: "a copy comes after the window", window: true,
		want: wants{duplicated, correct, duplicated, duplicated, duplicated},
		play: replayed,
	},
	{
		name: "the same, with TooOld", window: true, tooOld: true,
		want: wants{correct, correct, correct, correct, correct},
		play: replayed,
	},
}

// misfortune sends the messages, one of which springs the trap.
func (c *cell) misfortune() error {
	for _, step := range []func() error{
		c.start,
		func() error { return c.send(first) }, c.quiet,
		func() error { return c.send(victim) }, c.happened,
		func() error { return c.send(last) }, c.quiet,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// killedAt kills the consumer at the point, and starts another one.
func killedAt(point string) func(*cell) error {
	return func(c *cell) error {
		c.set(point, func(m *member) error {
			m.kill()
			c.strike()
			c.ledger.forget(m.number)
			if err := c.start(); err != nil {
				c.failed(err)
			}
			return errGone
		})
		return c.misfortune()
	}
}

// zombie stops the consumer in the middle of the handler until its lease is over and another one
// has dealt with what it had, if that can be; then it goes on, and does not notice.
func (c *cell) zombie(m *member) error {
	fail := func(err error) error {
		c.failed(err)
		m.kill()
		return errGone
	}
	if err := m.pause(); err != nil {
		return fail(err)
	}
	c.strike()
	stopped := time.Now()
	if err := c.start(); err != nil {
		return fail(err)
	}
	// A transaction that is open stands in the way of others until the server ends it.
	for time.Since(stopped) < 6*c.lab.lease {
		idle, err := c.broker.idle(c.ctx)
		if err != nil {
			return fail(err)
		}
		if idle && time.Since(stopped) > c.lab.lease+time.Second {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err := m.resume(); err != nil {
		return fail(err)
	}
	return nil
}

// restart ends all consumers, in order, and starts another one.
func (c *cell) restart() error { return errors.Join(c.stop(), c.start()) }

func (c *cell) stop() error {
	var errs []error
	for _, m := range c.everybody() {
		errs = append(errs, m.stop())
	}
	return errors.Join(errs...)
}

// replayed delivers a message once more when its record is gone.
func replayed(c *cell) error {
	for _, step := range []func() error{
		c.start,
		func() error { return c.send(first) }, c.quiet,
		func() error { return c.send(victim) }, c.quiet,
		func() error {
			time.Sleep(c.lab.window*3/2 + time.Second) // Watermill's may last half as long again
			return c.replay(c.sent[victim])
		},
		c.quiet,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (c *cell) replay(m message) error {
	if !c.adapter.resets {
		return c.broker.replay(c.ctx, m)
	}
	for _, step := range []func() error{
		c.stop, func() error { return c.broker.replay(c.ctx, m) }, c.start,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}
