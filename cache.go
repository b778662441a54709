package once

import (
	"container/list"
	"strings"
	"sync"
	"time"
)

// A cache keeps records that are done, which never change until they expire, so that replaying
// one again asks no store. The least recently replayed go first. The zero value keeps nothing.
type cache struct {
	max int64 // bytes; does not change

	mu    sync.Mutex // guards the rest
	size  int64
	m     map[Key]*list.Element // of *cachedRecord
	order list.List             // the most recently used first
}

type cachedRecord struct {
	rec     Record
	expires time.Time
}

// cachedOverhead is about what an entry takes beside its key and its outcome.
const cachedOverhead = 400

func (r *cachedRecord) size() int64 {
	return cachedOverhead + int64(len(r.rec.Key.Scope)+len(r.rec.Key.ID)+len(r.rec.Outcome.Type)+cap(r.rec.Outcome.Data))
}

func (c *cache) get(k Key) (Record, bool) {
	if c.max == 0 {
		return Record{}, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.m[k]
	if e == nil {
		return Record{}, false
	}
	r := e.Value.(*cachedRecord)
	if !time.Now().Before(r.expires) {
		c.drop(e)
		return Record{}, false
	}
	c.order.MoveToFront(e)
	return r.rec, true
}

// put keeps a done record that the store returned to a call sent at that instant: its retention
// cannot be over sooner than what was left of it after that.
func (c *cache) put(rec Record, sent time.Time) {
	if c.max == 0 {
		return
	}
	r := &cachedRecord{rec: rec, expires: after(sent, rec.Retention)}
	// A copy: the caller's key may have been cut from something large, which must not be kept alive.
	r.rec.Key = Key{Scope: strings.Clone(rec.Key.Scope), ID: strings.Clone(rec.Key.ID)}
	size := r.size()
	if size > c.max {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.m[rec.Key]; old != nil {
		c.drop(old)
	}
	for c.size+size > c.max {
		c.drop(c.order.Back())
	}
	if c.m == nil {
		c.m = make(map[Key]*list.Element)
	}
	c.m[rec.Key] = c.order.PushFront(r)
	c.size += size
}

func (c *cache) drop(e *list.Element) {
	r := c.order.Remove(e).(*cachedRecord)
	delete(c.m, r.rec.Key)
	c.size -= r.size()
}
