package oncepg

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/oncehq/once"
)

type txKey struct{}

// Tx returns the transaction of the operation that runs under ctx, if it is one of a
// [Transactional]'s. The operation's effects belong there.
//
// It is committed with the outcome, or rolled back, by the guard: Commit and Rollback are refused
// (but Begin makes savepoints as usual). After the operation has ended every use fails with [pgx.ErrTxClosed].
// Like every pgx.Tx it must not be used by two goroutines at once. What goes past it, through Conn
// or LargeObjects, is not watched over.
func Tx(ctx context.Context) (pgx.Tx, bool) {
	tx, ok := ctx.Value(txKey{}).(*transaction)
	if !ok {
		return nil, false
	}
	return tx, true
}

// Bind implements [once.Binder]: [Tx] finds the transaction in the context.
func (t *Transactional) Bind(ctx context.Context, rec once.Record) context.Context {
	if op := t.find(rec.Key, rec.Owner); op != nil {
		return context.WithValue(ctx, txKey{}, op.tx)
	}
	return ctx
}

var (
	errCommit = errors.New("oncepg: the transaction is committed with the operation's outcome; return from the operation instead")
	errUndo   = errors.New("oncepg: the transaction is rolled back with the operation; return once.NoEffect(err) instead")
	errBusy   = errors.New("oncepg: the transaction is in use; close what an earlier query returned, and use one goroutine")
)

// A transaction is an operation's, or a savepoint in it, in the hands of the operation.
type transaction struct {
	inner pgx.Tx
	state *txState
	point bool // a savepoint
}

// txState is shared by a transaction and its savepoints.
type txState struct {
	ended   atomic.Bool // nothing may be begun any more
	busy    atomic.Bool // a statement is under way, or its rows are open
	yielded atomic.Bool // the server has rolled the transaction back in favour of another one
}

// use begins a use of the connection, which free ends.
func (x *transaction) use() error {
	if x.state.ended.Load() {
		return pgx.ErrTxClosed
	}
	if !x.state.busy.CompareAndSwap(false, true) {
		return errBusy
	}
	if x.state.ended.Load() {
		x.free()
		return pgx.ErrTxClosed
	}
	return nil
}

func (x *transaction) free() { x.state.busy.Store(false) }

// end lets nobody use the transaction any more, and reports whether nobody does.
func (x *transaction) end() bool {
	x.state.ended.Store(true)
	return x.state.busy.CompareAndSwap(false, true)
}

// told passes an error on to the operation. It makes once.Do run the operation again, if that passes it
// on in turn, where the server has chosen this transaction to give way.
func (x *transaction) told(err error) error {
	if code := sqlState(err); code == serializationFailure || code == deadlockDetected {
		x.state.yielded.Store(true)
		return &yieldedError{err}
	}
	return err
}

// A yieldedError is the server's, and also once.ErrRolledBack.
type yieldedError struct{ err error }

func (e *yieldedError) Error() string {
	return "oncepg: rolled back in favour of another transaction: " + e.err.Error()
}
func (e *yieldedError) Unwrap() []error { return []error{e.err, once.ErrRolledBack} }

func (x *transaction) Begin(ctx context.Context) (pgx.Tx, error) {
	if err := x.use(); err != nil {
		return nil, err
	}
	defer x.free()
	inner, err := x.inner.Begin(ctx)
	if err != nil {
		return nil, x.told(err)
	}
	return &transaction{inner: inner, state: x.state, point: true}, nil
}

func (x *transaction) Commit(ctx context.Context) error {
	if !x.point {
		return errCommit
	}
	if err := x.use(); err != nil {
		return err
	}
	defer x.free()
	return x.told(x.inner.Commit(ctx))
}

func (x *transaction) Rollback(ctx context.Context) error {
	if !x.point {
		return errUndo
	}
	if err := x.use(); err != nil {
		return err
	}
	defer x.free()
	return x.told(x.inner.Rollback(ctx))
}

func (x *transaction) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	if err := x.use(); err != nil {
		return pgconn.CommandTag{}, err
	}
	defer x.free()
	tag, err := x.inner.Exec(ctx, sql, args...)
	return tag, x.told(err)
}

func (x *transaction) Prepare(ctx context.Context, name, sql string) (*pgconn.StatementDescription, error) {
	if err := x.use(); err != nil {
		return nil, err
	}
	defer x.free()
	description, err := x.inner.Prepare(ctx, name, sql)
	return description, x.told(err)
}

func (x *transaction) CopyFrom(
	ctx context.Context, table pgx.Identifier, columns []string, source pgx.CopyFromSource,
) (int64, error) {
	if err := x.use(); err != nil {
		return 0, err
	}
	defer x.free()
	n, err := x.inner.CopyFrom(ctx, table, columns, source)
	return n, x.told(err)
}

func (x *transaction) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	if err := x.use(); err != nil {
		return failedRows(err), err
	}
	inner, err := x.inner.Query(ctx, sql, args...)
	rows := &txRows{Rows: inner, tx: x, owns: true}
	if err != nil {
		rows.Close()
		return rows, x.told(err)
	}
	return rows, nil
}

func (x *transaction) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	if err := x.use(); err != nil {
		return failedRow{err}
	}
	return &txRow{Row: x.inner.QueryRow(ctx, sql, args...), tx: x, owns: true}
}

func (x *transaction) SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults {
	if err := x.use(); err != nil {
		return pgx.FailedBatchResults(b, err)
	}
	return &txBatch{BatchResults: x.inner.SendBatch(ctx, b), tx: x}
}

func (x *transaction) LargeObjects() pgx.LargeObjects { return x.inner.LargeObjects() }

func (x *transaction) Conn() *pgx.Conn { return x.inner.Conn() }
