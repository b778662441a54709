package once

import (
	"context"
	"fmt"
)

// MaxIDs is how many ids one call of an [IDStore] may be given.
const MaxIDs = 1 << 14

// An IDStore remembers which ids were dealt with, and nothing else of them: for streams of so
// many that a [Record] of each would take too much room. There is no outcome to replay, no
// fingerprint and no count of attempts, and the policy is always [Rerun]: what a claimant that
// died was dealing with is given to another.
//
// Each id is kept as a digest of scope and id of 16 bytes: two of them may be taken for one with a
// probability that stays below 1 in 10^15 up to 800 billion ids. Ids that are done are kept for
// at least the store's window, and then forgotten many at a time; what comes again after that is
// new. A filter in front may say that an id is new, never that it is done.
//
// Methods may be called by many goroutines at once. A call is for at most [MaxIDs] ids, which may
// contain copies; it is not atomic as a whole, but for each id. After an error it is unknown
// what was carried out, and repeating the call with the same arguments is safe.
type IDStore interface {
	// ClaimIDs claims the ids for the owner, and returns what stands for each, in order. One that
	// is absent, or whose claim's lease is over, is the owner's from then on: [IDClaimed].
	// Repeating the call returns the same. Of copies in one call only the first is claimed.
	ClaimIDs(ctx context.Context, scope string, o Owner, ids []string) ([]IDState, error)

	// CompleteIDs makes ids done, whoever has claimed them: what has happened has happened. When
	// it has returned nil they stay done, as durably as the store says.
	CompleteIDs(ctx context.Context, scope string, o Owner, ids []string) error

	// ReleaseIDs removes the owner's claims, and leaves alone what is not claimed by it: nothing
	// happened, and another may deal with them.
	ReleaseIDs(ctx context.Context, scope string, o Owner, ids []string) error
}

// An IDState is what stands for an id in an [IDStore].
type IDState uint8

const (
	IDClaimed  IDState = 1 + iota // by this call's owner, who has to deal with it
	IDInFlight                    // claimed by another, or a copy in the same call
	IDDone
)

// String returns "claimed", "in flight" or "done".
func (s IDState) String() string {
	switch s {
	case IDClaimed:
		return "claimed"
	case IDInFlight:
		return "in flight"
	case IDDone:
		return "done"
	}
	return fmt.Sprintf("IDState(%d)", uint8(s))
}

// DoIDs deals with those of many ids that were not dealt with before. It claims them in one round
// trip, calls run with the indexes of those that are new, in order, and completes them if that
// returns nil. Otherwise, or if it panics, or if the store does not say that they are completed,
// they are released and run again when they come again, even if some had their effect.
//
// It returns what was found for each id. Those [IDInFlight] are being dealt with elsewhere, or
// further up in ids: their messages must be delivered again, or be kept until the others are done;
// acknowledging them now could lose them.
func DoIDs(ctx context.Context, s IDStore, scope string, ids []string, run func(ctx context.Context, fresh []int) error) ([]IDState, error) {
	owner := NewOwner()
	states, err := s.ClaimIDs(ctx, scope, owner, ids)
	if err != nil {
		releaseIDs(ctx, s, scope, owner, ids) // what may have been claimed
		return nil, err
	}
	var fresh []int
	var claimed []string
	for i, state := range states {
		if state == IDClaimed {
			fresh, claimed = append(fresh, i), append(claimed, ids[i])
		}
	}
	if len(fresh) == 0 {
		return states, nil
	}
	done := false
	defer func() {
		if !done {
			releaseIDs(ctx, s, scope, owner, claimed)
		}
	}()
	if err := run(ctx, fresh); err != nil {
		return states, err
	}
	ctx = context.WithoutCancel(ctx)
	for try := 1; ; try++ {
		call, cancel := context.WithTimeout(ctx, DefaultLease) // the caller waits for this, whatever it hangs on
		err := s.CompleteIDs(call, scope, owner, claimed)
		cancel()
		if done = err == nil; done || try == claimTries {
			return states, err // not done: it is unknown, and so they are run again
		}
		pause(ctx, backoff(try))
	}
}

// releaseIDs gives back the ids although the caller may be gone. It is tried once and not for long:
// the store may be down, and the claims end without it in a store that outlives its callers.
func releaseIDs(ctx context.Context, s IDStore, scope string, o Owner, ids []string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveUpTime)
	defer cancel()
	s.ReleaseIDs(ctx, scope, o, ids)
}
