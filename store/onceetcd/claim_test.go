package onceetcd_test

import (
	"testing"
	"time"

	"github.com/oncehq/once"
)

var result = once.Outcome{Type: "text/plain", Data: []byte("it happened")}

// newClaim returns a claim on a key that was not used before.
func newClaim() once.Claim {
	return claimOn(once.Key{Scope: "test", ID: once.NewOwner().String()})
}

// claimOn returns a claim on the key by a new owner.
func claimOn(k once.Key) once.Claim {
	return once.Claim{
		Key:         k,
		Fingerprint: once.FingerprintOf([]byte(k.ID)),
		Owner:       once.NewOwner(),
		Lease:       time.Hour,
	}
}

func wins(t testing.TB, s once.Store, c once.Claim) once.Record {
	t.Helper()
	rec, err := s.Claim(t.Context(), c)
	if err != nil {
		t.Fatal("claim: ", err)
	}
	if !rec.Won(c) {
		t.Fatalf("claim: it has not won; the record is %v", rec.State)
	}
	return rec
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// second returns the error of a call that returns two values.
func second[T any](_ T, err error) error { return err }

// eventually asks again and again until it is so.
func eventually(t testing.TB, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !so(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// guard returns one that gives the store time on a busy machine.
func guard(t testing.TB, s once.Store, p once.Policy) *once.Guard {
	t.Helper()
	g, err := once.New(once.Config{Store: s, InDoubt: p, Lease: time.Minute})
	ok(t, err)
	return g
}
