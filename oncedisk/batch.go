package oncedisk

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oncehq/once"
)

// A batch is what the committer writes and makes durable at once: the entries of all verbs that
// came while it was busy with the batch before. No timer is involved: a lone verb is a batch of
// one at once, and the busier the store, the larger the batches.
type batch struct {
	seg    *segment
	offset int64 // in the segment
	buf    []byte
	last   bool          // of its segment: it ends with a seal entry
	done   chan struct{} // closed when the batch is durable, or failed
	err    error         // set before done is closed

	// soon is closed after done, or before it if the disk takes longer than patience; then late is
	// set. To wait for one channel that comes soon is cheaper than for two, and the caller's
	// context, which may have to be made for it, is needed only if the disk hangs.
	soon chan struct{}
	late bool // guarded by the log's mutex until soon is closed
}

// patience is how long a verb waits for the disk before it looks at its context.
const patience = 20 * time.Millisecond

// newBatch returns one that starts there.
func newBatch(seg *segment, offset int64) *batch {
	return &batch{seg: seg, offset: offset, done: make(chan struct{}), soon: make(chan struct{})}
}

// wait returns true when the batch is done, and false if the context is done before.
func (b *batch) wait(ctx context.Context) bool {
	<-b.soon
	if !b.late {
		return true
	}
	select {
	case <-b.done:
		return true
	case <-ctx.Done():
		return false
	}
}

// A ticket is what a verb holds of the batch that has its entry.
type ticket struct {
	*batch
	loc  location
	size int64
}

var (
	errMoved  = errors.New("the log has moved on to another segment")
	errNoRoom = errors.New("no segment has room for the entry")
)

// maxBatch bounds what is held in memory for one batch, beside its last entry.
const maxBatch = 4 << 20

// A log appends entries to a sequence of segments of one size. One committer goroutine writes.
type log struct {
	vol   volume
	clock *clock

	alarm *alarm

	// full says why no further segment can be prepared, if so. Claims are refused then, and what
	// is left of the active segment is kept for the operations that are claimed already.
	full atomic.Pointer[error]

	current atomic.Uint64         // number of the active segment
	broken  atomic.Pointer[error] // the first failure: nothing is acknowledged after it

	mu      sync.Mutex
	active  *segment    // takes the next entry
	ahead   *segment    // follows the active one; nil: not prepared yet
	queue   []*batch    // to be written, oldest first; the last one still takes entries
	writing *batch      // what the committer has taken from the queue; or nil
	slow    *time.Timer // runs while it is writing
	spare   [][]byte    // buffers for batches
	idle    bool        // the committer waits for wake
	closed  bool

	changed chan struct{} // closed and made anew when ahead, full, closed or err changes
	wanted  chan struct{} // tells the preparer that ahead was used
	wake    chan struct{}
	stopped chan struct{} // closed by the committer when it ends
}

func newLog(v volume, c *clock, a *alarm, active, ahead *segment) *log {
	l := &log{
		vol: v, clock: c, alarm: a, active: active, ahead: ahead,
		changed: make(chan struct{}),
		wanted:  make(chan struct{}, 1),
		wake:    make(chan struct{}, 1),
		stopped: make(chan struct{}),
	}
	l.slow = time.AfterFunc(time.Hour, l.tellLate)
	l.slow.Stop()
	l.current.Store(active.number)
	if ahead == nil {
		l.wanted <- struct{}{}
	}
	return l
}

// number returns the number of the segment that takes entries, or of an earlier one.
func (l *log) number() uint64 { return l.current.Load() }

// A note is an entry on its way into the log.
type note struct {
	*entry
	encoded []byte
	hash    uint64
	size    int64 // what it takes on disk, with the open entry that an end entry completes
}

// append puts an encoded entry into the current batch. If want is not nil, the entry is valid in
// that segment only, and errMoved says that it is too late for that. The caller must lower the
// segment's pending count when it has brought the index up to date.
func (l *log) append(ctx context.Context, n note, want *segment) (ticket, error) {
	for {
		l.mu.Lock()
		t, err := l.put(n, want)
		changed := l.changed
		l.mu.Unlock()
		if err != errNoRoom {
			return t, err
		}
		if full := l.full.Load(); full != nil {
			return t, fmt.Errorf("oncedisk: no room, not even what was set aside for operations in flight; "+
				"free some space and try again: %w", *full)
		}
		// The segment is full and the next one not ready: writers are faster than the disk
		// takes zeros.
		select {
		case <-changed:
		case <-ctx.Done():
			return ticket{}, ctx.Err()
		}
	}
}

// put is append with the log locked. It returns errNoRoom when there is no further segment.
func (l *log) put(n note, want *segment) (ticket, error) {
	switch {
	case l.broken.Load() != nil:
		return ticket{}, l.failed()
	case l.closed:
		return ticket{}, once.ErrClosed
	}
	for !l.active.takes(int64(len(n.encoded))) {
		if err := l.turn(); err != nil {
			return ticket{}, err
		}
	}
	seg := l.active
	if want != nil && want != seg {
		return ticket{}, errMoved
	}
	b := l.batch()
	offset, start := seg.end, len(b.buf)
	b.buf = append(b.buf, n.encoded...)
	place(b.buf[start:], seg.salt, offset, start == 0)
	seg.end += int64(len(n.encoded))
	seg.pending.Add(1)
	seg.refs = append(seg.refs, n.ref(n.hash, seg, offset, n.size))
	l.notify()
	return ticket{batch: b, loc: locate(seg.number, offset), size: n.size}, nil
}

// takes reports whether an entry of so many bytes, and a seal, may be appended. One that is made for
// larger segments must not be: see scanning.entryAt.
func (s *segment) takes(bytes int64) bool {
	return s.end+bytes+sealSize <= s.size && bytes <= s.size/4+entryOverhead
}

// batch returns the one that takes entries of the active segment.
func (l *log) batch() *batch {
	if n := len(l.queue); n > 0 {
		if b := l.queue[n-1]; b.seg == l.active && !b.last && len(b.buf) < maxBatch {
			return b
		}
	}
	b := newBatch(l.active, l.active.end)
	if n := len(l.spare); n > 0 {
		b.buf, l.spare = l.spare[n-1], l.spare[:n-1]
	}
	l.queue = append(l.queue, b)
	return b
}

// turn seals the active segment and goes on to the next, if that is ready.
func (l *log) turn() error {
	if l.ahead == nil {
		return errNoRoom
	}
	b := l.batch()
	start := len(b.buf)
	l.active.sealedAt = l.clock.now()
	b.buf = (&entry{kind: kindSeal, at: l.active.sealedAt}).encode(b.buf)
	place(b.buf[start:], l.active.salt, l.active.end, start == 0)
	l.active.end += sealSize
	b.last = true
	l.active, l.ahead = l.ahead, nil
	l.current.Store(l.active.number)
	l.alarm.set(b.seg.sealedAt.plus(hintDelay))
	l.wanted <- struct{}{}
	l.notify()
	return nil
}

// rotate seals the segment, if it is still the active one, so that it can be deleted.
func (l *log) rotate(s *segment) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken.Load() == nil && !l.closed && l.active == s {
		l.turn() // without a next segment there is nothing to be gained yet
	}
}

// extend gives the log its next segment.
func (l *log) extend(next *segment) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ahead = next
	l.full.Store(nil)
	l.change()
}

// exhaust says that there is no next segment for the time being.
func (l *log) exhaust(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.full.Store(&err)
	l.change()
}

func (l *log) change() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// notify wakes the committer.
func (l *log) notify() {
	if l.idle {
		l.idle = false
		l.wake <- struct{}{}
	}
}

// failed returns the error that ended the log, if one did.
func (l *log) failed() error {
	if err := l.broken.Load(); err != nil {
		return *err
	}
	return nil
}

// fail ends the log: what was being written may be on the disk or not, and a flush that failed
// must not be repeated, since the kernel may have dropped the pages that it could not write.
func (l *log) fail(err error) error {
	err = fmt.Errorf("oncedisk: the store acknowledges nothing any more; "+
		"repair the disk and open it again: %w", err)
	if l.broken.CompareAndSwap(nil, &err) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.change()
	}
	return l.failed()
}

// backlog reports whether the committer is far behind.
func (l *log) backlog() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queue) > 1
}
