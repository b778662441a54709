package onceetcd_test

import (
	"context"
	"maps"
	"path"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/store/onceetcd"
	"google.golang.org/grpc"
)

// A counter counts requests to the servers, by what they ask.
type counter struct {
	mu    sync.Mutex
	calls map[string]int
}

func (c *counter) count(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn,
	invoke grpc.UnaryInvoker, opts ...grpc.CallOption,
) error {
	c.mu.Lock()
	c.calls[path.Base(method)]++
	c.mu.Unlock()
	return invoke(ctx, method, req, reply, conn, opts...)
}

// of returns the requests that the verb makes. Leases that are granted meanwhile are not the
// verb's: it does not wait for them.
func (c *counter) of(verb func() error) (map[string]int, error) {
	c.mu.Lock()
	clear(c.calls)
	c.mu.Unlock()
	err := verb()
	c.mu.Lock()
	defer c.mu.Unlock()
	got := maps.Clone(c.calls)
	delete(got, "LeaseGrant")
	return got, err
}

func counted(t *testing.T, cfg onceetcd.Config) (*onceetcd.Store, *counter) {
	t.Helper()
	c := &counter{calls: make(map[string]int)}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s, err := onceetcd.OpenWith(ctx, cfg, grpc.WithChainUnaryInterceptor(c.count))
	ok(t, err)
	t.Cleanup(func() { s.Close() })
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.calls) // those of Open
	return s, c
}

// Each verb is one transaction. Takeovers are two, and what another process has left to be
// measured is asked for once.
func TestEveryVerbIsOneRoundTrip(t *testing.T) {
	t.Parallel()
	e := servers.Etcd(t, etcd)
	cfg := onceetcd.Config{DSN: dsn(e), Timeout: 30 * time.Second}
	s, requests := counted(t, cfg)
	other, otherRequests := counted(t, cfg)
	inFlight, doubtful, done, locked := newClaim(), newClaim(), newClaim(), newClaim()
	locked.Forget = time.Hour
	for _, c := range []once.Claim{inFlight, doubtful, done, locked} {
		wins(t, s, c)
	}
	ok(t, s.Renew(t.Context(), doubtful.Key, doubtful.Owner, 0))
	ok(t, s.Complete(t.Context(), done.Key, done.Owner, result, time.Hour))
	takeover := claimOn(doubtful.Key)
	takeover.Takeover = 10
	ctx := t.Context()
	one := map[string]int{"Txn": 1}

	for _, verb := range []struct {
		name string
		by   *counter
		run  func() error
		want map[string]int
	}{
		{"claim of an absent key", requests, func() error { return second(s.Claim(ctx, newClaim())) }, one},
		{"replay", requests, func() error { return second(s.Claim(ctx, claimOn(done.Key))) }, one},
		{"first replay of what another process completed", otherRequests,
			func() error { return second(other.Claim(ctx, claimOn(done.Key))) },
			map[string]int{"Txn": 1, "LeaseTimeToLive": 1}},
		{"second replay", otherRequests, func() error { return second(other.Claim(ctx, claimOn(done.Key))) }, one},
		{"claim while in flight", requests, func() error { return second(s.Claim(ctx, claimOn(inFlight.Key))) }, one},
		{"takeover", requests, func() error { return second(s.Claim(ctx, takeover)) }, map[string]int{"Txn": 2}},
		{"renew", requests, func() error { return s.Renew(ctx, inFlight.Key, inFlight.Owner, time.Hour) }, one},
		{"renew of what may be forgotten", requests,
			func() error { return s.Renew(ctx, locked.Key, locked.Owner, time.Hour) }, one},
		{"load", requests, func() error { return second(s.Load(ctx, done.Key)) }, one},
		{"end of the lease", requests, func() error { return s.Renew(ctx, locked.Key, locked.Owner, 0) }, one},
		{"complete", requests, func() error { return s.Complete(ctx, inFlight.Key, inFlight.Owner, result, time.Hour) }, one},
		{"release", requests, func() error { return s.Release(ctx, takeover.Key, takeover.Owner) }, one},
		{"forget", requests, func() error { return s.Forget(ctx, done.Key, done.Owner) }, one},
	} {
		got, err := verb.by.of(verb.run)
		if err != nil {
			t.Fatalf("%s: %v", verb.name, err)
		}
		if !maps.Equal(got, verb.want) {
			t.Errorf("%s: the servers were asked %v, want %v", verb.name, got, verb.want)
		}
	}
}

func TestClaimBatchTravelsTogether(t *testing.T) {
	t.Parallel()
	s, requests := counted(t, onceetcd.Config{DSN: dsn(servers.Etcd(t, etcd)), Timeout: 30 * time.Second})
	claims := make([]once.Claim, 250)
	for i := range claims {
		claims[i] = newClaim()
	}
	got, err := requests.of(func() error {
		for i, res := range s.ClaimBatch(t.Context(), claims) {
			if res.Err != nil || !res.Record.Won(claims[i]) {
				t.Fatalf("claim %d: got %v, error %v", i, res.Record.State, res.Err)
			}
		}
		return nil
	})
	if err != nil || got["Txn"] != 3 {
		t.Errorf("the servers were asked %v for 250 claims, want 3 transactions", got)
	}
}

// The limit is one of outcomes: however small it is, a hundred claims with the longest keys can be sent.
func TestClaimBatchIsNotBoundedByTheSizeOfOutcomes(t *testing.T) {
	t.Parallel()
	s := open(t, onceetcd.Config{DSN: dsn(servers.Etcd(t, etcd)), MaxOutcome: 100})
	claims := make([]once.Claim, 100)
	for i := range claims {
		id := strings.Repeat("i", once.MaxID-len(once.NewOwner().String())) + once.NewOwner().String()
		claims[i] = claimOn(once.Key{Scope: strings.Repeat("s", once.MaxScope), ID: id})
	}
	for i, res := range s.ClaimBatch(t.Context(), claims) {
		if res.Err != nil || !res.Record.Won(claims[i]) {
			t.Fatalf("claim %d: got %v, error %v", i, res.Record.State, res.Err)
		}
	}
}

// Many callers who come at once do not wait for a lease each.
func TestManyClaimsShareALease(t *testing.T) {
	t.Parallel()
	s, requests := counted(t, onceetcd.Config{DSN: dsn(servers.Etcd(t, etcd)), Timeout: 30 * time.Second})
	const callers, each = 64, 20
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for range each {
				c := newClaim()
				if _, err := s.Claim(t.Context(), c); err != nil {
					t.Error(err)
				}
				if err := s.Complete(t.Context(), c.Key, c.Owner, result, 24*time.Hour); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	requests.mu.Lock()
	defer requests.mu.Unlock()
	// Two durations, 1280 uses of each, at most 1000 a lease, and one more at hand.
	if n := requests.calls["LeaseGrant"]; n == 0 || n > 8 {
		t.Errorf("%d leases were granted for %d operations", n, callers*each)
	}
}
