package oncetest

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/oncehq/once"
)

// outcomeMutants are bugs in what becomes of outcomes, leases and keys.
var outcomeMutants = []mutant{
	{
		name:  "a late completion is refused",
		fails: "Complete must succeed also when the lease is over if nobody took over",
		twist: func(s *twisted) {
			s.complete = func(ctx ctx, k key, o owner, out outcome, d time.Duration) error {
				if s.state(k) == once.InDoubt {
					return once.ErrLost
				}
				return s.Model.Complete(ctx, k, o, out, d)
			}
		},
	}, {
		name:  "a late renewal is refused",
		fails: "a record in doubt that nobody took over may be renewed",
		twist: func(s *twisted) {
			s.renew = func(ctx context.Context, k once.Key, o once.Owner, d time.Duration) error {
				if s.state(k) == once.InDoubt {
					return once.ErrLost
				}
				return s.Model.Renew(ctx, k, o, d)
			}
		},
	}, {
		name:  "a renewal adds to the lease",
		fails: "Renew makes the lease end this long from now",
		twist: func(s *twisted) {
			s.renew = func(ctx context.Context, k once.Key, o once.Owner, d time.Duration) error {
				if rec, err := s.Model.Load(ctx, k); err == nil && d > 0 && d < long {
					d += max(0, rec.Lease)
				}
				return s.Model.Renew(ctx, k, o, d)
			}
		},
	}, {
		name:  "a lease cannot be ended",
		fails: "Renew with zero ends the lease at once",
		twist: func(s *twisted) {
			s.renew = func(ctx context.Context, k once.Key, o once.Owner, d time.Duration) error {
				return s.Model.Renew(ctx, k, o, max(d, time.Second))
			}
		},
	}, {
		name:  "leases are counted in seconds",
		fails: "an operation is in doubt exactly when its lease is over",
		twist: func(s *twisted) {
			s.claim = func(ctx context.Context, c once.Claim) (once.Record, error) {
				if c.Lease > 0 {
					c.Lease = (c.Lease + time.Second - 1).Truncate(time.Second)
				}
				return s.Model.Claim(ctx, c)
			}
		},
	}, {
		name:  "the owner may complete again",
		fails: "repeating Complete with another outcome must return ErrLost",
		twist: func(s *twisted) {
			s.complete = func(ctx ctx, k key, o owner, out outcome, d time.Duration) error {
				if e, ok := s.records[k]; ok && e.Owner == o && ctx.Err() == nil {
					e.State, e.Outcome = once.Done, out
					s.put(e)
				}
				return s.Model.Complete(ctx, k, o, out, d)
			}
		},
	}, {
		name:  "a repeated completion is refused",
		fails: "repeating Complete with the same outcome must return nil",
		twist: func(s *twisted) {
			s.complete = func(ctx ctx, k key, o owner, out outcome, d time.Duration) error {
				if s.state(k) == once.Done {
					return once.ErrLost
				}
				return s.Model.Complete(ctx, k, o, out, d)
			}
		},
	}, {
		name:  "a repeated completion extends the retention",
		fails: "repeating Complete with the same outcome must return nil",
		twist: func(s *twisted) {
			s.complete = func(ctx ctx, k key, o owner, out outcome, d time.Duration) error {
				err := s.Model.Complete(ctx, k, o, out, d)
				if e, ok := s.records[k]; ok && err == nil {
					e.until(s.now(), d)
					s.put(e)
				}
				return err
			}
		},
	}, {
		name:  "any second completion counts as a repetition",
		fails: "repeating Complete with another outcome must return ErrLost",
		twist: func(s *twisted) {
			s.complete = func(ctx ctx, k key, o owner, out outcome, d time.Duration) error {
				if s.state(k) == once.Done && s.owner(k) == o {
					return nil
				}
				return s.Model.Complete(ctx, k, o, out, d)
			}
		},
	}, {
		name:  "the retention counts from the claim",
		fails: "the retention counts from completion",
		twist: func(s *twisted) {
			s.complete = func(ctx ctx, k key, o owner, out outcome, d time.Duration) error {
				err := s.Model.Complete(ctx, k, o, out, d)
				if e, ok := s.records[k]; ok && err == nil {
					e.until(e.Created, d)
					s.put(e)
				}
				return err
			}
		},
	}, {
		name:  "retention zero means no end",
		fails: "retention zero removes the record",
		twist: func(s *twisted) {
			s.complete = func(ctx ctx, k key, o owner, out outcome, d time.Duration) error {
				if d == 0 {
					d = once.Forever
				}
				return s.Model.Complete(ctx, k, o, out, d)
			}
		},
	}, {
		name:  "Forever is ten years",
		fails: "Forever is a retention that never ends",
		twist: func(s *twisted) {
			s.complete = func(ctx ctx, k key, o owner, out outcome, d time.Duration) error {
				return s.Model.Complete(ctx, k, o, out, min(d, 10*365*24*time.Hour))
			}
		},
	}, {
		name:  "the end overflows",
		fails: "a retention of any length is kept",
		twist: func(s *twisted) {
			s.complete = func(ctx ctx, k key, o owner, out outcome, d time.Duration) error {
				if d != once.Forever {
					d = time.Unix(0, s.now().UnixNano()+int64(d)).Sub(s.now())
				}
				return s.Model.Complete(ctx, k, o, out, d)
			}
		},
	}, {
		name:  "a record in doubt is forgotten early",
		fails: "a record in doubt is not forgotten before Forget is over",
		twist: func(s *twisted) {
			s.load = func(ctx context.Context, k once.Key) (once.Record, error) {
				if e, ok := s.records[k]; ok && s.state(k) == once.InDoubt && e.forget > 0 {
					s.Drop(k)
				}
				return s.Model.Load(ctx, k)
			}
		},
	}, {
		name:  "a takeover keeps the former Forget",
		fails: "only the latest claim's Forget counts",
		twist: func(s *twisted) {
			forget := make(map[once.Key]time.Duration)
			s.claim = func(ctx context.Context, c once.Claim) (once.Record, error) {
				rec, err := s.Model.Claim(ctx, c)
				if err == nil && rec.Attempt == 1 {
					forget[c.Key] = c.Forget
				}
				return rec, err
			}
			s.load = func(ctx context.Context, k once.Key) (once.Record, error) {
				e := s.records[k]
				if d := forget[k]; d > 0 && s.state(k) == once.InDoubt && e.over(s.now().Add(-d)) {
					s.Drop(k)
				}
				return s.Model.Load(ctx, k)
			}
		},
	}, {
		name:  "scope and id are joined",
		fails: "a byte moved from the scope to the id makes another key",
		twist: func(s *twisted) {
			s.rename(func(k once.Key) once.Key {
				return once.Key{Scope: "-", ID: k.Scope + ":" + k.ID}
			})
		},
	}, {
		name:  "keys are folded to lower case",
		fails: "keys are kept apart that differ in any byte",
		twist: func(s *twisted) {
			s.rename(func(k once.Key) once.Key {
				return once.Key{Scope: k.Scope, ID: strings.ToLower(k.ID)}
			})
		},
	}, {
		name:  "trailing space is ignored",
		fails: "keys are kept apart that differ in any byte",
		twist: func(s *twisted) {
			s.rename(func(k once.Key) once.Key {
				return once.Key{Scope: strings.TrimRight(k.Scope, " "), ID: k.ID}
			})
		},
	}, {
		name:  "keys are made valid UTF-8",
		fails: "keys are kept apart that differ in any byte",
		twist: func(s *twisted) {
			s.rename(func(k once.Key) once.Key {
				return once.Key{Scope: k.Scope, ID: strings.ToValidUTF8(k.ID, "\ufffd")}
			})
		},
	}, {
		name:  "keys end at a NUL",
		fails: "keys are kept apart that differ in any byte",
		twist: func(s *twisted) {
			s.rename(func(k once.Key) once.Key {
				id, _, _ := strings.Cut(k.ID[1:], "\x00")
				return once.Key{Scope: k.Scope, ID: k.ID[:1] + id}
			})
		},
	}, {
		name:  "outcomes go through JSON",
		fails: "Complete records the outcome byte for byte",
		twist: func(s *twisted) {
			s.complete = func(ctx ctx, k key, o owner, out outcome, d time.Duration) error {
				text, _ := json.Marshal(string(out.Data))
				var data string
				json.Unmarshal(text, &data)
				out.Data = []byte(data)
				return s.Model.Complete(ctx, k, o, out, d)
			}
		},
	}, {
		name:  "outcomes are trimmed",
		fails: "Complete records the outcome byte for byte",
		twist: func(s *twisted) {
			s.complete = func(ctx ctx, k key, o owner, out outcome, d time.Duration) error {
				out.Data = bytes.TrimSpace(out.Data)
				return s.Model.Complete(ctx, k, o, out, d)
			}
		},
	}, {
		name:  "a failure without data is a success",
		fails: "Complete records the outcome byte for byte",
		twist: func(s *twisted) {
			s.complete = func(ctx ctx, k key, o owner, out outcome, d time.Duration) error {
				out.Failed = out.Failed && len(out.Data) > 0
				return s.Model.Complete(ctx, k, o, out, d)
			}
		},
	}, {
		name:  "contexts are ignored",
		fails: "a verb whose context is done before it starts must change nothing",
		twist: func(s *twisted) {
			s.complete = func(ctx ctx, k key, o owner, out outcome, d time.Duration) error {
				return s.Model.Complete(context.WithoutCancel(ctx), k, o, out, d)
			}
		},
	}, {
		name:  "a completion has two steps",
		fails: "a completion whose context ends meanwhile may be repeated",
		twist: func(s *twisted) {
			s.complete = func(ctx ctx, k key, o owner, out outcome, d time.Duration) error {
				e, ok := s.owned(k, o, s.now())
				if !ok || ctx.Err() != nil {
					return s.Model.Complete(ctx, k, o, out, d)
				}
				e.State = once.Done
				e.until(s.now(), d)
				s.put(e)
				s.gap()
				if err := ctx.Err(); err != nil {
					return err
				}
				e.State = once.InFlight
				s.put(e)
				return s.Model.Complete(ctx, k, o, out, d)
			}
		},
	}, {
		name:  "a takeover has two steps",
		fails: "a verb whose context ends meanwhile is carried out whole or not at all",
		twist: func(s *twisted) {
			s.claim = func(ctx context.Context, c once.Claim) (once.Record, error) {
				if s.state(c.Key) != 0 || c.Check() != nil || ctx.Err() != nil {
					return s.Model.Claim(ctx, c)
				}
				rec, err := s.Model.Claim(ctx, c)
				e := s.records[c.Key]
				s.put(entry{Record: once.Record{Key: c.Key, State: once.InFlight}, endless: true})
				s.gap()
				if err := ctx.Err(); err != nil {
					return once.Record{}, err
				}
				s.put(e)
				return rec, err
			}
		},
	},
}
