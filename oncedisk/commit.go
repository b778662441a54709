package oncedisk

import (
	"runtime"
	"slices"
)

// run is the committer: the one goroutine that writes to the log.
func (l *log) run() {
	defer close(l.stopped)
	for b := l.next(); b != nil; b = l.next() {
		b.err = l.commit(b)
		if b.last && b.err == nil {
			b.seg.sealed.Store(true)
		}
		l.finish(b)
		// Most of those who were waiting have something to append at once. If they come first,
		// one flush serves them all, and not every other flush a half of them.
		runtime.Gosched()
		if b.err == nil && !b.last {
			l.mark(b)
		}
	}
}

// next waits for a batch and takes it. It returns nil when the log is closed.
func (l *log) next() *batch {
	l.mu.Lock()
	for len(l.queue) == 0 {
		if l.closed {
			l.mu.Unlock()
			return nil
		}
		l.idle = true
		l.mu.Unlock()
		<-l.wake
		l.mu.Lock()
	}
	b := l.queue[0]
	l.queue[0] = nil
	l.queue = l.queue[1:]
	l.writing = b
	l.slow.Reset(patience)
	l.mu.Unlock()
	return b
}

// finish tells those who wait for the batch, and keeps its buffer for another one.
func (l *log) finish(b *batch) {
	buf := b.buf
	b.buf = nil
	close(b.done)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.writing = nil
	l.slow.Stop()
	if !b.late {
		close(b.soon)
	}
	const enough = 2
	if len(l.spare) < enough && cap(buf) <= 2*maxBatch {
		l.spare = append(l.spare, buf[:0])
	}
}

// tellLate tells all who wait that the disk takes long.
func (l *log) tellLate() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.writing == nil {
		return // it has just finished
	}
	for _, b := range slices.Concat(l.queue, []*batch{l.writing}) {
		if !b.late {
			b.late = true
			close(b.soon)
		}
	}
	l.slow.Reset(patience) // for batches that are begun meanwhile
}

// commit makes a batch durable, or the log fails.
func (l *log) commit(b *batch) error {
	if err := l.failed(); err != nil {
		return err
	}
	if err := writePage(b.seg, &b.buf, b.offset); err != nil {
		return l.fail(err)
	}
	if err := b.seg.f.Sync(); err != nil {
		return l.fail(err)
	}
	return nil
}

// writePage writes buf and zeros up to the end of its last page.
func writePage(s *segment, buf *[]byte, offset int64) error {
	end := offset + int64(len(*buf))
	padding := min((end+page-1)/page*page, max(s.size, end)) - end
	*buf = append(*buf, zeros[:padding]...)
	_, err := s.f.WriteAt(*buf, offset)
	return err
}

var zeros [page]byte

// mark notes behind a batch that it was acknowledged, if no other batch follows at once: were
// it damaged later, it could not be told from one that was never finished. The mark itself is
// overwritten by the next batch, and need not survive a loss of power.
func (l *log) mark(b *batch) {
	l.mu.Lock()
	end, idle := b.seg.end, len(l.queue) == 0
	l.mu.Unlock()
	if idle {
		if err := b.seg.mark(end, l.clock.now()); err != nil {
			l.fail(err)
		}
	}
}

// mark writes a mark at the end of the entries, if there is room.
func (s *segment) mark(end int64, now instant) error {
	if end+markSize > s.size {
		return nil
	}
	var stack [markSize]byte
	buf := (&entry{kind: kindMark, at: now}).encode(stack[:0])
	place(buf, s.salt, end, true)
	_, err := s.f.WriteAt(buf, end)
	return err
}

// close lets the committer finish what was appended, and ends it.
func (l *log) close() error {
	l.mu.Lock()
	l.closed = true
	l.change()
	l.notify()
	l.mu.Unlock()
	<-l.stopped
	return l.failed()
}
