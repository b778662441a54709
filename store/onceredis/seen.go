package onceredis

import (
	"context"
	"hash/maphash"
	"sync/atomic"
	"time"

	"github.com/oncehq/once"
	"github.com/redis/rueidis"
)

// seenSets times seenWays bounds what a store remembers of done records: about half a megabyte.
const (
	seenSets = 2048
	seenWays = 4
)

// seen remembers of some keys that they were done when this process last looked. A claim of
// such a key is a plain read, which costs the server a fraction of a script; and only if that
// finds anything but the same record still done, the script is run as well. So what is
// remembered decides nothing, and may be wrong. Its zero value is not usable.
type seen struct {
	seed maphash.Seed
	sets [seenSets]seenSet // by the key's hash
}

// A seenSet has room for some keys of the same hash: with room for one, two of them that are replayed
// in turn would forget each other every time.
type seenSet [seenWays]atomic.Pointer[sighting]

// A sighting is a done record: a hash of its key's name, its owner, and when its retention ends
// at the earliest by this process's monotonic clock, or zero for never. It does not change.
type sighting struct {
	hash  uint64
	owner once.Owner
	ends  time.Time
}

func newSeen() *seen { return &seen{seed: maphash.MakeSeed()} }

// find returns what is remembered of a key and where, or nil.
func (m *seen) find(name string) (*sighting, *atomic.Pointer[sighting]) {
	hash := maphash.String(m.seed, name)
	set := &m.sets[hash%seenSets]
	for i := range set {
		if last := set[i].Load(); last != nil && last.hash == hash {
			return last, &set[i]
		}
	}
	return nil, nil
}

// note remembers a record that had so much of its retention left at that instant.
func (m *seen) note(name string, o once.Owner, at time.Time, retention time.Duration) {
	next := &sighting{hash: maphash.String(m.seed, name), owner: o}
	if retention < once.Forever {
		next.ends = at.Add(retention)
	}
	m.sets[next.hash%seenSets].put(next)
}

// put takes the place of what is remembered of the same key, or of nothing, or of any.
func (s *seenSet) put(next *sighting) {
	into := int(next.hash / seenSets % seenWays)
	for i := range s {
		last := s[i].Load()
		if last != nil && last.hash == next.hash {
			into = i
			break
		}
		if last == nil {
			into = i
		}
	}
	s[into].Store(next)
}

// readDone returns the record of a claim that will be a replay, as far as this process knows.
// It reports false if that must be left to the script.
func (s *Store) readDone(ctx context.Context, c once.Claim, name string) (once.Record, error, bool) {
	last, slot := s.seen.find(name)
	if last == nil || s.cfg.MinReplicas > 0 || s.usable(ctx) != nil {
		return once.Record{}, nil, false
	}
	// Like the scripts, and for the same reason, with a command that a replica refuses.
	reply, err := s.do(ctx, func(b rueidis.Builder) rueidis.Completed { return b.Getex().Key(name).Build() })
	if err != nil && !rueidis.IsRedisNil(err) {
		return once.Record{}, s.explain("claim", err), true
	}
	v, _ := reply.AsBytes() // empty if there is none
	retention := once.Forever
	if !last.ends.IsZero() {
		retention = time.Until(last.ends)
	}
	rec, err := decode(c.Key, v, -1)
	if err != nil || rec.State != once.Done || rec.Owner != last.owner || retention <= 0 {
		slot.CompareAndSwap(last, nil)
		return once.Record{}, nil, false
	}
	if !rec.Fingerprint.Matches(c.Fingerprint) {
		return once.Record{}, once.ErrMismatch, true
	}
	rec.Retention = retention
	return rec, nil, true
}
