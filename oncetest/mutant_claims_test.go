package oncetest

import (
	"context"
	"errors"
	"time"

	"github.com/oncehq/once"
)

// claimMutants are bugs in claims and in who owns what.
var claimMutants = []mutant{
	{
		name:  "complete checks no owner",
		fails: "Complete must return ErrLost unless the caller is the owner",
		twist: func(s *twisted) {
			s.complete = func(ctx ctx, k key, _ owner, out outcome, d time.Duration) error {
				return s.Model.Complete(ctx, k, s.owner(k), out, d)
			}
		},
	}, {
		name:  "release checks no owner",
		fails: "Release must return ErrLost unless the caller is the owner",
		twist: func(s *twisted) {
			s.release = func(ctx context.Context, k once.Key, _ once.Owner) error {
				return s.Model.Release(ctx, k, s.owner(k))
			}
		},
	}, {
		name:  "renew checks no owner",
		fails: "Renew must return ErrLost unless the caller is the owner",
		twist: func(s *twisted) {
			s.renew = func(ctx context.Context, k once.Key, _ once.Owner, d time.Duration) error {
				return s.Model.Renew(ctx, k, s.owner(k), d)
			}
		},
	}, {
		name:  "the claim is deleted on any error",
		fails: "Complete must return ErrLost unless the caller is the owner",
		twist: func(s *twisted) {
			s.complete = func(ctx ctx, k key, o owner, out outcome, d time.Duration) error {
				err := s.Model.Complete(ctx, k, o, out, d)
				if err != nil {
					s.Drop(k)
				}
				return err
			}
		},
	}, {
		name:  "fences restart with each record",
		fails: "Fence grows with every claim of the key",
		twist: func(s *twisted) {
			s.claim = func(ctx context.Context, c once.Claim) (once.Record, error) {
				rec, err := s.Model.Claim(ctx, c)
				rec.Fence = uint64(rec.Attempt)
				return rec, err
			}
		},
	}, {
		name:  "fences do not grow with a takeover",
		fails: "Fence grows with every takeover",
		twist: func(s *twisted) {
			s.claim = func(ctx context.Context, c once.Claim) (once.Record, error) {
				rec, err := s.Model.Claim(ctx, c)
				rec.Fence -= uint64(max(rec.Attempt, 1) - 1)
				return rec, err
			}
		},
	}, {
		name:  "a mismatch reveals the record",
		fails: "a fingerprint that does not match must get ErrMismatch and the zero Record",
		twist: func(s *twisted) {
			s.claim = func(ctx context.Context, c once.Claim) (once.Record, error) {
				rec, err := s.Model.Claim(ctx, c)
				if errors.Is(err, once.ErrMismatch) {
					rec, _ = s.Model.Load(ctx, c.Key)
				}
				return rec, err
			}
		},
	}, {
		name:  "a mismatch is noticed only when done",
		fails: "a fingerprint that does not match must get ErrMismatch and the zero Record",
		twist: func(s *twisted) {
			s.claim = func(ctx context.Context, c once.Claim) (once.Record, error) {
				if st := s.state(c.Key); st != once.Done && st != 0 {
					c.Fingerprint = once.Fingerprint{}
				}
				return s.Model.Claim(ctx, c)
			}
		},
	}, {
		name:  "a mismatch may take over",
		fails: "a fingerprint that does not match must get no takeover",
		twist: func(s *twisted) {
			s.claim = func(ctx context.Context, c once.Claim) (once.Record, error) {
				if s.state(c.Key) == once.InDoubt && c.Takeover > 0 {
					c.Fingerprint = once.Fingerprint{}
				}
				return s.Model.Claim(ctx, c)
			}
		},
	}, {
		name:  "the zero fingerprint is compared",
		fails: "the zero fingerprint is not compared",
		twist: func(s *twisted) {
			s.claim = func(ctx context.Context, c once.Claim) (once.Record, error) {
				if e, ok := s.find(c.Key, s.now()); ok && e.Fingerprint != c.Fingerprint {
					return once.Record{}, once.ErrMismatch
				}
				return s.Model.Claim(ctx, c)
			}
		},
	}, {
		name:  "half of the fingerprint is compared",
		fails: "fingerprints that differ in one bit do not match",
		twist: func(s *twisted) {
			s.claim = func(ctx context.Context, c once.Claim) (once.Record, error) {
				clear(c.Fingerprint[16:])
				return s.Model.Claim(ctx, c)
			}
		},
	}, {
		name:  "a takeover changes the fingerprint",
		fails: "a takeover does not change the fingerprint",
		twist: func(s *twisted) {
			s.claim = func(ctx context.Context, c once.Claim) (once.Record, error) {
				rec, err := s.Model.Claim(ctx, c)
				if e, ok := s.records[c.Key]; ok && rec.Won(c) {
					e.Fingerprint, rec.Fingerprint = c.Fingerprint, c.Fingerprint
					s.put(e)
				}
				return rec, err
			}
		},
	}, {
		name:  "a claim expires with its lease",
		fails: "a record in doubt is never forgotten when Forget is zero",
		twist: func(s *twisted) {
			s.claim = func(ctx context.Context, c once.Claim) (once.Record, error) {
				if e, ok := s.records[c.Key]; ok && e.State != once.Done && e.over(s.now().Add(-time.Hour)) {
					s.Drop(c.Key)
				}
				return s.Model.Claim(ctx, c)
			}
		},
	}, {
		name:  "get, then set",
		fails: "of many claims on an absent key exactly one must win",
		twist: func(s *twisted) {
			s.claim = func(ctx context.Context, c once.Claim) (once.Record, error) {
				if s.state(c.Key) != 0 || c.Check() != nil || ctx.Err() != nil {
					return s.Model.Claim(ctx, c)
				}
				s.gap()
				s.Drop(c.Key)
				return s.Model.Claim(ctx, c)
			}
		},
	}, {
		name:  "get, then take over",
		fails: "of many takeovers exactly one must win",
		twist: func(s *twisted) {
			s.claim = func(ctx context.Context, c once.Claim) (once.Record, error) {
				e, ok := s.records[c.Key]
				if ok && s.state(c.Key) == once.InDoubt && c.Takeover > 1 {
					s.gap()
					s.put(e)
				}
				return s.Model.Claim(ctx, c)
			}
		},
	}, {
		name:  "get the owner, then complete",
		fails: "at most one owner's verbs succeed",
		twist: func(s *twisted) {
			s.complete = func(ctx ctx, k key, o owner, out outcome, d time.Duration) error {
				e, ok := s.owned(k, o, s.now())
				if !ok || ctx.Err() != nil {
					return s.Model.Complete(ctx, k, o, out, d)
				}
				s.gap()
				s.put(e)
				return s.Model.Complete(ctx, k, o, out, d)
			}
		},
	}, {
		name:  "get, then release",
		fails: "all verbs on one key appear to happen one after the other",
		twist: func(s *twisted) {
			s.release = func(ctx context.Context, k once.Key, o once.Owner) error {
				if _, ok := s.owned(k, o, s.now()); !ok || ctx.Err() != nil {
					return s.Model.Release(ctx, k, o)
				}
				s.gap()
				s.Drop(k)
				return nil
			}
		},
	}, {
		name:  "a takeover need not be asked for",
		fails: "a record in doubt must be taken over only if asked",
		twist: func(s *twisted) {
			s.claim = func(ctx context.Context, c once.Claim) (once.Record, error) {
				if c.Takeover == 0 {
					c.Takeover = 1000
				}
				return s.Model.Claim(ctx, c)
			}
		},
	}, {
		name:  "one takeover too many",
		fails: "a record in doubt must be taken over only under the attempt limit",
		twist: func(s *twisted) {
			s.claim = func(ctx context.Context, c once.Claim) (once.Record, error) {
				if c.Takeover > 0 {
					c.Takeover++
				}
				return s.Model.Claim(ctx, c)
			}
		},
	}, {
		name:  "an owner takes over from itself",
		fails: "a record in doubt must be taken over only by another owner",
		twist: func(s *twisted) {
			s.claim = func(ctx context.Context, c once.Claim) (once.Record, error) {
				if s.state(c.Key) == once.InDoubt && s.owner(c.Key) == c.Owner && c.Takeover > 0 {
					s.Model.Renew(ctx, c.Key, c.Owner, c.Lease)
				}
				return s.Model.Claim(ctx, c)
			}
		},
	}, {
		name:  "a takeover counts no attempt",
		fails: "after a takeover owner, lease and forget are the claim's",
		twist: func(s *twisted) {
			s.claim = func(ctx context.Context, c once.Claim) (once.Record, error) {
				rec, err := s.Model.Claim(ctx, c)
				if e, ok := s.records[c.Key]; ok {
					e.Attempt, rec.Attempt = 1, 1
					s.put(e)
				}
				return rec, err
			}
		},
	}, {
		name:  "a takeover keeps the former lease",
		fails: "after a takeover owner, lease and forget are the claim's",
		twist: func(s *twisted) {
			s.claim = func(ctx context.Context, c once.Claim) (once.Record, error) {
				rec, err := s.Model.Claim(ctx, c)
				if rec.Won(c) && rec.Attempt > 1 {
					rec.Lease = long
				}
				return rec, err
			}
		},
	}, {
		name:  "a repeated claim counts an attempt",
		fails: "repeating a claim with the same owner must change nothing",
		twist: func(s *twisted) {
			s.claim = func(ctx context.Context, c once.Claim) (once.Record, error) {
				if e, ok := s.records[c.Key]; ok && e.Owner == c.Owner && e.State != once.Done {
					e.Attempt++
					s.put(e)
				}
				return s.Model.Claim(ctx, c)
			}
		},
	}, {
		name:  "a repeated claim renews the lease",
		fails: "repeating a claim with the same owner must change nothing",
		twist: func(s *twisted) {
			s.claim = func(ctx context.Context, c once.Claim) (once.Record, error) {
				if s.state(c.Key) == once.InFlight {
					s.Model.Renew(ctx, c.Key, c.Owner, c.Lease)
				}
				return s.Model.Claim(ctx, c)
			}
		},
	}, {
		name:  "a claim reports one problem at a time",
		fails: "an invalid claim is refused naming every problem",
		twist: func(s *twisted) {
			s.claim = func(ctx context.Context, c once.Claim) (once.Record, error) {
				if c.Lease <= 0 {
					return once.Record{}, errors.New("the lease is not positive")
				}
				return s.Model.Claim(ctx, c)
			}
		},
	},
}
