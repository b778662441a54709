package oncepg

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncehq/once"
)

// A Transactional is a [once.Store] whose claims are open transactions: the operation finds its
// own with [Tx], and what it does there is committed together with its outcome or not at all. So
// its effects in this database happen exactly once, and nothing is ever in doubt: an owner that dies
// takes its transaction along, and the operation is absent again.
//
// A claim that meets another of the same operation waits for that for [Config.LockWait], and is refused
// with [once.ErrInFlight] then. A transaction that PostgreSQL rolls back in favour of another one
// (serialization failure, deadlock) shows as [once.ErrRolledBack], after which [once.Do] runs the
// whole operation again. So what the operation does outside of its transaction may happen more
// than once, and should come after it.
//
// Each claim keeps a connection until it ends, as does each one that waits. The pool has to be as
// large as there are operations at once, or claims wait for connections; and larger by that
// number again if operations claim others, such as steps, which have transactions of
// their own. The same scope must not be used with a [Store] as well, whose claims know nothing of
// these: what both claim is rolled back here in the end.
type Transactional struct {
	store *Store

	mu     sync.Mutex
	open   map[once.Owner]*operation
	closed bool
}

var (
	_ once.Store     = (*Transactional)(nil)
	_ once.Binder    = (*Transactional)(nil)
	_ once.Lister    = (*Transactional)(nil)
	_ once.Sweeper   = (*Transactional)(nil)
	_ once.Forgetter = (*Transactional)(nil)
	_ once.Guarantor = (*Transactional)(nil)
)

// OpenTransactional is [Open] for a store that commits outcomes together with the operation's
// effects.
func OpenTransactional(ctx context.Context, cfg Config) (*Transactional, error) {
	cfg = cfg.withDefaults()
	ts := timeouts{cfg.LockWait, cfg.Idle, cfg.Pool != nil || cfg.Pooler}
	s, err := open(ctx, cfg, ts, func(pc *pgxpool.Config) {
		if !ts.each {
			pc.AfterConnect = ts.session
		}
	})
	if err != nil {
		return nil, err
	}
	return &Transactional{store: s, open: make(map[once.Owner]*operation)}, nil
}

// An operation is one that runs in its transaction, or whose COMMIT has got no answer.
type operation struct {
	key   once.Key
	owner once.Owner
	rec   once.Record
	there bool // a row of it is in the table
	conn  *pgxpool.Conn
	tx    *transaction

	ending  chan struct{} // holds a token while somebody ends the operation
	unknown time.Time     // since when the fate of the COMMIT is unknown; zero: it is not
}

// put adds an operation. It drops those whose fate nobody has asked for in an hour: after that
// there may be no trace of them.
func (t *Transactional) put(op *operation) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return once.ErrClosed
	}
	for o, other := range t.open {
		if !other.unknown.IsZero() && time.Since(other.unknown) > time.Hour {
			delete(t.open, o)
		}
	}
	t.open[op.owner] = op
	return nil
}

// find returns the operation that runs under the claim, or nil.
func (t *Transactional) find(k once.Key, o once.Owner) *operation {
	t.mu.Lock()
	defer t.mu.Unlock()
	if op := t.open[o]; op != nil && op.key == k {
		return op
	}
	return nil
}

func (t *Transactional) remove(op *operation) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.open, op.owner)
}

func (t *Transactional) isClosed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.closed
}

// Renew implements [once.Store]. A transaction has no lease: it stands as long as its connection
// does, and as [Config.Idle] allows. A lease of zero rolls it back, so that the operation is
// absent.
func (t *Transactional) Renew(ctx context.Context, k once.Key, o once.Owner, lease time.Duration) error {
	if lease <= 0 {
		return t.Release(ctx, k, o)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if op := t.find(k, o); op == nil {
		return once.ErrLost
	}
	return nil
}

// Release implements [once.Store]: it rolls the transaction back.
func (t *Transactional) Release(ctx context.Context, k once.Key, o once.Owner) error {
	op, err := t.end(ctx, k, o)
	switch {
	case errors.Is(err, errInUse):
		return nil
	case err != nil:
		return err
	case op == nil:
		return once.ErrLost
	}
	defer op.leave()
	if op.conn == nil { // its COMMIT may have been carried out
		err := t.settle(ctx, op, nil)
		if errors.Is(err, once.ErrRolledBack) {
			return nil
		}
		if err == nil {
			err = once.ErrLost // it was
		}
		return err
	}
	t.rollBack(ctx, op)
	return nil
}

// end takes the operation for the caller alone, who must leave it, and lets nobody use its
// transaction any more. It returns nil if there is none.
func (t *Transactional) end(ctx context.Context, k once.Key, o once.Owner) (*operation, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	op := t.find(k, o)
	if op == nil {
		return nil, nil
	}
	select {
	case op.ending <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if t.find(k, o) != op { // it has ended meanwhile
		op.leave()
		return nil, nil
	}
	if op.conn != nil && !op.tx.end() {
		t.cut(op)
		op.leave()
		return nil, errInUse
	}
	return op, nil
}

// errInUse says that an operation has returned while its transaction was in use. It was rolled
// back.
var errInUse = once.NoEffect(errors.New("oncepg: the operation has left its transaction in use, and it was rolled " +
	"back; close all rows, and wait for all goroutines"))

// cut ends the transaction of an operation that is using it right now. The connection's state is the
// operation's; so only the socket may be touched, and the server rolls back when it notices.
func (t *Transactional) cut(op *operation) {
	op.conn.Hijack().PgConn().Conn().Close()
	op.conn = nil
	t.remove(op)
}

func (op *operation) leave() { <-op.ending }

// rollBack ends the transaction without a trace: by saying so, or else by closing the connection,
// to the same effect.
func (t *Transactional) rollBack(ctx context.Context, op *operation) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.store.cfg.Timeout)
	defer cancel()
	if err := op.tx.inner.Rollback(ctx); err != nil {
		op.conn.Conn().Close(ctx)
	}
	t.letGo(op)
}

// letGo gives the operation's connection back.
func (t *Transactional) letGo(op *operation) {
	op.conn.Release()
	op.conn = nil
	t.remove(op)
}

// Load implements [once.Store]. What an open transaction has claimed is absent to it.
func (t *Transactional) Load(ctx context.Context, k once.Key) (once.Record, error) {
	return t.store.Load(ctx, k)
}

// List implements [once.Lister]. It yields what is done.
func (t *Transactional) List(ctx context.Context, f once.Filter) iter.Seq2[once.Record, error] {
	return t.store.List(ctx, f)
}

// Sweep implements [once.Sweeper].
func (t *Transactional) Sweep(ctx context.Context) (int, error) { return t.store.Sweep(ctx) }

// Forget implements [once.Forgetter]. An operation that runs in this process under that owner is
// rolled back.
func (t *Transactional) Forget(ctx context.Context, k once.Key, o once.Owner) error {
	if t.find(k, o) != nil {
		return t.Release(ctx, k, o)
	}
	err := t.store.Forget(ctx, k, o)
	if errors.Is(err, once.ErrNotFound) && t.runs(k) {
		return once.ErrLost
	}
	return err
}

// runs reports whether somebody in this process has claimed the operation.
func (t *Transactional) runs(k once.Key) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, op := range t.open {
		if op.key == k {
			return true
		}
	}
	return false
}

// Guarantees implements [once.Guarantor].
func (t *Transactional) Guarantees() once.Guarantees {
	g := t.store.Guarantees()
	g.Notes = append(g.Notes, "In transactional mode an outcome can only be lost together with its operation's effects.")
	return g
}

// Doctor is [Store.Doctor].
func (t *Transactional) Doctor(ctx context.Context) ([]string, error) { return t.store.Doctor(ctx) }

// Close ends the store and its connections, unless they are the caller's. Operations that run
// are rolled back. Verbs that follow return [once.ErrClosed].
func (t *Transactional) Close() error {
	t.mu.Lock()
	t.closed = true
	running := make([]*operation, 0, len(t.open))
	for _, op := range t.open {
		running = append(running, op)
	}
	t.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), t.store.cfg.Timeout)
	defer cancel()
	var errs []error
	for _, op := range running {
		if err := t.Release(ctx, op.key, op.owner); err != nil && !errors.Is(err, once.ErrLost) {
			errs = append(errs, fmt.Errorf("oncepg: an operation could not be rolled back: %w", err))
		}
	}
	return errors.Join(append(errs, t.store.Close())...)
}
