package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemsg"
	"github.com/oncehq/once/store/oncepg"
)

// A consumer is this program as a member.
type consumer struct {
	orders
	mode mode
	cfg  oncemsg.Config // of the adapter's oncemsg.Consumer; without a guard for a rival
}

// consumeIfMember does not return in a process that startMember has started.
func consumeIfMember() {
	text := os.Getenv(envMember)
	if text == "" {
		return
	}
	go func() { // the parent is dead
		io.Copy(io.Discard, os.Stdin)
		os.Exit(3)
	}()
	var o orders
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	if err := consume(o); err != nil {
		fmt.Fprintf(os.Stderr, "%s, %s, consumer %d: %v\n", o.Adapter, o.Mode, o.Member, err)
		os.Exit(2)
	}
	os.Exit(0)
}

func consume(o orders) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	a, known := adapterNamed(o.Adapter)
	m, mode := modeNamed(o.Mode)
	if !known || !mode {
		return errors.New("orders name no adapter or mode")
	}
	c := &consumer{orders: o, mode: m}
	if !m.rival {
		store, err := c.openStore(ctx)
		if err != nil {
			return err
		}
		defer store.Close()
		if c.cfg, err = c.config(store); err != nil {
			return err
		}
	}
	return a.consume(ctx, c)
}

type store interface {
	once.Store
	io.Closer
}

func (c *consumer) openStore(ctx context.Context) (store, error) {
	cfg := oncepg.Config{
		DSN: c.Postgres + "&pool_max_conns=6", Idle: c.Lease, LockWait: c.Lease / 4, Sweep: -1,
		DangerouslyAllowNoFsync: true, // what fails here are the consumers
	}
	if c.mode.inTransaction {
		return oncepg.OpenTransactional(ctx, cfg)
	}
	return oncepg.Open(ctx, cfg)
}

func (c *consumer) config(s once.Store) (oncemsg.Config, error) {
	guard, err := once.New(once.Config{
		Store: s, InDoubt: c.mode.policy, Lease: c.Lease, DangerouslyTrustStore: true,
		Observe: func(_ context.Context, e once.Event) {
			if e.Kind == once.OwnerLost {
				c.tell(atLost, "", "")
			}
		},
	})
	if err != nil {
		return oncemsg.Config{}, err
	}
	cfg := oncemsg.Config{
		Guard: guard, Subscriber: c.Cell, Mode: c.mode.mode, Window: c.Window, TooOld: c.TooOld,
		Backoff: func(int) time.Duration { return 100 * time.Millisecond },
		Logger:  slog.New(slog.DiscardHandler),
		DeadLetter: func(_ context.Context, m oncemsg.Message, d oncemsg.Decision) error {
			return c.tell(atDead, m.ID, d.Kind.String())
		},
		Observe: func(_ context.Context, m oncemsg.Message, d oncemsg.Decision) {
			if d.Kind == oncemsg.Ran {
				c.tell(atRecorded, m.ID, "")
			}
		},
	}
	if c.mode.mode != oncemsg.DropOnlyMayLose {
		cfg.Publish = c.publish
	}
	return cfg, nil
}

// handle is the handler of every adapter. It is the worst that there can be: once it has begun it
// does not look at its context, and so goes on when the lease is lost.
func (c *consumer) handle(ctx context.Context, m oncemsg.Message) error {
	if err := c.work(ctx, m.ID); err != nil || c.cfg.Publish == nil {
		return err
	}
	return oncemsg.Emit(ctx, oncemsg.Output{To: "ledger", Headers: map[string]string{"of": m.ID}})
}

func (c *consumer) work(ctx context.Context, id string) error {
	ctx = context.WithoutCancel(ctx)
	if err := c.tell(atBefore, id, ""); err != nil {
		return err
	}
	defer c.tell(atEnd, id, "")
	if err := c.effect(ctx, id); err != nil {
		return err
	}
	return c.tell(atAfter, id, "")
}

// effect writes a line into the ledger, or in mode InTransaction a row beside the record.
func (c *consumer) effect(ctx context.Context, id string) error {
	if !c.mode.inTransaction {
		return c.tell(atEffect, id, once.DerivedID(ctx, "effect"))
	}
	tx, ok := oncepg.Tx(ctx)
	if !ok {
		return errors.New("the handler has no transaction")
	}
	_, err := tx.Exec(ctx, "INSERT INTO effects (cell, message) VALUES ($1, $2)", c.Cell, id)
	return err
}

// publish sends outputs to the ledger.
func (c *consumer) publish(_ context.Context, outputs []oncemsg.Output) error {
	for _, o := range outputs {
		if err := c.tell(atOutput, o.Headers["of"], o.ID); err != nil {
			return err
		}
	}
	return nil
}

// tell tells the ledger where this consumer is, and returns an error if that has refused.
func (c *consumer) tell(point, message, detail string) error {
	resp, err := http.PostForm(c.Ledger, url.Values{
		"member": {strconv.Itoa(c.Member)}, "point": {point}, "message": {message}, "detail": {detail},
	})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the ledger refuses %s: %s", point, resp.Status)
	}
	return nil
}
