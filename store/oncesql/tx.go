package oncesql

import (
	"context"
	"database/sql"
	"sync/atomic"

	"github.com/oncehq/once"
)

type txKey struct{}

// Tx returns the transaction of the operation that runs under ctx, if it is one of a
// [Transactional]'s. The operation's effects belong there.
func Tx(ctx context.Context) (*Transaction, bool) {
	tx, ok := ctx.Value(txKey{}).(*Transaction)
	return tx, ok
}

// Bind implements [once.Binder]: [Tx] finds the transaction in the context.
func (t *Transactional) Bind(ctx context.Context, rec once.Record) context.Context {
	if op := t.find(rec.Key, rec.Owner); op != nil {
		return context.WithValue(ctx, txKey{}, op.tx)
	}
	return ctx
}

// A Transaction is an operation's. It has those methods of [sql.Tx] that take a context, which is what
// generated code asks for; it is committed with the outcome, or rolled back, by the guard. After
// the operation has ended every use fails with [sql.ErrTxDone].
//
// The statements must not end the transaction themselves, as COMMIT does, or CREATE TABLE with MySQL: if the
// process dies after that, the operation is in doubt.
//
// Where the server has chosen the transaction to give way to another one, the errors of
// ExecContext, QueryContext and PrepareContext say so by [once.ErrRolledBack]. The errors of rows, of
// prepared statements and of QueryRowContext are the driver's; see [RolledBack].
type Transaction struct {
	tx      *sql.Tx
	ended   atomic.Bool // nothing may be begun any more
	over    atomic.Bool // the engine has rolled the transaction back
	yielded atomic.Bool // in favour of another one
}

// use reports whether the transaction can still be used.
func (x *Transaction) use() error {
	switch {
	case x.ended.Load():
		return sql.ErrTxDone
	case x.yielded.Load():
		return once.ErrRolledBack
	case x.over.Load():
		// Statements would be committed one by one.
		return sql.ErrTxDone
	}
	return nil
}

// told takes note of an error, and passes it on to the operation.
func (x *Transaction) told(err error) error {
	if endsTransaction(err) {
		x.over.Store(true)
	}
	if isYielding(err) {
		x.yielded.Store(true)
	}
	return RolledBack(err)
}

// ExecContext is like that of [sql.Tx].
func (x *Transaction) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	if err := x.use(); err != nil {
		return nil, err
	}
	res, err := x.tx.ExecContext(ctx, query, args...)
	return res, x.told(err)
}

// PrepareContext is like that of [sql.Tx].
func (x *Transaction) PrepareContext(ctx context.Context, query string) (*sql.Stmt, error) {
	if err := x.use(); err != nil {
		return nil, err
	}
	stmt, err := x.tx.PrepareContext(ctx, query)
	return stmt, x.told(err)
}

// QueryContext is like that of [sql.Tx].
func (x *Transaction) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if err := x.use(); err != nil {
		return nil, err
	}
	rows, err := x.tx.QueryContext(ctx, query, args...)
	return rows, x.told(err)
}

// QueryRowContext is like that of [sql.Tx].
func (x *Transaction) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	if x.use() != nil {
		// There is no other way to make a row that has an error.
		done, cancel := context.WithCancel(ctx)
		cancel()
		return x.tx.QueryRowContext(done, query, args...)
	}
	row := x.tx.QueryRowContext(ctx, query, args...)
	x.told(row.Err())
	return row
}

// RolledBack makes an error say [once.ErrRolledBack], if it is that of a transaction which was
// rolled back in favour of another one, and returns every other error as it is. An operation
// should return the errors of rows and of prepared statements through it, so that [once.Do]
// runs it again.
func RolledBack(err error) error {
	if isYielding(err) {
		return &yieldedError{err}
	}
	return err
}

// A yieldedError is the engine's, and also once.ErrRolledBack.
type yieldedError struct{ err error }

func (e *yieldedError) Error() string {
	return "oncesql: rolled back in favour of another transaction: " + e.err.Error()
}
func (e *yieldedError) Unwrap() []error { return []error{e.err, once.ErrRolledBack} }
