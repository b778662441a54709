package linear

import (
	"context"
	"flag"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncedisk"
	"github.com/oncehq/once/oncemem"
)

var calls = flag.Int("calls", 4000, "how many verbs are carried out on each store")

func TestMemory(t *testing.T) {
	Check(t, &oncemem.Store{}, Options{Calls: *calls})
}

func TestDisk(t *testing.T) {
	s, err := oncedisk.Open(oncedisk.Config{Dir: filepath.Join(t.TempDir(), "store")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	Check(t, s, Options{Calls: *calls})
}

// A sloppy store makes one of the mistakes that only show when verbs overlap, or when a reply is
// compared with what came before.
type sloppy struct {
	once.Store
	claimInTwo    bool // looks first, and then claims over whatever stands by then
	staleComplete bool // acknowledges every complete
	staleRead     bool // loads from a copy that lags behind
	reusesFence   bool
	countsNothing bool // each takeover is the first attempt

	mu  *sync.Mutex
	old map[once.Key]once.Record
}

func (s *sloppy) Claim(ctx context.Context, c once.Claim) (once.Record, error) {
	if s.claimInTwo {
		rec, err := s.Store.Load(ctx, c.Key)
		if err == nil && (rec.State != once.InDoubt || rec.Attempt >= c.Takeover || rec.Owner == c.Owner) {
			if !rec.Fingerprint.Matches(c.Fingerprint) {
				return once.Record{}, once.ErrMismatch
			}
			return rec, nil
		}
		time.Sleep(50 * time.Microsecond)
		s.Store.Renew(ctx, c.Key, rec.Owner, 0)
	}
	rec, err := s.Store.Claim(ctx, c)
	if s.reusesFence && rec.Attempt == 1 {
		rec.Fence = 1
	}
	if s.countsNothing && err == nil {
		rec.Attempt = 1
	}
	return rec, err
}

func (s *sloppy) Complete(
	ctx context.Context, k once.Key, o once.Owner, out once.Outcome, d time.Duration,
) error {
	err := s.Store.Complete(ctx, k, o, out, d)
	if s.staleComplete && err == once.ErrLost {
		return nil
	}
	return err
}

func (s *sloppy) Load(ctx context.Context, k once.Key) (once.Record, error) {
	rec, err := s.Store.Load(ctx, k)
	if !s.staleRead || err != nil {
		return rec, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if old, ok := s.old[k]; ok {
		rec, s.old[k] = old, rec
		return rec, nil
	}
	s.old[k] = rec
	return rec, nil
}

// TestSloppyStores shows that the check can fail.
func TestSloppyStores(t *testing.T) {
	for name, s := range map[string]sloppy{
		"a claim in two steps":         {claimInTwo: true},
		"a stale complete is answered": {staleComplete: true},
		"reads lag behind":             {staleRead: true},
		"fences are used again":        {reusesFence: true},
		"attempts are not counted":     {countsNothing: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s.Store, s.mu, s.old = &oncemem.Store{}, new(sync.Mutex), make(map[once.Key]once.Record)
			if r := Run(&s, Options{Calls: 200_000, Unknown: -1}); r.Bad == "" {
				t.Errorf("not noticed in %d calls", r.Calls)
			} else {
				t.Logf("noticed after %d calls", r.Calls)
			}
		})
	}
}

// TestDisturb checks that errors of a store that is away for a moment are taken for what they are:
// nothing is known about the calls that got them.
func TestDisturb(t *testing.T) {
	s := &away{Store: &oncemem.Store{}}
	Check(t, s, Options{Calls: 2000, Disturb: func(stop <-chan struct{}) {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				s.mu.Lock()
				s.n = 3
				s.mu.Unlock()
			}
		}
	}})
}

// An away store loses the replies to the next n calls.
type away struct {
	once.Store
	mu sync.Mutex
	n  int
}

func (s *away) Claim(ctx context.Context, c once.Claim) (once.Record, error) {
	rec, err := s.Store.Claim(ctx, c)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n > 0 {
		s.n--
		return once.Record{}, context.DeadlineExceeded
	}
	return rec, err
}
