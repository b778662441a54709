package onceredis_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/store/onceredis"
)

// Waits come and go on the connections on which all else travels. No answer may reach the wrong
// caller, also when the connections are cut again and again.
func TestAnswersReachTheirCallersWhileWaitsComeAndGo(t *testing.T) {
	t.Parallel()
	r := servers.Redis(t, "appendonly no")
	s, _, p := behindProxy(t, r)
	var verified, waits atomic.Int64
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	for range 8 {
		flying := newClaim()
		wins(t, s, flying)
		wg.Go(func() {
			for ctx.Err() == nil {
				if operate(t, ctx, s) {
					verified.Add(1)
				}
			}
		})
		wg.Go(func() {
			for ctx.Err() == nil {
				short, cancel := context.WithTimeout(ctx, rand.N(5*time.Millisecond))
				if err := s.Wait(short, flying.Key, flying.Owner); err == nil {
					t.Error("a wait has ended, but not the claim")
				}
				cancel()
				waits.Add(1)
			}
		})
	}
	for range 10 {
		before, w := verified.Load(), waits.Load()
		eventually(t, "100 more operations", func() bool { return verified.Load() > before+100 && waits.Load() > w+20 })
		p.Cut()
		p.Mend()
	}
}

// operate carries out an operation, and reports whether no verb of it has failed for want of a
// connection. What comes back must be its own.
func operate(t *testing.T, ctx context.Context, s *onceredis.Store) bool {
	c := newClaim()
	rec, err := s.Claim(ctx, c)
	if err != nil {
		return false
	}
	if !rec.Won(c) {
		t.Errorf("claim: got the record %v of owner %v", rec.State, rec.Owner)
	}
	out := once.Outcome{Data: c.Owner[:]}
	if s.Complete(ctx, c.Key, c.Owner, out, time.Minute) != nil {
		return false
	}
	rec, err = s.Load(ctx, c.Key)
	if err == nil && (rec.State != once.Done || rec.Owner != c.Owner || !rec.Outcome.Equal(out)) {
		t.Errorf("load: got the record %v of owner %v", rec.State, rec.Owner)
	}
	return err == nil
}
