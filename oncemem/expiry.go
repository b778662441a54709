package oncemem

import "context"

// Claims pay for expiry: each removes up to so many records that are over from its own shard, and
// as many from another one, so that memory is given back faster than new records take it.
const expirePerClaim = 4

// reschedule puts the record in the queue where it belongs after it changed.
func (sh *shard) reschedule(r *record) {
	if due := r.due(); due != never {
		sh.queue.set(r, due)
	} else {
		sh.queue.remove(r)
	}
	sh.publish()
}

func (sh *shard) publish() {
	if first := int64(sh.queue.first()); sh.due.Load() != first {
		sh.due.Store(first)
	}
}

// expire removes up to limit records that are over, and returns how many.
func (sh *shard) expire(s *Store, now instant, limit int) int {
	n := 0
	for n < limit && len(sh.queue) > 0 && sh.queue[0].due <= now {
		sh.remove(s, sh.queue[0].r)
		n++
	}
	return n
}

// expireElsewhere removes some records that are over from a shard picked by the hash, unless
// somebody is using that shard.
func (s *Store) expireElsewhere(hash uint64, now instant) {
	sh := &s.shards[hash>>32%shardCount]
	if sh.due.Load() > int64(now) || !sh.mu.TryLock() {
		return
	}
	defer sh.mu.Unlock()
	sh.expire(s, now, expirePerClaim)
}

// sweepStep bounds how many records are removed while one shard's verbs wait.
const sweepStep = 256

// sweep removes up to sweepStep records that are over from one shard, and returns how many.
func (sh *shard) sweep(s *Store, now instant) int {
	if sh.due.Load() > int64(now) {
		return 0
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.expire(s, now, sweepStep)
}

// makeRoom removes some records that are over, wherever it finds them, and reports whether it
// found any.
func (s *Store) makeRoom(now instant) bool {
	for i := range s.shards {
		if s.shards[i].sweep(s, now) > 0 {
			return true
		}
	}
	return false
}

// Sweep removes all records that are over. Claims do the same bit by bit; Sweep is for a store
// that is to give back memory although nobody claims anything.
func (s *Store) Sweep(ctx context.Context) (int, error) {
	s.init()
	swept, now := 0, s.now()
	for i := range s.shards {
		for {
			if err := ctx.Err(); err != nil {
				return swept, err
			}
			n := s.shards[i].sweep(s, now)
			swept += n
			if n == 0 {
				break
			}
		}
	}
	return swept, nil
}
