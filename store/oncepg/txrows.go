package oncepg

import (
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// txRows are rows of a transaction. While they are open they own its connection, unless they are
// part of a batch.
type txRows struct {
	pgx.Rows
	tx   *transaction
	owns bool
}

// free ends the use of the connection, once.
func (r *txRows) free() {
	if r.owns {
		r.owns = false
		r.tx.free()
	}
}

func (r *txRows) Close() {
	r.Rows.Close()
	r.free()
}

func (r *txRows) Err() error { return r.tx.told(r.Rows.Err()) }

func (r *txRows) Next() bool {
	if r.Rows.Next() {
		return true
	}
	r.Close()
	return false
}

func (r *txRows) Scan(dest ...any) error {
	err := r.Rows.Scan(dest...)
	if err != nil {
		r.Close()
	}
	return r.tx.told(err)
}

func (r *txRows) Values() ([]any, error) {
	values, err := r.Rows.Values()
	if err != nil {
		r.Close()
	}
	return values, r.tx.told(err)
}

// txRow is a row of a transaction that is not read yet.
type txRow struct {
	pgx.Row
	tx   *transaction
	owns bool
}

func (r *txRow) Scan(dest ...any) error {
	err := r.Row.Scan(dest...)
	if r.owns {
		r.owns = false
		r.tx.free()
	}
	return r.tx.told(err)
}

// txBatch are the results of a batch, which owns the connection until it is closed.
type txBatch struct {
	pgx.BatchResults
	tx     *transaction
	closed bool
}

func (b *txBatch) Exec() (pgconn.CommandTag, error) {
	tag, err := b.BatchResults.Exec()
	return tag, b.tx.told(err)
}

func (b *txBatch) Query() (pgx.Rows, error) {
	rows, err := b.BatchResults.Query()
	return &txRows{Rows: rows, tx: b.tx}, b.tx.told(err)
}

func (b *txBatch) QueryRow() pgx.Row { return &txRow{Row: b.BatchResults.QueryRow(), tx: b.tx} }

func (b *txBatch) Close() error {
	err := b.BatchResults.Close()
	if !b.closed {
		b.closed = true
		b.tx.free()
	}
	return b.tx.told(err)
}

// failedRow is one that could not be asked for.
type failedRow struct{ err error }

func (r failedRow) Scan(...any) error { return r.err }

// failedRows are rows that could not be asked for.
func failedRows(err error) pgx.Rows {
	var b pgx.Batch
	b.Queue("")
	rows, _ := pgx.FailedBatchResults(&b, err).Query()
	return rows
}
