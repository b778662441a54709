package onceredis_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/oncetest"
	"github.com/oncehq/once/store/onceredis"
)

func openIDs(t testing.TB, cfg onceredis.Config, ids onceredis.IDsConfig) *onceredis.IDs {
	t.Helper()
	s, err := open(t, cfg).IDs(t.Context(), ids)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestIDs(t *testing.T) {
	t.Parallel()
	for _, where := range []struct {
		name string
		dsn  func(t *testing.T) string
	}{
		{"one server", func(t *testing.T) string { return dsn(servers.Redis(t)) }},
		{"cluster", func(t *testing.T) string { return "redis+cluster://" + servers.RedisCluster(t).Addrs() }},
	} {
		t.Run(where.name, func(t *testing.T) {
			t.Parallel()
			dsn, n := where.dsn(t), 0
			another := func(t *testing.T, lease time.Duration) once.IDStore {
				return openIDs(t, onceredis.Config{DSN: dsn, Prefix: fmt.Sprint("test", n)},
					onceredis.IDsConfig{Window: time.Hour, Lease: lease})
			}
			again := func(t *testing.T) once.IDStore { return another(t, 10*time.Minute) }
			oncetest.TestIDStore(t, oncetest.IDOptions{
				Open:       func(t *testing.T) once.IDStore { n++; return again(t) },
				OpenAgain:  again,
				OpenLeased: func(t *testing.T, lease time.Duration) once.IDStore { n++; return another(t, lease) },
			})
		})
	}
}

// Ids answer for the window, also across periods, and are then removed with all that was needed
// for them.
func TestIDsAreForgottenByTheBucket(t *testing.T) {
	t.Parallel()
	r := servers.Redis(t)
	const window = 6 * time.Second
	s := openIDs(t, onceredis.Config{DSN: dsn(r)}, onceredis.IDsConfig{Window: window, Buckets: 3, Lease: time.Second})
	completed := map[string]time.Time{}
	for n := range 12 {
		id := fmt.Sprint("id ", n)
		began := time.Now()
		ok(t, s.CompleteIDs(t.Context(), "s", once.NewOwner(), []string{id}))
		completed[id] = began
		for id, at := range completed {
			state := claimID(t, s, id)
			if age := time.Since(at); state != once.IDDone && age < window {
				t.Errorf("%s is %v at the age of %v", id, state, age)
			}
		}
		time.Sleep(300 * time.Millisecond)
	}
	eventually(t, "all that is left is the layout", func() bool { return r.Command(t, "DBSIZE") == "1" })
	for id := range completed {
		if state := claimID(t, s, id); state != once.IDClaimed {
			t.Errorf("%s is %v although nothing is left of it", id, state)
		}
	}
}

func claimID(t *testing.T, s once.IDStore, id string) once.IDState {
	t.Helper()
	o := once.NewOwner()
	states, err := s.ClaimIDs(t.Context(), "s", o, []string{id})
	ok(t, err)
	ok(t, s.ReleaseIDs(t.Context(), "s", o, []string{id}))
	return states[0]
}

// A thousand ids are one command, and what was done survives a server that is killed, which then
// does not know the scripts.
func TestIDsInOneRoundTrip(t *testing.T) {
	t.Parallel()
	r := servers.Redis(t, "appendfsync always")
	s := openIDs(t, onceredis.Config{DSN: dsn(r)}, onceredis.IDsConfig{Window: time.Hour})
	ids := make([]string, 1000)
	for i := range ids {
		ids[i] = fmt.Sprint("id ", i)
	}
	o := once.NewOwner()
	verbs := map[string]func() error{
		"claim":    func() error { return second(s.ClaimIDs(t.Context(), "s", o, ids)) },
		"complete": func() error { return s.CompleteIDs(t.Context(), "s", o, ids) },
		"release":  func() error { return s.ReleaseIDs(t.Context(), "s", o, ids) },
	}
	for _, run := range verbs {
		ok(t, run()) // the server learns the scripts
	}
	for name, run := range verbs {
		before := r.Calls(t)["evalsha"]
		ok(t, run())
		if n := r.Calls(t)["evalsha"] - before; n != 1 {
			t.Errorf("%s of 1000 ids took %d commands, want 1", name, n)
		}
	}
	r.Kill()
	r.Restart(t)
	var states []once.IDState
	eventually(t, "the client has connected again", func() (connected bool) {
		var err error
		states, err = s.ClaimIDs(t.Context(), "s", o, ids)
		return err == nil
	})
	for i, state := range states {
		if state != once.IDDone {
			t.Fatalf("%s is %v after the server was killed", ids[i], state)
		}
	}
}

// Ids that were done a moment before the server's clock was set back into the bucket before, or by
// a master whose clock was ahead of its successor's, are done.
func TestIDsOfTheNextBucketAreDone(t *testing.T) {
	t.Parallel()
	r := servers.Redis(t)
	s := openIDs(t, onceredis.Config{DSN: dsn(r)}, onceredis.IDsConfig{Window: 100 * time.Hour, Buckets: 1})
	ok(t, s.CompleteIDs(t.Context(), "s", once.NewOwner(), []string{"a"}))
	const rename = `
		for _, name in ipairs(redis.call('KEYS', '{once:ids:0}*:*')) do
			local head, bucket, hash = string.match(name, '(.*})(%d+):(%d+)')
			redis.call('RENAME', name, head .. string.format('%.0f', bucket + 1) .. ':' .. hash)
			return 'renamed'
		end`
	if got := r.Command(t, "EVAL", rename, "0"); got != "renamed" {
		t.Fatalf("the hash of the id was not found: %s", got)
	}
	if state := claimID(t, s, "a"); state != once.IDDone {
		t.Errorf("it is %v", state)
	}
}

// With no memory left no ids are claimed, but those that were dealt with are completed.
func TestFullServerRefusesOnlyNewIDs(t *testing.T) {
	t.Parallel()
	r := servers.Redis(t)
	s := openIDs(t, onceredis.Config{DSN: dsn(r)}, onceredis.IDsConfig{Window: time.Hour})
	o := once.NewOwner()
	_, err := s.ClaimIDs(t.Context(), "s", o, []string{"a", "b"})
	ok(t, err)
	ok(t, s.CompleteIDs(t.Context(), "s", o, []string{"warm"}))
	ok(t, s.ReleaseIDs(t.Context(), "s", o, []string{"warm"}))
	r.Command(t, "CONFIG", "SET", "maxmemory", "1000")
	if _, err := s.ClaimIDs(t.Context(), "s", once.NewOwner(), []string{"c"}); !errors.Is(err, once.ErrFull) {
		t.Errorf("claim: error %v, want ErrFull", err)
	}
	ok(t, s.CompleteIDs(t.Context(), "s", o, []string{"a"}))
	ok(t, s.ReleaseIDs(t.Context(), "s", o, []string{"b"}))
	r.Command(t, "CONFIG", "SET", "maxmemory", "0")
	states, err := s.ClaimIDs(t.Context(), "s", once.NewOwner(), []string{"a", "b", "c"})
	if err != nil || fmt.Sprint(states) != "[done claimed claimed]" {
		t.Errorf("in the end they are %v, error %v", states, err)
	}
}

func TestIDsRefuse(t *testing.T) {
	t.Parallel()
	r := servers.Redis(t)
	s := open(t, onceredis.Config{DSN: dsn(r)})
	_, err := s.IDs(t.Context(), onceredis.IDsConfig{Buckets: -1, Expected: -1, Lease: -1})
	for _, field := range []string{"Window", "Buckets", "Expected", "Lease"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("the error does not name %s: %v", field, err)
		}
	}
	if _, err := s.IDs(t.Context(), onceredis.IDsConfig{Window: time.Hour}); err != nil {
		t.Error(err)
	}
	if _, err := s.IDs(t.Context(), onceredis.IDsConfig{Window: 2 * time.Hour}); err == nil ||
		!strings.Contains(err.Error(), "another layout") {
		t.Errorf("another window: error %v", err)
	}
}

// What an id costs is for people to read; what is asserted is that it stays compact.
func TestIDsAreCompact(t *testing.T) {
	t.Parallel()
	n := 100_000
	if *million {
		n = 1_000_000
	}
	r := servers.Redis(t, "appendonly no")
	s := openIDs(t, onceredis.Config{DSN: dsn(r)}, onceredis.IDsConfig{Window: 24 * time.Hour, Buckets: 1, Expected: int64(n)})
	empty := info(t, r, "memory", "used_memory")
	ids := make([]string, 10_000)
	for at := 0; at < n; at += len(ids) {
		for i := range ids {
			ids[i] = fmt.Sprint("id ", at+i)
		}
		ok(t, s.CompleteIDs(t.Context(), "s", once.NewOwner(), ids))
	}
	each := (info(t, r, "memory", "used_memory") - empty) / float64(n)
	t.Logf("%d ids: %.1f bytes of memory each", n, each)
	if each > 40 {
		t.Errorf("an id takes %.0f bytes: the hashes are not kept compactly", each)
	}
}
