package oncehttp_test

import (
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncehttp"
)

// uuid7 returns a UUID of version 7 that was made at that instant.
func uuid7(t time.Time) string {
	ms := t.UnixMilli()
	return fmt.Sprintf("%08x-%04x-7abc-8def-0123456789ab", ms>>16, ms&0xffff)
}

func ulid(t time.Time) string {
	const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	var b []byte
	for shift := 45; shift >= 0; shift -= 5 {
		b = append(b, alphabet[t.UnixMilli()>>shift&31])
	}
	return string(b) + "ABCDEFGHJKMNPQRS"
}

func TestRetryThatComesTooLateIsNotRun(t *testing.T) {
	tells := map[string]func(sent time.Time) call{
		"uuid":   func(sent time.Time) call { return call{key: uuid7(sent)} },
		"ulid":   func(sent time.Time) call { return call{key: ulid(sent)} },
		"header": func(sent time.Time) call { return firstSent(sent.UTC().Format(http.TimeFormat)) },
	}
	for name, tell := range tells {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := created()
				guarded := newMiddleware(t, oncehttp.Config{
					Guard:      newGuard(t, once.Config{Retention: time.Hour}),
					RefuseLate: true, ClockTolerance: 10 * time.Minute,
				}).Wrap(h)
				sent := time.Now()
				first := do(guarded, tell(sent))
				first.wantStatus(t, 201)
				time.Sleep(50*time.Minute + time.Second)
				do(guarded, tell(sent)).wantReplayOf(t, first) // the record is still there
				time.Sleep(10 * time.Minute)
				p := do(guarded, tell(sent)).wantProblem(t, oncehttp.ProblemLate, 412)
				if p.Retryable {
					t.Error("the problem is retryable")
				}
				h.wantRuns(t, 1)
				do(guarded, tell(time.Now().Add(-49*time.Minute))).wantStatus(t, 201)
				do(guarded, tell(time.Now().Add(9*time.Minute))).wantStatus(t, 201)
				h.wantRuns(t, 3)
				do(guarded, tell(time.Now().Add(11*time.Minute))).wantProblem(t, oncehttp.ProblemFirstSentInvalid, 400)
				h.wantRuns(t, 3)
			})
		})
	}
}

func firstSent(values ...string) call {
	return call{key: quote(fmt.Sprint(values)), header: http.Header{"Repeatability-First-Sent": values}}
}

func TestLateRetryWithAnotherPayloadIsNotToldTheResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := created()
		guarded := newMiddleware(t, oncehttp.Config{
			Guard: newGuard(t, once.Config{Retention: time.Hour}), RefuseLate: true, ClockTolerance: 10 * time.Minute,
		}).Wrap(h)
		key := uuid7(time.Now())
		do(guarded, call{key: key, body: "1"}).wantStatus(t, 201)
		time.Sleep(55 * time.Minute)
		do(guarded, call{key: key, body: "2"}).wantProblem(t, oncehttp.ProblemKeyReused, 422)
		h.wantRuns(t, 1)
	})
}

func TestKeyThatTellsNoTimeIsNotLate(t *testing.T) {
	for _, key := range []string{
		"order-1", "01890a5d-ac96-4b00-8def-0123456789ab", "01890a5d-ac96-7b00-cdef-0123456789ab",
		"01890a5d-ac96-7b00-8def-0123456789aX", "01890a5d+ac96-7b00-8def-0123456789ab", "81H455VC00ABCDEFGHJKMNPQRS", "01H455VC00ABCDEFGHJKMNPQRU",
	} {
		h := created()
		guarded := newMiddleware(t, oncehttp.Config{RefuseLate: true}).Wrap(h)
		do(guarded, call{key: key}).wantStatus(t, 201)
		h.wantRuns(t, 1)
	}
	off := newMiddleware(t, oncehttp.Config{}).Wrap(created())
	do(off, call{key: uuid7(time.Unix(1e9, 0))}).wantStatus(t, 201)
}

func TestFirstSentThatIsNoDate(t *testing.T) {
	h := created()
	guarded := newMiddleware(t, oncehttp.Config{RefuseLate: true}).Wrap(h)
	now := time.Now().UTC().Format(http.TimeFormat)
	do(guarded, firstSent("yesterday")).wantProblem(t, oncehttp.ProblemFirstSentInvalid, 400)
	do(guarded, firstSent(now, now)).wantProblem(t, oncehttp.ProblemFirstSentInvalid, 400)
	do(guarded, firstSent(now)).wantStatus(t, 201)
	h.wantRuns(t, 1)
}
