package contest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/oncehq/once"
)

// What operations are like.
const (
	Scope     = "bench/contest"
	Retention = time.Hour
)

// NewID returns an id that was not used before.
func NewID() string { return once.NewOwner().String() }

// NewClaim returns a claim by a new owner.
func NewClaim(id string) once.Claim { return ClaimBy(once.NewOwner(), id) }

// ClaimBy returns a claim.
func ClaimBy(o once.Owner, id string) once.Claim {
	return once.Claim{
		Key:         once.Key{Scope: Scope, ID: id},
		Fingerprint: once.Fingerprint{1: 1},
		Owner:       o,
		Lease:       10 * time.Second,
		Takeover:    10,
		Forget:      time.Hour,
	}
}

// Outcome returns one with data of that many bytes.
func Outcome(size int) once.Outcome {
	return once.Outcome{Type: "application/http", Data: bytes.Repeat([]byte("x"), size)}
}

// Fresh claims an operation and completes it.
func Fresh(ctx context.Context, store once.Store, id string, out once.Outcome) error {
	c := NewClaim(id)
	rec, err := store.Claim(ctx, c)
	if err != nil {
		return err
	}
	if !rec.Won(c) {
		return errors.New("a new key was claimed before")
	}
	return store.Complete(ctx, c.Key, c.Owner, out, Retention)
}

// Replay claims an operation that is done.
func Replay(ctx context.Context, store once.Store, id string) error {
	// Who asks in vain needs no random owner.
	rec, err := store.Claim(ctx, ClaimBy(once.Owner{1: 1}, id))
	if err == nil && rec.State != once.Done {
		err = fmt.Errorf("a record that is done is %v", rec.State)
	}
	return err
}
