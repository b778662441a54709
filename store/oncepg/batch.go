package oncepg

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncehq/once"
)

const (
	// maxFlying is how many batches may be on their way at once: while the server works at one,
	// the next is under way to it. More would make them smaller, and each pays for a commit.
	maxFlying = 2

	// maxBatch and maxBytes bound how long one batch takes, in which it holds its row locks: a large
	// outcome must not cost others their time.
	maxBatch = 256
	maxBytes = 4 << 20

	// singleTries is how often a verb alone is tried when the server rolls it back for another.
	singleTries = 5
)

// A call is one statement and what came of it.
type call struct {
	ctx  context.Context
	key  once.Key
	sql  string
	args []any
	row  *row // where the row goes; nil: only whether there is one

	found bool // there is a row
	err   error
	done  chan struct{} // closed when the rest is set; nil while nobody waits
	of    *batch
}

// size returns about how much there is to be sent.
func (c *call) size() (n int) {
	for _, arg := range c.args {
		if b, ok := arg.([]byte); ok {
			n += len(b)
		}
	}
	return n
}

// A batch is what one round trip carries. Its context ends when nobody waits for it any more.
type batch struct {
	calls   []*call
	waiting atomic.Int32
	cancel  context.CancelFunc
}

// A batcher carries the calls of all goroutines to the server: one that comes alone at once,
// and those that come while others are on their way together, as soon as one of these
// is back. The busier the server, the larger the batches: there is no timer. A batch is pipelined in one
// implicit transaction, so that all of it shares one round trip and one flush of the log.
type batcher struct {
	pool    *pgxpool.Pool
	timeout time.Duration
	before  []string // statements that open each transaction; none: an implicit one
	after   []string

	mu     sync.Mutex
	queue  []*call
	flying int
	closed bool
}

// do carries out the call. If its context ends meanwhile it is unknown what came of it.
func (b *batcher) do(c *call) error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	b.mu.Lock()
	switch {
	case b.closed:
		b.mu.Unlock()
		return once.ErrClosed
	case b.flying < maxFlying:
		b.flying++
		b.mu.Unlock()
		ctx, cancel := context.WithTimeout(c.ctx, b.timeout)
		b.alone(ctx, c)
		cancel()
		b.land()
		return c.err
	}
	c.done = make(chan struct{})
	b.queue = append(b.queue, c)
	b.mu.Unlock()
	return b.await(c)
}

// doAll carries out the calls, which have different keys, in as few batches as they fit in, and
// returns what came of each. Only a call without an error may be looked at.
func (b *batcher) doAll(calls []*call) []error {
	errs := make([]error, len(calls))
	for _, c := range calls {
		c.done = make(chan struct{})
	}
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		for i := range errs {
			errs[i] = once.ErrClosed
		}
		return errs
	}
	b.queue = append(b.queue, calls...)
	fly := b.flying < maxFlying
	if fly {
		b.flying++
	}
	b.mu.Unlock()
	if fly {
		b.land()
	}
	for i, c := range calls {
		errs[i] = b.await(c)
	}
	return errs
}

// await waits for a call that is queued. After an error it may still be under way, and belongs
// to the batch.
func (b *batcher) await(c *call) error {
	select {
	case <-c.done:
		return c.err
	case <-c.ctx.Done():
	}
	b.mu.Lock()
	of := c.of
	b.mu.Unlock()
	if of != nil && of.waiting.Add(-1) == 0 {
		of.cancel()
	}
	return context.Cause(c.ctx)
}

// land makes use of the room that a batch has left: for what waits, if anything does.
func (b *batcher) land() {
	b.mu.Lock()
	defer b.mu.Unlock()
	next := &batch{}
	for size := 0; len(b.queue) > 0 && len(next.calls) < maxBatch; {
		c := b.queue[0]
		if size += c.size(); size > maxBytes && len(next.calls) > 0 {
			break
		}
		b.queue[0] = nil
		b.queue = b.queue[1:]
		if c.ctx.Err() != nil {
			c.err = context.Cause(c.ctx) // it has not started, and never will
			close(c.done)
			continue
		}
		c.of = next
		next.calls = append(next.calls, c)
	}
	if len(b.queue) == 0 {
		b.queue = nil
	}
	if len(next.calls) == 0 {
		b.flying--
		return
	}
	next.waiting.Store(int32(len(next.calls)))
	ctx, cancel := context.WithTimeout(context.Background(), b.timeout)
	next.cancel = cancel
	go b.fly(ctx, next)
}

// fly carries out a batch and then whatever waits.
func (b *batcher) fly(ctx context.Context, of *batch) {
	b.together(ctx, of.calls)
	of.cancel()
	for _, c := range of.calls {
		close(c.done)
	}
	b.land()
}

// together carries out the calls in one transaction. They are sorted by key, so that two
// batches never wait for each other's row locks. If the server refuses one of them, none was
// carried out, and they are tried one by one.
func (b *batcher) together(ctx context.Context, calls []*call) {
	if len(calls) == 1 {
		b.alone(ctx, calls[0])
		return
	}
	slices.SortStableFunc(calls, func(x, y *call) int {
		return cmp.Or(cmp.Compare(x.key.Scope, y.key.Scope), cmp.Compare(x.key.ID, y.key.ID))
	})
	err := b.send(ctx, calls)
	if !isRolledBack(err) {
		for _, c := range calls {
			c.err = err
		}
		return
	}
	for _, c := range calls {
		if c.err = c.ctx.Err(); c.err != nil {
			continue
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), b.timeout)
		b.alone(ctx, c)
		cancel()
	}
}

// alone carries out one call, again if the server rolled it back in favour of another
// transaction.
func (b *batcher) alone(ctx context.Context, c *call) {
	for try := 1; ; try++ {
		c.err = b.send(ctx, []*call{c})
		if !isYielding(c.err) || try == singleTries || ctx.Err() != nil {
			return
		}
	}
}

// send makes the round trip. Only a nil error means that the calls were carried out, all of
// them: their rows may be there already when the commit fails. After an error for which
// isRolledBack holds none was; after any other it is unknown.
func (b *batcher) send(ctx context.Context, calls []*call) error {
	err := b.sendOnce(ctx, calls)
	if err != nil && ctx.Err() == nil && pgconn.SafeToRetry(err) {
		err = b.sendOnce(ctx, calls) // the connection was dead before anything was sent
	}
	return err
}

func (b *batcher) sendOnce(ctx context.Context, calls []*call) (err error) {
	conn, err := b.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if sqlState(err) == readOnly {
			// The server has become a standby. The pool has to look for the primary.
			conn.Conn().Close(ctx)
		}
		conn.Release()
	}()
	if len(calls) == 1 && len(b.before) == 0 {
		// The same in fewer messages.
		err = calls[0].scan(conn.QueryRow(ctx, calls[0].sql, calls[0].args...))
	} else {
		err = b.sendAll(ctx, conn.Conn(), calls)
	}
	if err == nil {
		err = unconfirmed(conn.Conn())
	}
	return err
}

func (b *batcher) sendAll(ctx context.Context, conn *pgx.Conn, calls []*call) error {
	var p pgx.Batch
	for _, sql := range b.before {
		p.Queue(sql)
	}
	for _, c := range calls {
		p.Queue(c.sql, c.args...)
	}
	for _, sql := range b.after {
		p.Queue(sql)
	}
	results := conn.SendBatch(ctx, &p)
	err := b.read(results, calls)
	if closing := results.Close(); err == nil {
		err = closing
	}
	return err
}

func (b *batcher) read(results pgx.BatchResults, calls []*call) error {
	for range b.before {
		if _, err := results.Exec(); err != nil {
			return err
		}
	}
	for _, c := range calls {
		if err := c.scan(results.QueryRow()); err != nil {
			return err
		}
	}
	for range b.after {
		if _, err := results.Exec(); err != nil {
			return err
		}
	}
	return nil
}

// scan takes note of what the statement returned.
func (c *call) scan(from pgx.Row) error {
	var err error
	if c.row != nil {
		*c.row = row{}
		err = from.Scan(append(c.row.columns(), &c.row.fresh)...)
	} else {
		err = from.Scan(nil)
	}
	c.found = err == nil
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	return err
}

// close lets nothing more start. What is under way ends by itself.
func (b *batcher) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	for _, c := range b.queue {
		c.err = once.ErrClosed
		close(c.done)
	}
	b.queue = nil
}

func (b *batcher) isClosed() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.closed
}
