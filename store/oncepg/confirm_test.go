package oncepg_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/store/oncepg"
)

// A commit that gave up waiting for the standby is there to be seen, but a failover would forget it.
func TestNothingCountsThatTheStandbyHasNot(t *testing.T) {
	t.Parallel()
	primary := servers.Postgres(t, "synchronous_standby_names = *")
	standby := primary.Standby(t, "synchronous_standby_names =")
	cfg := oncepg.Config{DSN: primary.DSN, Sweep: -1, Timeout: time.Second}
	migrated(t, cfg)
	s, tx := open(t, cfg), openTransactional(t, cfg)
	owned, finished := newClaim("owned"), newClaim("finished")
	wins(t, s, finished)
	standby.Pause()

	claim := func(s once.Store, c once.Claim) error {
		_, err := s.Claim(t.Context(), c)
		return err
	}
	complete := func() error {
		return s.Complete(t.Context(), finished.Key, finished.Owner, outcome("o"), long)
	}
	other := newClaim("finished")
	verbs := map[string]func() error{
		"claim":                        func() error { return claim(s, owned) },
		"claim in batch":               func() error { return s.ClaimBatch(t.Context(), []once.Claim{owned})[0].Err },
		"complete":                     complete,
		"replay":                       func() error { return claim(s, other) },
		"replay in transactional mode": func() error { return claim(tx, other) },
		"load": func() error {
			_, err := s.Load(t.Context(), finished.Key)
			return err
		},
	}
	verbs["claim"]()
	complete()
	admin, err := pgx.Connect(t.Context(), primary.DSN)
	ok(t, err)
	defer admin.Close(context.Background())
	eventually(t, "both are there to be seen", func() bool {
		var n int
		const sql = "SELECT count(*) FROM once.records WHERE state = 2 OR id = 'owned'"
		return admin.QueryRow(t.Context(), sql).Scan(&n) == nil && n == 2
	})
	for name, verb := range verbs {
		switch err := verb(); {
		case err == nil:
			t.Errorf("%s is acknowledged while no standby has it", name)
		case errors.Is(err, once.ErrLost), errors.Is(err, once.ErrNotFound), errors.Is(err, once.ErrInFlight):
			t.Errorf("%s: %v, which is definite", name, err)
		}
	}
	standby.Resume()
	for name, verb := range verbs {
		eventually(t, name+" is acknowledged again", func() bool { return verb() == nil })
	}
	wins(t, s, owned)
	standby.Promote(t)
	after := open(t, oncepg.Config{DSN: standby.DSN, Sweep: -1})
	wins(t, after, owned)
	rec, err := after.Load(t.Context(), finished.Key)
	if err != nil || !rec.Outcome.Equal(outcome("o")) {
		t.Errorf("the outcome after the failover: %v, %v", rec.State, err)
	}
}

// A claim that is new is confirmed by its own commit, in one round trip.
func TestOnlyWhatWasReadIsConfirmed(t *testing.T) {
	t.Parallel()
	primary := servers.Postgres(t, "synchronous_standby_names = *")
	primary.Standby(t, "synchronous_standby_names =")
	cfg, counted := tracedOn(t, migrated(t, oncepg.Config{DSN: primary.DSN, Sweep: -1}))
	s := open(t, cfg)
	c, other := newClaim("x"), newClaim("x")
	counted.take()
	for _, step := range []struct {
		name string
		do   func() error
		want int
	}{
		{"fresh claim", func() error { return second(s.Claim(t.Context(), c)) }, 1},
		{"claim that is refused", func() error { return second(s.Claim(t.Context(), other)) }, 1},
		{"repeated claim", func() error { return second(s.Claim(t.Context(), c)) }, 2},
		{"complete", func() error { return s.Complete(t.Context(), c.Key, c.Owner, outcome("o"), long) }, 1},
		{"replay", func() error { return second(s.Claim(t.Context(), other)) }, 2},
	} {
		ok(t, step.do())
		if got := counted.take(); got != step.want {
			t.Errorf("%s: %d round trips, want %d", step.name, got, step.want)
		}
	}
}

func second[T any](_ T, err error) error { return err }
