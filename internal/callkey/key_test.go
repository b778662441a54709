package callkey

import (
	"context"
	"errors"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemem"
)

var uuid7 = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

func TestNewKeysAreOrderedUUIDsOfVersion7(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where the clock stands still: the hard case
		var s Source
		last := ""
		for i := range 10_000 {
			key := s.New()
			if !uuid7.MatchString(key) {
				t.Fatalf("%q is no UUID of version 7", key)
			}
			if key <= last {
				t.Fatalf("key %d is %q, not greater than %q", i, key, last)
			}
			last = key
		}
	})
}

func TestNewKeysTellTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(12345678 * time.Microsecond)
		key := new(Source).New()
		ms, err := strconv.ParseInt(strings.ReplaceAll(key[:13], "-", ""), 16, 64)
		if err != nil || ms != time.Now().UnixMilli() {
			t.Errorf("key says %d ms (%v), the clock %d", ms, err, time.Now().UnixMilli())
		}
	})
}

func TestNewKeysAreUniqueAmongGoroutines(t *testing.T) {
	var s Source
	var mu sync.Mutex
	seen := make(map[string]bool)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 500 {
				key := s.New()
				mu.Lock()
				if seen[key[:18]] {
					t.Errorf("time %s was given twice", key[:18])
				}
				seen[key[:18]] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

// keysOf runs an operation twice, as after a crash, and returns the keys of the calls that each
// attempt made.
func keysOf(t *testing.T, calls func(ctx context.Context, key func(ctx context.Context, call string))) [2][]string {
	t.Helper()
	g, err := once.New(once.Config{Store: new(oncemem.Store), InDoubt: once.Rerun})
	if err != nil {
		t.Fatal(err)
	}
	var keys [2][]string
	for i := range keys {
		var s [2]Source // as of two clients
		n := 0
		_, err := once.Do(t.Context(), g, once.Key{Scope: "test", ID: "op"}, once.Fingerprint{},
			func(ctx context.Context) (int, error) {
				calls(ctx, func(ctx context.Context, call string) {
					n++
					keys[i] = append(keys[i], s[n%2].For(ctx, call))
				})
				return 0, errors.New("connection reset")
			})
		if err == nil {
			t.Fatal("the operation did not fail")
		}
	}
	return keys
}

func wantSameKeysAllDifferent(t *testing.T, keys [2][]string, n int) {
	t.Helper()
	seen := make(map[string]bool)
	for i := range n {
		if keys[0][i] != keys[1][i] {
			t.Errorf("call %d has key %s in one attempt and %s in the next", i, keys[0][i], keys[1][i])
		}
		seen[keys[0][i]] = true
	}
	if len(seen) != n {
		t.Errorf("%d calls have %d keys: %q", n, len(seen), keys[0])
	}
}

func TestARerunRepeatsTheKeysOfItsCalls(t *testing.T) {
	keys := keysOf(t, func(ctx context.Context, key func(context.Context, string)) {
		key(ctx, "POST /charges")
		key(ctx, "POST /charges")
		key(ctx, "POST /mails")
	})
	wantSameKeysAllDifferent(t, keys, 3)
}

func TestNamesMakeKeysIndependentOfOrderAndTarget(t *testing.T) {
	attempt := 0
	keys := keysOf(t, func(ctx context.Context, key func(context.Context, string)) {
		attempt++
		a, b := Named(ctx, "a"), Named(ctx, "b")
		if attempt == 1 {
			key(a, "POST /x?t=1")
			key(b, "POST /x?t=2")
		} else {
			key(b, "POST /x?t=3")
			key(a, "POST /x?t=4")
		}
	})
	keys[1][0], keys[1][1] = keys[1][1], keys[1][0]
	wantSameKeysAllDifferent(t, keys, 2)
}

func TestTwoCallsUnderOneNameHaveTwoKeys(t *testing.T) {
	wantSameKeysAllDifferent(t, keysOf(t, func(ctx context.Context, key func(context.Context, string)) {
		key(Named(ctx, "a"), "POST /x")
		key(Named(ctx, "a"), "POST /x")
		key(ctx, "a") // not a name
	}), 3)
}

func TestAGivenKeyIsUsed(t *testing.T) {
	keysOf(t, func(ctx context.Context, _ func(context.Context, string)) {
		if got := new(Source).For(With(ctx, "mine"), "POST /x"); got != "mine" {
			t.Errorf("key is %q", got)
		}
	})
	var s Source
	if got := s.For(With(t.Context(), "mine"), "POST /x"); got != "mine" {
		t.Errorf("key is %q", got)
	}
	if a, b := s.For(t.Context(), "POST /x"), s.For(t.Context(), "POST /x"); a == b || !uuid7.MatchString(a) {
		t.Errorf("keys outside of an operation are %q and %q", a, b)
	}
}

func TestCountsEndWithTheirAttempt(t *testing.T) {
	var attempts []weak.Pointer[once.Attempt]
	for range 100 {
		keysOf(t, func(ctx context.Context, key func(context.Context, string)) {
			key(ctx, "POST /x")
			a, _ := once.FromContext(ctx)
			attempts = append(attempts, weak.Make(a))
		})
	}
	counted := func() (n int) {
		for _, a := range attempts {
			if a.Value() != nil {
				n++
			}
		}
		return n
	}
	deadline := time.Now().Add(time.Minute)
	for counted() > 10 {
		if time.Now().After(deadline) {
			t.Fatalf("%d attempts are still counted", counted())
		}
		runtime.GC()
		time.Sleep(time.Millisecond)
	}
}
