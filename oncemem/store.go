package oncemem

import (
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oncehq/once"
)

// Bounds of a [Store] that sets none.
const (
	DefaultMaxRecords = 1 << 20
	DefaultMaxBytes   = 256 << 20
)

// A Store is a [once.Store] in memory. Its zero value is ready for use, by any number of
// goroutines at once. The fields must not change, nor the Store be copied, after first use.
//
// At a bound the store refuses new claims with [once.ErrFull], after it removed what is over. It
// never drops a claim or an outcome that still answers, and goes on serving the operations that
// it has records of.
type Store struct {
	// MaxRecords bounds the number of records. Defaults to DefaultMaxRecords.
	MaxRecords int

	// MaxBytes bounds the memory of the records: keys, outcomes and about 240 bytes each.
	// Outcomes of operations that are claimed already are kept even beyond it, since the
	// effect has happened. Defaults to DefaultMaxBytes.
	MaxBytes int64

	once       sync.Once
	seed       maphash.Seed
	start      time.Time // origin of the store's clock
	maxRecords int64
	maxBytes   int64

	_       [48]byte // the counters change with every claim, what is above never
	records atomic.Int64
	bytes   atomic.Int64
	_       [48]byte

	shards [shardCount]shard
}

const shardCount = 128

var (
	_ once.Store     = (*Store)(nil)
	_ once.Lister    = (*Store)(nil)
	_ once.Sweeper   = (*Store)(nil)
	_ once.Waiter    = (*Store)(nil)
	_ once.Batcher   = (*Store)(nil)
	_ once.Forgetter = (*Store)(nil)
	_ once.Guarantor = (*Store)(nil)
)

func (s *Store) init() {
	s.once.Do(func() {
		s.seed = maphash.MakeSeed()
		s.start = time.Now()
		s.maxRecords, s.maxBytes = DefaultMaxRecords, DefaultMaxBytes
		if s.MaxRecords > 0 {
			s.maxRecords = int64(s.MaxRecords)
		}
		if s.MaxBytes > 0 {
			s.maxBytes = s.MaxBytes
		}
		for i := range s.shards {
			s.shards[i].due.Store(int64(never))
		}
	})
}

// locate returns the key's hash and shard. The hash is seeded: callers cannot choose keys that
// crowd one shard.
func (s *Store) locate(k once.Key) (uint64, *shard) {
	s.init()
	hash := maphash.String(s.seed, k.Scope)*31 + maphash.String(s.seed, k.ID)
	return hash, &s.shards[hash%shardCount]
}

// reserve makes room for a record of that many bytes, or says why there is none.
func (s *Store) reserve(bytes int64) error {
	if s.records.Add(1) > s.maxRecords {
		s.records.Add(-1)
		return fmt.Errorf("oncemem: it has %d records; "+
			"raise MaxRecords or shorten the retention: %w", s.maxRecords, once.ErrFull)
	}
	if s.bytes.Add(bytes) > s.maxBytes {
		s.release(bytes)
		return fmt.Errorf("oncemem: its records take %d bytes; "+
			"raise MaxBytes or shorten the retention: %w", s.maxBytes, once.ErrFull)
	}
	return nil
}

// release gives back what reserve took, and what the record's outcome took later.
func (s *Store) release(bytes int64) {
	s.records.Add(-1)
	s.bytes.Add(-bytes)
}

// Guarantees says that nothing survives the process.
func (s *Store) Guarantees() once.Guarantees {
	return once.Guarantees{
		Store:    "memory",
		Crash:    once.Lost,
		Power:    once.Lost,
		Failover: once.NotApplicable,
		Notes: []string{
			"Records end with the process; use oncedisk to keep them in a directory.",
			"Only this process sees the records; use a shared store for more than one.",
		},
	}
}

// Close gives back the memory. Verbs that follow return [once.ErrClosed], and waits end.
func (s *Store) Close() error {
	s.init()
	for i := range s.shards {
		s.shards[i].close(s)
	}
	return nil
}

func (sh *shard) close(s *Store) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.closed = true
	for _, slot := range sh.records.slots {
		if slot.r != nil {
			s.release(slot.r.bytes())
			slot.r.wake()
		}
	}
	sh.records, sh.queue, sh.free = table{}, nil, nil
	sh.publish()
}
