package oncesql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/oncehq/once"
)

// claimTries is how often a claim is begun anew when it has to give way to another one.
const claimTries = 20

// Claim implements [once.Store]. A claim that wins has opened a transaction and made the record
// there.
func (t *Transactional) Claim(ctx context.Context, c once.Claim) (once.Record, error) {
	if err := c.Check(); err != nil {
		return once.Record{}, err
	}
	if err := ctx.Err(); err != nil {
		return once.Record{}, err
	}
	if t.isClosed() {
		return once.Record{}, once.ErrClosed
	}
	if op := t.find(c.Key, c.Owner); op != nil {
		if !op.rec.Fingerprint.Matches(c.Fingerprint) {
			return once.Record{}, once.ErrMismatch
		}
		return op.rec, nil
	}
	for try := 1; ; try++ {
		bounded, cancel := t.bounded(ctx)
		rec, settled, err := t.claim(bounded, c)
		cancel()
		switch {
		case err == nil && settled:
			return rec, nil
		case isLockTimeout(err), errors.Is(err, errBusy) && t.runs(c.Key):
			return once.Record{}, once.ErrInFlight
		case err != nil && !isYielding(err):
			return once.Record{}, explain(err)
		case try == claimTries:
			return once.Record{}, once.ErrInFlight
		}
	}
}

// bounded limits one try: beside the server's answers it may wait for a connection and for a lock, which
// MySQL does in whole seconds.
func (t *Transactional) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	cfg := &t.store.cfg
	return context.WithTimeout(ctx, cfg.Timeout+2*cfg.LockWait+time.Second)
}

// errBusy says that no transaction can be begun, as there are too many.
var errBusy = errors.New("oncesql: the database is busy with other operations; " +
	"keep them short, raise Config.LockWait, or with MySQL Config.MaxConns")

// claim looks, and begins a transaction if there is something to be won. It reports whether the
// record is the answer; otherwise another claim was faster.
func (t *Transactional) claim(ctx context.Context, c once.Claim) (once.Record, bool, error) {
	s := t.store
	var r *row
	var err error
	if s.engine.looksFirst() {
		if r, err = s.look(ctx, c.Key); err != nil {
			return once.Record{}, false, err
		}
	}
	if r == nil {
		rec, err := t.attempt(ctx, c, nil)
		if err != nil || rec.Fence != 0 {
			return rec, true, err
		}
		if r, err = s.look(ctx, c.Key); err != nil || r == nil {
			return once.Record{}, false, err
		}
	}
	switch {
	case r.over():
	case !r.matches(c.Fingerprint):
		return once.Record{}, true, once.ErrMismatch
	case !r.inDoubt() || r.ownedBy(c.Owner) || r.attempt >= c.Takeover:
		rec := r.record(c.Key)
		if rec.Won(c) {
			// The operation was committed without an outcome: whatever it is, it is not open.
			rec.State = once.InDoubt
		}
		if s.unsure(c, r, rec) {
			return rec, true, s.confirm(ctx)
		}
		return rec, true, nil
	}
	rec, err := t.attempt(ctx, c, r)
	return rec, rec.Fence != 0, err
}

// attempt begins a transaction and claims in it: a new row, or the place of the one that was seen. If
// another claim was faster it returns the zero Record.
func (t *Transactional) attempt(ctx context.Context, c once.Claim, seen *row) (once.Record, error) {
	h, err := t.begin(ctx)
	if err != nil {
		return once.Record{}, err
	}
	rec, err := t.claimIn(ctx, h.tx, c, seen)
	if err != nil || rec.Fence == 0 {
		h.rollBack(ctx)
		return once.Record{}, err
	}
	op := &operation{
		key: c.Key, owner: c.Owner, rec: rec, held: h,
		tx: &Transaction{tx: h.tx}, ending: make(chan struct{}, 1),
	}
	if err := t.put(op); err != nil {
		h.rollBack(ctx)
		return once.Record{}, err
	}
	return rec, nil
}

// acquire waits for a connection that others use. It does not hurry a server that is slow to let
// one in.
func (t *Transactional) acquire(ctx context.Context) (*sql.Conn, error) {
	db := t.store.engine.operations()
	waiting, cancel := context.WithTimeout(ctx, t.store.cfg.LockWait)
	defer cancel()
	conn, err := db.Conn(waiting)
	if err == nil || waiting.Err() == nil || ctx.Err() != nil {
		return conn, err
	}
	if stats := db.Stats(); stats.InUse >= stats.MaxOpenConnections {
		return nil, errBusy
	}
	return db.Conn(ctx)
}

// beginTries is how many connections may turn out to be broken before they are used.
const beginTries = 3

// begin opens a transaction, which from then on does not depend on ctx.
func (t *Transactional) begin(ctx context.Context) (*held, error) {
	for try := 1; ; try++ {
		h, err := t.beginOnce(ctx)
		if !errors.Is(err, errBadConn) || try == beginTries || ctx.Err() != nil {
			return h, err
		}
	}
}

func (t *Transactional) beginOnce(ctx context.Context) (*held, error) {
	conn, err := t.acquire(ctx)
	if err != nil {
		return nil, err
	}
	lasting, free := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, free)
	tx, err := conn.BeginTx(lasting, nil)
	if err == nil && !stop() {
		tx.Rollback()
		err = context.Cause(ctx)
	}
	if err != nil {
		conn.Close()
		free()
		if isBusy(err) {
			err = errors.Join(errBusy, err)
		}
		return nil, err
	}
	return &held{engine: t.store.engine, conn: conn, tx: tx, free: free}, nil
}

// claimIn claims in the transaction. The fence is drawn when the row is this claim's own: until then it may have
// waited for one with a higher fence, which ended without a trace. It is written with
// the outcome.
func (t *Transactional) claimIn(ctx context.Context, tx *sql.Tx, c once.Claim, seen *row) (once.Record, error) {
	c.Forget = 0 // should the operation commit by itself, it is in doubt for ever
	e, st := t.store.engine, &t.store.sql
	var made int64
	var err error
	switch {
	case seen == nil:
		made, err = e.changeIn(ctx, tx, st.insert, insertArgs(c)...)
	case seen.over():
		made, err = e.changeIn(ctx, tx, st.reclaim, reclaimArgs(c, seen)...)
	default:
		made, err = e.changeIn(ctx, tx, st.takeOver, takeOverArgs(c, seen)...)
	}
	if err != nil || made == 0 {
		return once.Record{}, err
	}
	var r row
	// It has the row's lock by now. Without FOR UPDATE it would be the transaction's first look, and
	// MariaDB would refuse to change whatever changed between that and the operation's own.
	err = tx.QueryRowContext(ctx, st.txLook, []byte(c.Key.Scope), []byte(c.Key.ID)).Scan(r.columns()...)
	if err != nil {
		return once.Record{}, fmt.Errorf("oncesql: the claim cannot be read back: %w", err)
	}
	rec := r.record(c.Key)
	rec.Fence = uint64(max(made, r.now, e.moment()))
	return rec, nil
}
