package onceredis_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/store/onceredis"
)

// replicated returns a master with one replica, and a store that wants the replica's word.
func replicated(t *testing.T, timeout time.Duration) (master, replica *servers.RedisServer, s *onceredis.Store) {
	t.Helper()
	master = servers.Redis(t)
	replica = servers.Redis(t, "replicaof "+strings.Replace(master.Addr, ":", " ", 1))
	eventually(t, "the replica is connected", func() bool {
		return strings.Contains(replica.Command(t, "INFO", "replication"), "master_link_status:up")
	})
	return master, replica, open(t, onceredis.Config{DSN: dsn(master), MinReplicas: 1, MinReplicasTimeout: timeout})
}

func TestClaimCountsOnlyWithEnoughReplicas(t *testing.T) {
	t.Parallel()
	master, replica, s := replicated(t, 100*time.Millisecond)
	direct := open(t, onceredis.Config{DSN: dsn(master)})
	stood, doubtful := newClaim(), newClaim()
	for _, c := range []once.Claim{stood, doubtful} {
		wins(t, direct, c)
	}
	ok(t, direct.Renew(t.Context(), doubtful.Key, doubtful.Owner, 0))
	takeover := claimOn(doubtful.Key)
	takeover.Takeover = 10
	replica.Pause()

	fresh := newClaim()
	unknown(t, "claim of an absent key", second(s.Claim(t.Context(), fresh)))
	if _, err := direct.Load(t.Context(), fresh.Key); !errors.Is(err, once.ErrNotFound) {
		t.Errorf("a claim that does not count was not released: error %v", err)
	}
	unknown(t, "takeover", second(s.Claim(t.Context(), takeover)))
	if rec, err := direct.Load(t.Context(), takeover.Key); err != nil || rec.State != once.InDoubt || rec.Attempt != 2 {
		t.Errorf("a takeover that does not count left the record %v, attempt %d, error %v; want it in doubt",
			rec.State, rec.Attempt, err)
	}
	// This owner may be at work; its claim is not to be taken from it because it asks again.
	unknown(t, "repeated claim", second(s.Claim(t.Context(), stood)))
	if rec, err := direct.Load(t.Context(), stood.Key); err != nil || !rec.Won(stood) {
		t.Errorf("a claim that was repeated is now %v, error %v", rec.State, err)
	}
	for i, res := range s.ClaimBatch(t.Context(), batch(3, func(i int) string { return "batch" + string(rune('0'+i)) })) {
		unknown(t, "claim of a batch", res.Err)
		if _, err := direct.Load(t.Context(), once.Key{Scope: "test", ID: "batch" + string(rune('0'+i))}); !errors.Is(err, once.ErrNotFound) {
			t.Errorf("a claim of a batch that does not count was not released: error %v", err)
		}
	}
	replica.Resume()
	eventually(t, "the claim counts", func() bool {
		rec, err := s.Claim(t.Context(), fresh)
		return err == nil && rec.Won(fresh)
	})
}

func TestOutcomeCountsOnlyWithEnoughReplicas(t *testing.T) {
	t.Parallel()
	_, replica, s := replicated(t, 100*time.Millisecond)
	c := newClaim()
	eventually(t, "the claim counts", func() bool { return second(s.Claim(t.Context(), c)) == nil })
	replica.Pause()
	complete := func() error { return s.Complete(t.Context(), c.Key, c.Owner, result, time.Hour) }
	unknown(t, "complete", complete())
	// The master has the outcome by now, so that this writes nothing new: it must wait all the same.
	unknown(t, "complete again", complete())
	unknown(t, "replay of an outcome that does not count", second(s.Claim(t.Context(), claimOn(c.Key))))
	replica.Resume()
	eventually(t, "the outcome counts", func() bool { return complete() == nil })
	if got := replica.Command(t, "GET", keyName(c.Key)); !strings.HasSuffix(got, string(result.Data)) {
		t.Errorf("the replica has %q", got)
	}
}

// A master that has become a replica must not answer any more, be it from what it remembers.
func TestNobodyIsAnsweredByAReplica(t *testing.T) {
	t.Parallel()
	former, other := servers.Redis(t), servers.Redis(t)
	s := open(t, onceredis.Config{DSN: dsn(former)})
	c := newClaim()
	wins(t, s, c)
	ok(t, s.Complete(t.Context(), c.Key, c.Owner, result, time.Hour))
	host, port, _ := strings.Cut(other.Addr, ":")
	former.Command(t, "CONFIG", "SET", "repl-diskless-load", "disabled")
	other.Pause() // so that the former master keeps its records
	former.Command(t, "REPLICAOF", host, port)
	for name, err := range map[string]error{
		"replay": second(s.Claim(t.Context(), claimOn(c.Key))),
		"claim":  second(s.Claim(t.Context(), newClaim())),
		"load":   second(s.Load(t.Context(), c.Key)),
	} {
		if err == nil || !strings.Contains(err.Error(), "read-only replica") {
			t.Errorf("%s: got error %v, want that it is a replica", name, err)
		}
	}
}

// unknown checks for an error that leaves open what has happened.
func unknown(t *testing.T, what string, err error) {
	t.Helper()
	for _, known := range []error{once.ErrLost, once.ErrMismatch, once.ErrNotFound, once.ErrFull, once.ErrUnreadable} {
		if errors.Is(err, known) {
			t.Errorf("%s: got error %v, which is definite", what, err)
			return
		}
	}
	if err == nil || !strings.Contains(err.Error(), "fewer replicas") {
		t.Errorf("%s: got error %v, want that there are too few replicas", what, err)
	}
}
