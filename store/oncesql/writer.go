package oncesql

import (
	"context"
	"database/sql"
	"errors"
	"sync"

	"github.com/oncehq/once"
)

// maxCommit bounds how many changes are committed at once.
const maxCommit = 256

// A writer is the one that may write to a SQLite database, on behalf of all goroutines. Changes that
// come while it is busy wait, and are committed together: they share one transaction and one
// flush to the disk. There is no timer; a change that comes alone is carried out at once.
type writer struct {
	db *sql.DB // of one connection

	mu     sync.Mutex
	queue  []*change
	busy   bool
	closed bool
	idle   sync.WaitGroup // counts the goroutine that is busy

	conn *connection // of the goroutine that is busy
}

// A change is what somebody wants to write, and what came of it.
type change struct {
	ctx  context.Context
	step func(*connection) (int64, error)
	n    int64
	err  error
	done chan struct{}
}

// do has the step carried out in a transaction, and returns what it returned when that is on
// disk. If ctx ends meanwhile it is unknown what came of it.
func (w *writer) do(ctx context.Context, step func(*connection) (int64, error)) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	c := &change{ctx: ctx, step: step, done: make(chan struct{})}
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return 0, once.ErrClosed
	}
	w.queue = append(w.queue, c)
	if !w.busy {
		w.busy = true
		w.idle.Go(w.work)
	}
	w.mu.Unlock()
	select {
	case <-c.done:
		return c.n, c.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// work commits what waits until nothing does.
func (w *writer) work() {
	for {
		w.mu.Lock()
		n := min(len(w.queue), maxCommit)
		if n == 0 {
			w.queue, w.busy = nil, false
			w.mu.Unlock()
			return
		}
		batch := w.queue[:n:n]
		w.queue = w.queue[n:]
		w.mu.Unlock()
		w.commit(batch)
		for _, c := range batch {
			close(c.done)
		}
	}
}

// commit carries out the changes in one transaction. An error of one of them is its own, as
// SQLite undoes only the statement, unless the whole transaction cannot go on.
func (w *writer) commit(batch []*change) {
	err := w.transact(func(c *connection) error {
		for _, ch := range batch {
			if ch.err = ch.ctx.Err(); ch.err != nil {
				continue // it has not started, and never will
			}
			ch.n, ch.err = ch.step(c)
			if endsTransaction(ch.err) {
				return ch.err
			}
		}
		return nil
	})
	for _, ch := range batch {
		if err != nil {
			ch.n, ch.err = 0, err
		}
	}
}

// transact runs the steps between BEGIN and COMMIT. After an error the transaction is undone,
// with the connection if need be.
func (w *writer) transact(steps func(*connection) error) error {
	if w.conn == nil {
		conn, err := w.db.Conn(context.Background())
		if err != nil {
			return err
		}
		w.conn = &connection{Conn: conn, prepared: make(map[string]*sql.Stmt)}
	}
	// IMMEDIATE: a transaction that begins by reading and then writes could fail in between, if
	// another process wrote meanwhile.
	_, err := w.conn.exec("BEGIN IMMEDIATE")
	if err == nil {
		if err = steps(w.conn); err == nil {
			_, err = w.conn.exec("COMMIT")
		}
	}
	if err != nil {
		if _, undone := w.conn.exec("ROLLBACK"); undone != nil {
			w.conn.drop()
			w.conn = nil
		}
	}
	return err
}

// close waits for what is under way, and closes the connection.
func (w *writer) close() error {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.idle.Wait()
	if w.conn != nil {
		w.conn.drop()
	}
	return w.db.Close()
}

// A connection keeps its statements prepared. Its work is bounded by the busy timeout, and not
// by a context, since it is done for many.
type connection struct {
	*sql.Conn
	prepared map[string]*sql.Stmt
}

func (c *connection) prepare(text string) (*sql.Stmt, error) {
	if s := c.prepared[text]; s != nil {
		return s, nil
	}
	s, err := c.PrepareContext(context.Background(), text)
	if err == nil {
		c.prepared[text] = s
	}
	return s, err
}

// exec returns the number of rows that the statement changed.
func (c *connection) exec(text string, args ...any) (int64, error) {
	s, err := c.prepare(text)
	if err != nil {
		return 0, err
	}
	res, err := s.Exec(args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// scan reads the one row of a statement, and reports whether there is one.
func (c *connection) scan(text string, args []any, into ...any) (bool, error) {
	s, err := c.prepare(text)
	if err != nil {
		return false, err
	}
	err = s.QueryRow(args...).Scan(into...)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// drop closes the connection for good: it is not to be used by anybody else.
func (c *connection) drop() {
	c.Raw(func(any) error { return errBadConn })
	c.Close()
}
