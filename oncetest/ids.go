package oncetest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oncehq/once"
)

// IDOptions says how [TestIDStore] gets at the store.
type IDOptions struct {
	// Open returns a handle on one and the same, initially empty, backend for the whole of the
	// test that it is given. Required.
	Open func(t *testing.T) once.IDStore

	// OpenAgain returns another handle on the backend that Open has last made, as a process that
	// is started later would. Defaults to nil: not tested.
	OpenAgain func(t *testing.T) once.IDStore

	// OpenLeased returns a handle on an empty backend where claims have that lease, if claims do
	// not end with their process. Defaults to nil: they do.
	OpenLeased func(t *testing.T, lease time.Duration) once.IDStore
}

// TestIDStore checks the store against the contract in the documentation of [once.IDStore], one
// subtest for each property.
func TestIDStore(t *testing.T, o IDOptions) {
	for _, property := range []struct {
		name string
		test func(*idTrial)
	}{
		{"an id that is absent is claimed", (*idTrial).absent},
		{"a claimed id is in flight for others", (*idTrial).inFlight},
		{"repeating a claim returns the same", (*idTrial).repeated},
		{"of copies in one call only the first is claimed", (*idTrial).copies},
		{"of many claims on an id one wins", (*idTrial).oneWinner},
		{"completed ids stay done", (*idTrial).completed},
		{"ids are completed whoever has claimed them", (*idTrial).completedByAnother},
		{"released ids are absent", (*idTrial).released},
		{"only the owner releases", (*idTrial).releasedByAnother},
		{"done ids are not released", (*idTrial).releasedWhenDone},
		{"scope and id do not run into each other", (*idTrial).boundary},
		{"ids are binary", (*idTrial).binary},
		{"a call takes MaxIDs ids and no more", (*idTrial).many},
		{"what is wrong with one id changes nothing for others", (*idTrial).invalid},
		{"a call whose context is done changes nothing", (*idTrial).cancelled},
		{"done ids are there for a later process", (*idTrial).reopened},
		{"a claim whose lease is over is given to another", (*idTrial).leaseOver},
	} {
		t.Run(property.name, func(t *testing.T) {
			property.test(&idTrial{T: t, o: o, s: o.Open(t)})
		})
	}
}

type idTrial struct {
	*testing.T
	o IDOptions
	s once.IDStore
}

const idScope = "subscriber"

func (t *idTrial) claim(s once.IDStore, o once.Owner, ids ...string) []once.IDState {
	t.Helper()
	states, err := s.ClaimIDs(t.Context(), idScope, o, ids)
	if err != nil || len(states) != len(ids) {
		t.Fatalf("ClaimIDs of %d ids returned %d states, error %v", len(ids), len(states), err)
	}
	return states
}

func (t *idTrial) wantClaim(o once.Owner, id string, want once.IDState) {
	t.Helper()
	if got := t.claim(t.s, o, id)[0]; got != want {
		t.Errorf("claim of %.20q: %v, want %v", id, got, want)
	}
}

func (t *idTrial) complete(o once.Owner, ids ...string) {
	t.Helper()
	if err := t.s.CompleteIDs(t.Context(), idScope, o, ids); err != nil {
		t.Fatal("CompleteIDs:", err)
	}
}

func (t *idTrial) release(o once.Owner, ids ...string) {
	t.Helper()
	if err := t.s.ReleaseIDs(t.Context(), idScope, o, ids); err != nil {
		t.Fatal("ReleaseIDs:", err)
	}
}

func (t *idTrial) absent() {
	got := t.claim(t.s, once.NewOwner(), "a", "b", "c")
	if !slices.Equal(got, []once.IDState{once.IDClaimed, once.IDClaimed, once.IDClaimed}) {
		t.Errorf("claim of three new ids: %v", got)
	}
	if got := t.claim(t.s, once.NewOwner()); len(got) != 0 {
		t.Errorf("claim of no ids: %v", got)
	}
	t.complete(once.NewOwner())
	t.release(once.NewOwner())
}

func (t *idTrial) inFlight() {
	t.wantClaim(once.NewOwner(), "b", once.IDClaimed)
	t.complete(once.NewOwner(), "c")
	got := t.claim(t.s, once.NewOwner(), "a", "b", "c")
	if !slices.Equal(got, []once.IDState{once.IDClaimed, once.IDInFlight, once.IDDone}) {
		t.Errorf("claim of one new, one claimed and one done: %v", got)
	}
}

func (t *idTrial) repeated() {
	o := once.NewOwner()
	t.complete(o, "d")
	first := t.claim(t.s, o, "a", "b", "a", "d")
	if again := t.claim(t.s, o, "a", "b", "a", "d"); !slices.Equal(first, again) {
		t.Errorf("the same call returned %v, and when repeated %v", first, again)
	}
	t.wantClaim(once.NewOwner(), "a", once.IDInFlight)
}

func (t *idTrial) copies() {
	o := once.NewOwner()
	got := t.claim(t.s, o, "a", "b", "a", "a")
	if !slices.Equal(got, []once.IDState{once.IDClaimed, once.IDClaimed, once.IDInFlight, once.IDInFlight}) {
		t.Errorf("claim of a, b, a, a: %v", got)
	}
	t.complete(o, "a", "a")
	got = t.claim(t.s, once.NewOwner(), "a", "a")
	if !slices.Equal(got, []once.IDState{once.IDDone, once.IDDone}) {
		t.Errorf("claim of two copies of a done id: %v", got)
	}
}

func (t *idTrial) oneWinner() {
	const claimants, ids = 64, 20
	names := make([]string, ids)
	for i := range names {
		names[i] = fmt.Sprint("contested ", i)
	}
	var mu sync.Mutex
	winners := make([]int, ids)
	var all sync.WaitGroup
	start := make(chan struct{})
	for range claimants {
		all.Go(func() {
			<-start
			states, err := t.s.ClaimIDs(t.Context(), idScope, once.NewOwner(), names)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
				return
			}
			for i, state := range states {
				if state == once.IDClaimed {
					winners[i]++
				}
			}
		})
	}
	close(start)
	all.Wait()
	for i, n := range winners {
		if n != 1 {
			t.Errorf("%d of %d claims on %s won", n, claimants, names[i])
		}
	}
}

func (t *idTrial) completed() {
	o := once.NewOwner()
	t.claim(t.s, o, "a", "b")
	t.complete(o, "a")
	t.wantClaim(once.NewOwner(), "a", once.IDDone)
	t.wantClaim(o, "a", once.IDDone)
	t.wantClaim(once.NewOwner(), "b", once.IDInFlight)
	t.complete(o, "a") // again
	t.wantClaim(once.NewOwner(), "a", once.IDDone)
}

func (t *idTrial) completedByAnother() {
	t.complete(once.NewOwner(), "unclaimed")
	t.wantClaim(once.NewOwner(), "unclaimed", once.IDDone)
	t.wantClaim(once.NewOwner(), "a", once.IDClaimed)
	t.complete(once.NewOwner(), "a")
	t.wantClaim(once.NewOwner(), "a", once.IDDone)
}

func (t *idTrial) released() {
	o := once.NewOwner()
	t.claim(t.s, o, "a", "b")
	t.release(o, "a", "never claimed")
	t.wantClaim(once.NewOwner(), "a", once.IDClaimed)
	t.wantClaim(once.NewOwner(), "b", once.IDInFlight)
}

func (t *idTrial) releasedByAnother() {
	t.wantClaim(once.NewOwner(), "a", once.IDClaimed)
	t.release(once.NewOwner(), "a")
	t.wantClaim(once.NewOwner(), "a", once.IDInFlight)
}

func (t *idTrial) releasedWhenDone() {
	o := once.NewOwner()
	t.wantClaim(o, "a", once.IDClaimed)
	t.complete(o, "a")
	t.release(o, "a")
	t.wantClaim(once.NewOwner(), "a", once.IDDone)
}

func (t *idTrial) boundary() {
	for _, k := range []once.Key{{Scope: "a", ID: "bc"}, {Scope: "ab", ID: "c"}, {Scope: "a", ID: "b"}, {Scope: "abc", ID: "a"}} {
		states, err := t.s.ClaimIDs(t.Context(), k.Scope, once.NewOwner(), []string{k.ID})
		if err != nil || states[0] != once.IDClaimed {
			t.Errorf("claim of %q in scope %q: %v, %v", k.ID, k.Scope, states, err)
		}
	}
}

func (t *idTrial) binary() {
	o := once.NewOwner()
	ids := []string{"\x00", "\x00\x00", "\xff\xfe", "a\x00b", "a:b", "a/b", "{a}b", "ä", " ", "*", "a\nb",
		strings.Repeat("x", once.MaxID), strings.Repeat("x", once.MaxID-1) + "y"}
	for i, state := range t.claim(t.s, o, ids...) {
		if state != once.IDClaimed {
			t.Errorf("%.20q is %v, want claimed", ids[i], state)
		}
	}
	t.complete(o, ids...)
	for i, state := range t.claim(t.s, once.NewOwner(), ids...) {
		if state != once.IDDone {
			t.Errorf("%.20q is %v, want done", ids[i], state)
		}
	}
}

func (t *idTrial) many() {
	ids := make([]string, once.MaxIDs+1)
	for i := range ids {
		ids[i] = fmt.Sprint("many ", i)
	}
	if _, err := t.s.ClaimIDs(t.Context(), idScope, once.NewOwner(), ids); err == nil {
		t.Errorf("%d ids were claimed in one call", len(ids))
	}
	o := once.NewOwner()
	ids = ids[1:]
	for i, state := range t.claim(t.s, o, ids...) {
		if state != once.IDClaimed {
			t.Fatalf("%s is %v, want claimed", ids[i], state)
		}
	}
	t.complete(o, ids[:len(ids)/2]...)
	t.release(o, ids...)
	for i, state := range t.claim(t.s, once.NewOwner(), ids...) {
		want := once.IDClaimed
		if i < len(ids)/2 {
			want = once.IDDone
		}
		if state != want {
			t.Fatalf("%s is %v, want %v", ids[i], state, want)
		}
	}
}

func (t *idTrial) invalid() {
	for _, bad := range []string{"", strings.Repeat("x", once.MaxID+1)} {
		if _, err := t.s.ClaimIDs(t.Context(), idScope, once.NewOwner(), []string{"a", bad}); err == nil {
			t.Errorf("an id of %d bytes was claimed", len(bad))
		}
		if err := t.s.CompleteIDs(t.Context(), idScope, once.NewOwner(), []string{"a", bad}); err == nil {
			t.Errorf("an id of %d bytes was completed", len(bad))
		}
	}
	for _, bad := range []string{"", strings.Repeat("x", once.MaxScope+1)} {
		if _, err := t.s.ClaimIDs(t.Context(), bad, once.NewOwner(), []string{"a"}); err == nil {
			t.Errorf("an id was claimed in a scope of %d bytes", len(bad))
		}
	}
	if _, err := t.s.ClaimIDs(t.Context(), idScope, once.Owner{}, []string{"a"}); err == nil {
		t.Error("an id was claimed by the zero owner")
	}
	t.wantClaim(once.NewOwner(), "a", once.IDClaimed)
}

func (t *idTrial) cancelled() {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	o := once.NewOwner()
	if _, err := t.s.ClaimIDs(ctx, idScope, o, []string{"a"}); err == nil {
		t.Error("ClaimIDs returned nil")
	}
	if err := t.s.CompleteIDs(ctx, idScope, o, []string{"a"}); err == nil {
		t.Error("CompleteIDs returned nil")
	}
	t.wantClaim(o, "a", once.IDClaimed)
	if err := t.s.ReleaseIDs(ctx, idScope, o, []string{"a"}); err == nil {
		t.Error("ReleaseIDs returned nil")
	}
	t.wantClaim(once.NewOwner(), "a", once.IDInFlight)
}

func (t *idTrial) reopened() {
	if t.o.OpenAgain == nil {
		t.Skip("the store has one handle only")
	}
	o := once.NewOwner()
	t.claim(t.s, o, "a", "b")
	t.complete(o, "a")
	t.s = t.o.OpenAgain(t.T)
	t.wantClaim(once.NewOwner(), "a", once.IDDone)
}

func (t *idTrial) leaseOver() {
	if t.o.OpenLeased == nil {
		t.Skip("claims have no lease")
	}
	const lease = time.Second
	t.s = t.o.OpenLeased(t.T, lease)
	first := once.NewOwner()
	t.wantClaim(first, "a", once.IDClaimed)
	t.wantClaim(first, "b", once.IDClaimed)
	second, deadline, asked := once.NewOwner(), time.Now().Add(time.Minute), time.Now()
	for t.claim(t.s, second, "a")[0] != once.IDClaimed {
		if time.Now().After(deadline) {
			t.Fatal("a claim stands long after its lease")
		}
		time.Sleep(lease / 10)
		asked = time.Now()
	}
	t.release(first, "a") // too late
	state := t.claim(t.s, once.NewOwner(), "a")[0]
	if time.Since(asked) < lease && state != once.IDInFlight { // else the second lease is over too
		t.Errorf("it is %v after an owner that had lost it released it", state)
	}
	t.complete(first, "b") // late, but it has happened
	t.wantClaim(once.NewOwner(), "b", once.IDDone)
}
