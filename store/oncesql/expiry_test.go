package oncesql_test

import (
	"flag"
	"slices"
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/store/oncesql"
)

var million = flag.Bool("million", false, "measure what a million records cost, and their expiry; takes minutes")

// Beside live records, those that are over are removed, and nothing else. What that takes is for
// people to read, with a million records; it must not grow with those that live.
func TestExpiryLeavesLiveRecords(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, cfg oncesql.Config) {
		migrated(t, cfg)
		s, b := open(t, cfg), newBusiness(t, cfg)
		live, over := 2000, 500
		if *million {
			live, over = 1_000_000, 100_000
		}
		empty := b.size(t)
		started := time.Now()
		b.fill(t, live, "live", 24*time.Hour)
		t.Logf("%d records of 1 KiB written in %v, %d bytes each", live, time.Since(started), (b.size(t)-empty)/live)
		b.fill(t, over, "over", -2*time.Hour)

		before := claimTimes(t, s, 200)
		done, during := make(chan bool), make(chan []time.Duration)
		go func() {
			var all []time.Duration
			for {
				select {
				case <-done:
					during <- all
					return
				default:
					all = append(all, claimTimes(t, s, 5)...)
				}
			}
		}()
		started = time.Now()
		n, err := s.Sweep(t.Context())
		took := time.Since(started)
		close(done)
		slow := percentile99(<-during)
		if err != nil || n != over {
			t.Errorf("swept %d records, error %v, want %d", n, err, over)
		}
		started = time.Now()
		n, err = s.Sweep(t.Context())
		idle := time.Since(started)
		if err != nil || n != 0 {
			t.Errorf("then swept %d records, error %v, want none", n, err)
		}
		t.Logf("%v for each record that was over; %v to find none; 99 %% of claims took at most %v before and %v meanwhile",
			took/time.Duration(over), idle, percentile99(before), slow)
		var left int
		ok(t, b.db.QueryRow("SELECT COUNT(*) FROM once_records WHERE id >= "+b.bytes("'live'")+
			" AND id < "+b.bytes("'livf'")).Scan(&left))
		if left != live {
			t.Errorf("%d live records are left of %d", left, live)
		}
	})
}

// fill makes rows of records that are done, with outcomes of 1 KiB and random ids behind the
// prefix, as the store would, but faster.
func (b business) fill(t *testing.T, n int, prefix string, retention time.Duration) {
	t.Helper()
	const columns = "INSERT INTO once_records (scope, id, fence, created, lease_end, expires, forget, attempt, state, failed, " +
		"owner, fingerprint, media_type, outcome) "
	_, lite := b.sqlite()
	for step := 10_000; n > 0; n -= step {
		step = min(step, n)
		expires := time.Now().Add(retention).UnixMicro()
		query := columns + "WITH RECURSIVE seq (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM seq WHERE n < 100) " +
			"SELECT 'test', CONCAT(?, SHA2(CONCAT(UUID(), a.n, ' ', b.n), 224)), ?, ?, ?, ?, ?, 1, 2, 0, UNHEX(LEFT(SHA2(RAND(), 256), 32)), " +
			"UNHEX(SHA2(RAND(), 256)), 'application/http', REPEAT('x', 1024) FROM seq a, seq b LIMIT ?"
		if lite {
			query = "WITH RECURSIVE seq (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM seq LIMIT 10000) " + columns +
				"SELECT CAST('test' AS BLOB), CAST(? || hex(randomblob(16)) AS BLOB), ?, ?, ?, ?, ?, 1, 2, 0, randomblob(16), " +
				"randomblob(32), CAST('application/http' AS BLOB), randomblob(1024) FROM seq LIMIT ?"
		}
		now := time.Now().UnixMicro()
		_, err := b.db.Exec(query, prefix, now, now, now, expires, int64(4e18), step)
		ok(t, err)
	}
}

// sqlite returns the size of a SQLite file, and whether it is one.
func (b business) sqlite() (int, bool) {
	var pages, size int
	err := b.db.QueryRow("SELECT page_count, page_size FROM pragma_page_count, pragma_page_size").Scan(&pages, &size)
	return pages * size, err == nil
}

// bytes returns an expression that is bytes.
func (b business) bytes(expression string) string {
	if _, lite := b.sqlite(); lite {
		return "CAST(" + expression + " AS BLOB)"
	}
	return expression
}

// size returns how many bytes the database takes.
func (b business) size(t *testing.T) (size int) {
	t.Helper()
	if size, lite := b.sqlite(); lite {
		return size
	}
	_, err := b.db.Exec("ANALYZE TABLE once_records")
	ok(t, err)
	ok(t, b.db.QueryRow("SELECT data_length + index_length FROM information_schema.tables "+
		"WHERE table_schema = DATABASE() AND table_name = 'once_records'").Scan(&size))
	return size
}

// claimTimes returns how long each of n claims took.
func claimTimes(t *testing.T, s *oncesql.Store, n int) []time.Duration {
	var took []time.Duration
	for range n {
		c := newClaim("claim " + once.NewOwner().String())
		started := time.Now()
		if _, err := s.Claim(t.Context(), c); err != nil {
			t.Error(err)
		}
		took = append(took, time.Since(started))
	}
	return took
}

func percentile99(d []time.Duration) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[len(d)*99/100]
}
