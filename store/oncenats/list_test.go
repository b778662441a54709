package oncenats_test

import (
	"encoding/base64"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/store/oncenats"
)

func TestListIsCompleteWhileRecordsChange(t *testing.T) {
	t.Parallel()
	s := open(t, oncenats.Config{DSN: startMigrated(t).dsn()})
	const all = 700 // several steps
	claims := make([]once.Claim, all)
	want := make(map[once.Key]bool)
	for i := range claims {
		claims[i] = newClaim()
		want[claims[i].Key] = true
	}
	for _, res := range s.ClaimBatch(t.Context(), claims) {
		ok(t, res.Err)
	}
	i := 0
	for rec, err := range s.List(t.Context(), once.Filter{}) {
		ok(t, err)
		if !want[rec.Key] {
			t.Fatalf("%v was listed twice, or is not there", rec.Key)
		}
		delete(want, rec.Key)
		c := claims[(7*i)%all] // some were listed, some not
		ok(t, s.Complete(t.Context(), c.Key, c.Owner, result, time.Hour))
		i++
	}
	if len(want) > 0 {
		t.Errorf("%d records were not listed", len(want))
	}
}

// A list goes on where it was when the server has forgotten it, since the caller took too long, and when
// the connection was lost.
func TestListGoesOnWhateverHappens(t *testing.T) {
	t.Parallel()
	n := startMigrated(t)
	p := servers.NewProxy(t, n.addr())
	s := open(t, oncenats.Config{DSN: "nats://" + p.Addr})
	js := stream(t, n)
	const all = 1200 // several steps
	claims := make([]once.Claim, all)
	for i := range claims {
		claims[i] = newClaim()
	}
	for _, res := range s.ClaimBatch(t.Context(), claims) {
		ok(t, res.Err)
	}
	for name, happens := range map[string]func(){
		"forgotten": func() {
			st, err := js.Stream(t.Context(), oncenats.DefaultStream)
			ok(t, err)
			for name := range st.ConsumerNames(t.Context()).Name() {
				ok(t, st.DeleteConsumer(t.Context(), name))
			}
		},
		"cut": func() { p.Cut(); p.Mend() },
	} {
		listed := make(map[once.Key]bool)
		for rec, err := range s.List(t.Context(), once.Filter{}) {
			ok(t, err)
			if listed[rec.Key] {
				t.Fatalf("%s: %v was listed twice", name, rec.Key)
			}
			listed[rec.Key] = true
			if len(listed) == 10 || len(listed) == 700 {
				happens()
			}
		}
		if len(listed) != all {
			t.Errorf("%s: %d records were listed, want %d", name, len(listed), all)
		}
	}
}

// What cannot be read ends the list with an error, whether it comes last or not.
func TestListTellsOfDamagedRecords(t *testing.T) {
	t.Parallel()
	n := startMigrated(t)
	s := open(t, oncenats.Config{DSN: n.dsn()})
	damage := func() {
		m := nats.NewMsg(subject(newClaim().Key))
		m.Header.Set("Once-Record", base64.RawURLEncoding.EncodeToString([]byte("X")))
		ok(t, second(stream(t, n).PublishMsg(t.Context(), m)))
	}
	wins(t, s, newClaim())
	wins(t, s, newClaim())
	damage()
	for range 2 {
		got := 0
		var last error
		for _, err := range s.List(t.Context(), once.Filter{}) {
			if last = err; err == nil {
				got++
			}
		}
		if got != 2 || !errors.Is(last, once.ErrUnreadable) {
			t.Errorf("listed %d records, and then error %v; want 2 and ErrUnreadable", got, last)
		}
		wins(t, s, newClaim()) // behind the damaged one
	}
}
