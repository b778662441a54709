package oncenats_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/oncehq/once"
	"github.com/oncehq/once/store/oncenats"
)

// With no room left new operations are refused, and what is told of others is true.
func TestFullStreamRefusesNewClaims(t *testing.T) {
	t.Parallel()
	n := startServer(t)
	cfg := oncenats.Config{DSN: n.dsn(), MaxBytes: 20_000}
	migrate(t, cfg)
	s := open(t, cfg)
	c, done := newClaim(), newClaim()
	wins(t, s, c)
	wins(t, s, done)
	ok(t, s.Complete(t.Context(), done.Key, done.Owner, result, time.Hour))
	var err error
	for range 200 {
		if err = second(s.Claim(t.Context(), newClaim())); err != nil {
			break
		}
	}
	if !errors.Is(err, once.ErrFull) {
		t.Fatalf("the stream is full, and a claim got error %v, want ErrFull", err)
	}
	if res := s.ClaimBatch(t.Context(), []once.Claim{newClaim()})[0]; !errors.Is(res.Err, once.ErrFull) {
		t.Errorf("claim of a batch: got error %v, want ErrFull", res.Err)
	}
	if rec, err := s.Claim(t.Context(), claimOn(done.Key)); err != nil || !rec.Outcome.Equal(result) {
		t.Errorf("replay: got %v, error %v", rec.State, err)
	}
	findings, err := s.Doctor(t.Context())
	if err != nil || !strings.Contains(strings.Join(findings, " "), "max_bytes") {
		t.Errorf("doctor finds %q, error %v", findings, err)
	}
	big := once.Outcome{Data: bytes.Repeat([]byte("x"), 10_000)}
	if err := s.Complete(t.Context(), c.Key, c.Owner, big, time.Hour); !errors.Is(err, once.ErrFull) {
		t.Errorf("a large outcome: got error %v, want ErrFull", err)
	}
	ok(t, s.Release(t.Context(), c.Key, c.Owner))
}

// Servers of a cluster look at the account's limits before anything else. What they have, they tell.
func TestFullAccountRefusesNewClaimsAndReplaysOthers(t *testing.T) {
	t.Parallel()
	all := startCluster(t, 3)
	s := open(t, oncenats.Config{DSN: clusterDSN(all)})
	done, flying := newClaim(), newClaim()
	wins(t, s, done)
	ok(t, s.Complete(t.Context(), done.Key, done.Owner, result, time.Hour))
	wins(t, s, flying)
	for _, n := range all {
		ok(t, n.GlobalAccount().UpdateJetStreamLimits(map[string]server.JetStreamAccountLimits{
			"": {MaxMemory: -1, MaxStore: 10, MaxStreams: -1, MaxConsumers: -1},
		}))
	}
	if err := second(s.Claim(t.Context(), newClaim())); !errors.Is(err, once.ErrFull) {
		t.Errorf("a new claim: got error %v, want ErrFull", err)
	}
	fresh := open(t, oncenats.Config{DSN: clusterDSN(all)}) // a process that starts now
	for _, s := range []*oncenats.Store{s, fresh} {
		if rec, err := s.Claim(t.Context(), claimOn(done.Key)); err != nil || !rec.Outcome.Equal(result) {
			t.Errorf("replay: got %v, error %v", rec.State, err)
		}
		if rec, err := s.Claim(t.Context(), claimOn(flying.Key)); err != nil || rec.State != once.InFlight {
			t.Errorf("claim of what is in flight: got %v, error %v", rec.State, err)
		}
		res := s.ClaimBatch(t.Context(), []once.Claim{claimOn(done.Key), newClaim()})
		if res[0].Err != nil || res[0].Record.State != once.Done || !errors.Is(res[1].Err, once.ErrFull) {
			t.Errorf("batch: got %v, error %v, and error %v", res[0].Record.State, res[0].Err, res[1].Err)
		}
	}
}
