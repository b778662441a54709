package oncepg_test

import (
	"flag"
	"slices"
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/store/oncepg"
)

var million = flag.Bool("million", false, "measure what a million records cost, and their expiry; takes minutes")

// Beside live records, those that are over are removed, and nothing else. What that takes is for
// people to read, with a million records; it must not grow with those that live.
func TestExpiryLeavesLiveRecords(t *testing.T) {
	t.Parallel()
	cfg := migrated(t, config(t))
	s, b := open(t, cfg), newBusiness(t, cfg.DSN)
	live, over := 2000, 500
	if *million {
		live, over = 1_000_000, 100_000
	}
	records := cfg.Schema + ".records"
	started := time.Now()
	b.fill(t, records, live, "live", "24 hours")
	var size int
	ok(t, b.pool.QueryRow(t.Context(), "SELECT pg_total_relation_size($1::regclass)", records).Scan(&size))
	t.Logf("%d records of 1 KiB written in %v, %d bytes each", live, time.Since(started), size/live)
	b.fill(t, records, over, "over", "-2 hours")
	ok(t, b.exec("ANALYZE "+records)) // autovacuum does it, a little later

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
	ok(t, b.pool.QueryRow(t.Context(), "SELECT count(*) FROM "+records+" WHERE id >= 'live' AND id < 'livf'").Scan(&left))
	if left != live {
		t.Errorf("%d live records are left of %d", left, live)
	}
}

// fill makes rows of records that are done, with outcomes of 1 KiB and random ids behind the
// prefix, as the store would, but faster.
func (b business) fill(t *testing.T, records string, n int, prefix, retention string) {
	t.Helper()
	for step := 10_000; n > 0; n -= step {
		step = min(step, n)
		_, err := b.pool.Exec(t.Context(), "INSERT INTO "+records+` (scope, id, fence, created, lease_end, expires, forget,
				owner, attempt, state, fingerprint, media_type, outcome)
			SELECT 'test', ($1 || md5(random()::text || n))::bytea, n, now(), now(), now() + $2::interval, NULL,
				gen_random_uuid(), 1, 2, sha256(random()::text::bytea), 'application/http', convert_to(repeat('x', 1024), 'UTF8')
			FROM generate_series(1, $3::integer) n`, prefix, retention, step)
		ok(t, err)
	}
}

// claimTimes returns how long each of n claims took.
func claimTimes(t *testing.T, s *oncepg.Store, n int) []time.Duration {
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
