package once_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemem"
)

func TestCachedReplayAsksNoStoreUntilItsRetentionIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meddle(new(oncemem.Store))
		g := newGuard(t, once.Config{Store: m, CacheBytes: 1 << 20})
		a, b := once.FingerprintOf([]byte("a")), once.FingerprintOf([]byte("b"))
		once.Do(t.Context(), g, key, a, result("x"))
		for range 10 {
			time.Sleep(time.Hour)
			got, err := once.Do(t.Context(), g, key, a, mustNotRun(t))
			wantResult(t, got, err, "x")
			_, err = once.Do(t.Context(), g, key, b, mustNotRun(t))
			wantErr(t, err, once.ErrMismatch)
		}
		if n := m.calls["claim"].Load(); n != 2 {
			t.Errorf("asked the store %d times, want twice", n)
		}
		time.Sleep(14 * time.Hour)
		got, err := once.Do(t.Context(), g, key, a, result("y"))
		wantResult(t, got, err, "y")
	})
}

func TestCacheIsBoundedAndDropsTheLeastRecentlyUsed(t *testing.T) {
	m := meddle(new(oncemem.Store))
	g := newGuard(t, once.Config{Store: m, CacheBytes: 3 * 1600})
	ask := func(id string) {
		t.Helper()
		got, err := once.Do(t.Context(), g, once.Key{Scope: "s", ID: id}, once.Fingerprint{}, result(strings.Repeat(id, 1000)))
		wantResult(t, got, err, strings.Repeat(id, 1000))
	}
	for _, id := range []string{"a", "b", "c", "a", "b", "c", "a", "d", "d"} { // "b" is dropped for "d"
		ask(id)
	}
	asked := func(id string) bool {
		before := m.calls["claim"].Load()
		ask(id)
		return m.calls["claim"].Load() > before
	}
	if asked("a") || asked("c") || asked("d") || !asked("b") {
		t.Error("the cache does not hold the three most recently replayed")
	}
}

// What the cache keeps alive is bounded only if a key is not a part of something larger.
func TestCacheKeepsNoMoreOfTheCallersMemoryThanTheKey(t *testing.T) {
	g := newGuard(t, once.Config{CacheBytes: 1 << 20})
	large := strings.Repeat("x", 1<<10)
	k := once.Key{Scope: large[:10], ID: large[10:20]}
	for range 2 {
		if _, err := once.Do(t.Context(), g, k, once.Fingerprint{}, result("y")); err != nil {
			t.Fatal(err)
		}
	}
	a, err := g.Begin(t.Context(), k, once.Fingerprint{}) // of the cache
	if err != nil {
		t.Fatal(err)
	}
	if kept := a.Key(); unsafe.StringData(kept.ID) == unsafe.StringData(k.ID) || unsafe.StringData(kept.Scope) == unsafe.StringData(k.Scope) {
		t.Error("the cache keeps the caller's string")
	}
}
