package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// The messages of a cell: the failure befalls victim; first was dealt with before, and last is
// behind it.
const (
	first  = "first"
	victim = "victim"
	last   = "last"
)

// A message is what a producer sends, and maybe sends again.
type message struct {
	id       string
	produced time.Time
}

// A cell is one failure that befalls one adapter in one mode.
type cell struct {
	ctx     context.Context
	lab     *lab
	adapter adapter
	mode    mode
	failure failure
	name    string
	ledger  *ledger
	broker  broker

	mu      sync.Mutex // guards the rest
	members []*member
	trap    *trap
	struck  bool // the failure has happened, or there is none
	sprung  sync.WaitGroup
	err     error
	sent    map[string]message
}

// A trap is what happens when a consumer first comes to a point with the victim.
type trap struct {
	point  string
	spring func(*member) error
}

// play makes the cell's failure happen and returns what became of the messages.
func (l *lab) play(ctx context.Context, a adapter, m mode, f failure) (*cell, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	c := &cell{ctx: ctx, lab: l, adapter: a, mode: m, failure: f, name: l.cellName(), sent: map[string]message{}, struck: true}
	var err error
	if c.ledger, err = openLedger(c.called); err != nil {
		return nil, err
	}
	defer c.ledger.close()
	if c.broker, err = a.open(ctx, l, c.name); err != nil {
		return nil, err
	}
	defer c.broker.close()
	err = f.play(c)
	for _, m := range c.everybody() {
		if err != nil && m.ended() == nil {
			m.kill() // it may wait for what does not come any more
		}
		err = errors.Join(err, m.stop())
	}
	c.sprung.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	if err = errors.Join(err, c.err); err != nil {
		return nil, fmt.Errorf("%s, %s, %s: %w", a.name, m.name, f.name, err)
	}
	return c, nil
}

// called is told of every call to the ledger, before it is written down.
func (c *cell) called(ctx context.Context, k call) error {
	c.mu.Lock()
	if k.point == atReady {
		c.broker.ready(k.detail)
	}
	t := c.trap
	if t == nil || t.point != k.point || k.message != victim {
		c.mu.Unlock()
		return nil
	}
	c.trap = nil
	m := c.members[k.member-1]
	c.sprung.Add(1)
	c.mu.Unlock()
	defer c.sprung.Done()
	err := t.spring(m)
	c.strike()
	return err
}

// strike says that the failure has happened.
func (c *cell) strike() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.struck = true
}

// set makes something happen when a consumer first comes to the point with the victim.
func (c *cell) set(point string, spring func(*member) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trap, c.struck = &trap{point, spring}, false
}

// start runs one more consumer.
func (c *cell) start() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := orders{
		Adapter: c.adapter.name, Mode: c.mode.name, Cell: c.name, Member: len(c.members) + 1,
		Ledger: c.ledger.url, Broker: c.broker.address(), Postgres: c.lab.dsn,
		Lease: c.lab.lease, BrokerLease: c.lab.lease / 2, Window: time.Hour,
	}
	if c.failure.window {
		o.Window = c.lab.window
	}
	if c.failure.tooOld {
		o.TooOld = c.lab.window
	}
	m, err := startMember(o)
	if err != nil {
		return err
	}
	c.members = append(c.members, m)
	return nil
}

func (c *cell) everybody() []*member {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.members
}

// failed takes note of an error outside of play.
func (c *cell) failed(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = errors.Join(c.err, err)
}

// send produces a message, or a copy of it.
func (c *cell) send(id string) error {
	c.mu.Lock()
	m, again := c.sent[id]
	if !again {
		m = message{id, time.Now()}
		c.sent[id] = m
	}
	c.mu.Unlock()
	return c.broker.send(c.ctx, m)
}

// quiet waits until the broker has nothing left to deliver and no handler runs.
func (c *cell) quiet() error {
	return c.until("the broker has nothing left", func() (bool, error) {
		if c.ledger.busy() {
			return false, nil
		}
		return c.broker.idle(c.ctx)
	})
}

// happened waits until the failure has happened.
func (c *cell) happened() error {
	return c.until("the failure has happened", func() (bool, error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.struck, nil
	})
}

func (c *cell) until(what string, ok func() (bool, error)) error {
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		switch done, err := ok(); {
		case err != nil:
			return fmt.Errorf("%s: %w", what, err)
		case done:
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("not after %v: %s", patience, what)
		}
		for _, m := range c.everybody() {
			if err := m.ended(); err != nil {
				return err
			}
		}
	}
}

// fate returns what became of a message.
func (c *cell) fate(ctx context.Context, id string) (fate, error) {
	f := c.ledger.fate(id)
	if !c.mode.inTransaction {
		return f, nil
	}
	n, err := c.lab.committed(ctx, c.name, id)
	f.effects, f.ids = n, n // in the database nobody looks at ids
	return f, err
}
