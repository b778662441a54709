// Package admin lets an operator look at records and settle those in doubt, also in an embedded
// store that a running gateway has open: the gateway listens on a Unix socket beside the store's
// directory. Only the user that runs the gateway can connect to it.
package admin

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/oncehq/once"
)

// Records is what operators do with a store.
type Records interface {
	once.Lister
	once.Forgetter
	Load(ctx context.Context, k once.Key) (once.Record, error)
	Complete(ctx context.Context, k once.Key, o once.Owner, out once.Outcome, retention time.Duration) error
	Release(ctx context.Context, k once.Key, o once.Owner) error
}

// Of returns the records of a store. What the store cannot do is an error when it is asked for.
func Of(s once.Store) Records {
	r := records{Store: s}
	r.lister, _ = s.(once.Lister)
	r.forgetter, _ = s.(once.Forgetter)
	return r
}

type records struct {
	once.Store
	lister    once.Lister
	forgetter once.Forgetter
}

func (r records) List(ctx context.Context, f once.Filter) iter.Seq2[once.Record, error] {
	if r.lister == nil {
		return func(yield func(once.Record, error) bool) {
			yield(once.Record{}, errors.New("this store cannot list its records"))
		}
	}
	return r.lister.List(ctx, f)
}

func (r records) Forget(ctx context.Context, k once.Key, o once.Owner) error {
	if r.forgetter == nil {
		return errors.New("this store cannot forget records")
	}
	return r.forgetter.Forget(ctx, k, o)
}

// SocketPath returns where the process that has the store in the directory open listens.
func SocketPath(dir string) string { return dir + ".sock" }

// A record is a once.Record in JSON. Keys are bytes, since they need not be text.
type record struct {
	Scope       []byte           `json:"scope"`
	ID          []byte           `json:"id"`
	Fingerprint once.Fingerprint `json:"fingerprint"`
	Owner       once.Owner       `json:"owner"`
	State       once.State       `json:"state"`
	Failed      bool             `json:"failed,omitempty"`
	Type        string           `json:"type,omitempty"`
	Data        []byte           `json:"data,omitempty"`
	Attempt     int              `json:"attempt"`
	Fence       uint64           `json:"fence"`
	Created     time.Time        `json:"created"`
	Lease       time.Duration    `json:"lease"`
	Retention   time.Duration    `json:"retention"`
}

func fromRecord(r once.Record) record {
	return record{[]byte(r.Key.Scope), []byte(r.Key.ID), r.Fingerprint, r.Owner, r.State,
		r.Outcome.Failed, r.Outcome.Type, r.Outcome.Data, r.Attempt, r.Fence, r.Created, r.Lease, r.Retention}
}

func (r record) toRecord() once.Record {
	return once.Record{Key: once.Key{Scope: string(r.Scope), ID: string(r.ID)}, Fingerprint: r.Fingerprint,
		Owner: r.Owner, State: r.State, Outcome: once.Outcome{Failed: r.Failed, Type: r.Type, Data: r.Data},
		Attempt: r.Attempt, Fence: r.Fence, Created: r.Created, Lease: r.Lease, Retention: r.Retention}
}

// A command is the body of every request but the list's.
type command struct {
	Scope     []byte        `json:"scope"`
	ID        []byte        `json:"id"`
	Owner     once.Owner    `json:"owner"`
	Failed    bool          `json:"failed,omitempty"`
	Type      string        `json:"type,omitempty"`
	Data      []byte        `json:"data,omitempty"`
	Retention time.Duration `json:"retention,omitempty"`
}

func (c command) key() once.Key { return once.Key{Scope: string(c.Scope), ID: string(c.ID)} }

// A line of a list is a record or, as the last one, an end: a list that has none was cut off.
type line struct {
	Record *record  `json:"record,omitempty"`
	End    *failure `json:"end,omitempty"`
}

// A failure carries an error over the socket: by its code, if it is one of package once's.
type failure struct {
	Code string `json:"code,omitempty"`
	Text string `json:"text,omitempty"`
}

func codes() map[string]error {
	return map[string]error{
		"lost": once.ErrLost, "not-found": once.ErrNotFound, "too-large": once.ErrTooLarge,
		"unreadable": once.ErrUnreadable, "closed": once.ErrClosed,
	}
}

func fromError(err error) failure {
	if err == nil {
		return failure{}
	}
	for code, known := range codes() {
		if errors.Is(err, known) {
			return failure{code, err.Error()}
		}
	}
	return failure{Text: err.Error()}
}

func (f failure) toError() error {
	switch known := codes()[f.Code]; {
	case f == failure{}:
		return nil
	case known == nil:
		return errors.New(f.Text)
	case f.Text == known.Error():
		return known
	default:
		return fmt.Errorf("%s: %w", f.Text, known)
	}
}
