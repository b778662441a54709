package onceredis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/oncehq/once"
	"github.com/redis/rueidis"
)

// Claim implements [once.Store].
func (s *Store) Claim(ctx context.Context, c once.Claim) (once.Record, error) {
	if err := c.Check(); err != nil {
		return once.Record{}, err
	}
	name := s.name(c.Key)
	if rec, err, ok := s.readDone(ctx, c, name); ok {
		return rec, err
	}
	sent := time.Now()
	reply, err := s.runReplicated(ctx, s.scripts.claim, name, claimArgs(c)...)
	if errors.Is(err, errUnreplicated) {
		s.takeBack(ctx, c, reply)
	}
	if err != nil {
		return once.Record{}, err
	}
	rec, err := claimReply(c, reply)
	if rec.State == once.Done {
		s.seen.note(name, rec.Owner, sent, rec.Retention)
	}
	return rec, err
}

func claimArgs(c once.Claim) []string {
	var head [offAttempt]byte
	return []string{
		string(appendHead(head[:0], c)),
		strconv.FormatInt(micros(c.Lease), 10),
		strconv.FormatInt(claimTTL(c.Lease, c.Forget), 10),
		strconv.FormatInt(takeoverLimit(c.Takeover), 10),
	}
}

// claimReply reads what the script claim returned.
func claimReply(c once.Claim, reply rueidis.RedisMessage) (once.Record, error) {
	if !reply.IsInt64() {
		return recordReply(c.Key, reply)
	}
	fence, err := reply.ToInt64()
	if err != nil {
		return once.Record{}, err
	}
	if fence == 0 {
		return once.Record{}, once.ErrMismatch
	}
	return once.Record{
		Key:         c.Key,
		Fingerprint: c.Fingerprint,
		Owner:       c.Owner,
		State:       once.InFlight,
		Attempt:     1,
		Fence:       uint64(fence),
		Created:     time.UnixMicro(fence), // a new record's fence is the server's clock
		Lease:       remaining(min(fence+micros(c.Lease), never), fence),
	}, nil
}

// recordReply reads a clock and a record.
func recordReply(k once.Key, reply rueidis.RedisMessage) (once.Record, error) {
	parts, err := reply.ToArray()
	if err != nil {
		return once.Record{}, err
	}
	if len(parts) < 2 {
		return once.Record{}, fmt.Errorf("onceredis: reply has %d parts, want 2", len(parts))
	}
	clock, err := parts[0].ToInt64()
	if err != nil {
		return once.Record{}, err
	}
	v, err := parts[1].AsBytes()
	if err != nil {
		return once.Record{}, err
	}
	return decode(k, v, clock)
}

// takeBack undoes a claim that too few replicas have confirmed, if this very call made it: a new
// one is released, and one that was taken over put back in doubt. A claim that stood before
// stays, since its owner may be at work.
func (s *Store) takeBack(ctx context.Context, c once.Claim, reply rueidis.RedisMessage) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.MinReplicasTimeout)
	defer cancel()
	if fence, err := reply.ToInt64(); err == nil && fence != 0 {
		s.Release(ctx, c.Key, c.Owner)
	} else if parts, err := reply.ToArray(); err == nil && len(parts) == 3 {
		s.Renew(ctx, c.Key, c.Owner, 0)
	}
}

// Renew implements [once.Store].
func (s *Store) Renew(ctx context.Context, k once.Key, o once.Owner, lease time.Duration) error {
	return s.owned(s.run(ctx, s.scripts.renew, s.name(k),
		ownerArg(o), strconv.FormatInt(micros(lease), 10)))
}

// Complete implements [once.Store]. An outcome with more bytes than Config.MaxOutcome is refused
// with [once.ErrTooLarge].
func (s *Store) Complete(
	ctx context.Context, k once.Key, o once.Owner, out once.Outcome, retention time.Duration,
) error {
	if len(out.Type) > maxType {
		return fmt.Errorf("onceredis: complete: media type has %d bytes, at most %d are kept: %w",
			len(out.Type), maxType, once.ErrTooLarge)
	}
	if len(out.Data) > s.cfg.MaxOutcome {
		return fmt.Errorf("onceredis: complete: outcome has %d bytes; Config.MaxOutcome is %d: %w",
			len(out.Data), s.cfg.MaxOutcome, once.ErrTooLarge)
	}
	state, ttl := string(done), int64(-1)
	if out.Failed {
		state = string(doneFailed)
	}
	if retention > 0 {
		ttl = millis(retention)
	}
	name, sent := s.name(k), time.Now()
	reply, err := s.runReplicated(ctx, s.scripts.complete, name,
		ownerArg(o), state, strconv.FormatInt(ttl, 10), typeArg(out.Type), rueidis.BinaryString(out.Data))
	if n, _ := reply.ToInt64(); n == 1 && err == nil && retention > 0 {
		s.seen.note(name, o, sent, retention)
	}
	return s.owned(reply, err)
}

// Release implements [once.Store].
func (s *Store) Release(ctx context.Context, k once.Key, o once.Owner) error {
	return s.owned(s.run(ctx, s.scripts.release, s.name(k), ownerArg(o)))
}

// Load implements [once.Store]. It asks the master.
func (s *Store) Load(ctx context.Context, k once.Key) (once.Record, error) {
	reply, err := s.run(ctx, s.scripts.load, s.name(k))
	if rueidis.IsRedisNil(err) {
		return once.Record{}, once.ErrNotFound
	}
	if err != nil {
		return once.Record{}, err
	}
	return recordReply(k, reply)
}

// Forget implements [once.Forgetter].
func (s *Store) Forget(ctx context.Context, k once.Key, o once.Owner) error {
	reply, err := s.run(ctx, s.scripts.forget, s.name(k), ownerArg(o))
	if err != nil {
		return err
	}
	if n, err := reply.ToInt64(); err == nil && n < 0 {
		return once.ErrNotFound
	}
	return s.owned(reply, nil)
}

// owned reads the reply of a script that returns whether the caller is the owner.
func (s *Store) owned(reply rueidis.RedisMessage, err error) error {
	if err != nil {
		return err
	}
	n, err := reply.ToInt64()
	if err == nil && n == 0 {
		return once.ErrLost
	}
	return err
}

func (s *Store) name(k once.Key) string { return keyName(s.cfg.Prefix, k) }

// typeArg returns the part of a record that tells the type. What follows is the data.
func typeArg(mediaType string) string { return string([]byte{byte(len(mediaType))}) + mediaType }

func ownerArg(o once.Owner) string { return string(o[:]) }
