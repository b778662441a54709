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

// Sweep removes all records that are over. Claims do the same bit by bit; Sweep is for a store
// that is to give back memory although nobody claims anything.
func (s *Store) Sweep(ctx context.Context) (int, error) {
	s.init()
	swept, now := 0, s.now()
	for i := range s.shards {
		sh := &s.shards[i]
		for sh.due.Load() <= int64(now) {
			if err := ctx.Err(); err != nil {
				return swept, err
			}
			sh.mu.Lock()
			n := sh.expire(s, now, sweepStep)
			sh.mu.Unlock()
			swept += n
			if n == 0 {
				break
			}
		}
	}
	return swept, ctx.Err()
}
