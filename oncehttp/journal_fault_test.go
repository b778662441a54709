package oncehttp_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncehttp"
	"github.com/oncehq/once/oncemem"
	"github.com/oncehq/once/oncetest"
)

func TestJournalGivesALargeResponseToTheFirstCallerOnly(t *testing.T) {
	large := strings.Repeat("0123456789", 10)
	handler := func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(201)
		io.WriteString(w, large)
	}
	limits := map[string]func(*oncehttp.JournalConfig){
		"of the journal": func(cfg *oncehttp.JournalConfig) { cfg.MaxBody = 50 },
		"of the store": func(cfg *oncehttp.JournalConfig) {
			n := 0
			cfg.Store = oncetest.Faulty(cfg.Store, func(v oncetest.Verb, _ int) (f oncetest.Fault) {
				if v == oncetest.Complete {
					if n++; n == 2 { // the first is that of the request
						f.Before = once.ErrTooLarge
					}
				}
				return f
			})
		},
	}
	for name, limit := range limits {
		t.Run(name, func(t *testing.T) {
			inBubble(t, handler, func(t *testing.T, s *pipeServer) {
				j := s.journal(t, new(oncemem.Store), limit)
				res, err := j.Do(t.Context(), "p1", payout(t, "{}"))
				if body := wantAnswer(t, res, err, 201); body != large {
					t.Errorf("first caller got %q", body)
				}
				res, err = j.Do(t.Context(), "p1", payout(t, "{}"))
				if err != nil || res.StatusCode != 201 {
					t.Fatalf("later caller got %v, %v", res, err)
				}
				if _, err := io.ReadAll(res.Body); err != oncehttp.ErrNotKept {
					t.Errorf("error is %v, want ErrNotKept", err)
				}
				s.wantOneKey(t, 1)
			})
		})
	}
}

// Callers at once, as in several processes, make one request.
func TestJournalSendsForOneCallerAtATime(t *testing.T) {
	slow := func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(5 * time.Second)
		answerWith(201)(w, r)
	}
	inBubble(t, slow, func(t *testing.T, s *pipeServer) {
		store := new(oncemem.Store)
		var wg sync.WaitGroup
		for range 8 {
			j := s.journal(t, store, nil)
			wg.Go(func() {
				res, err := j.Do(t.Context(), "p1", payout(t, "{}"))
				if err != nil {
					t.Error(err)
					return
				}
				res.Body.Close()
			})
		}
		wg.Wait()
		s.wantOneKey(t, 1)
	})
}

// The store fails at each of its verbs in turn, before or after it carried them out; whatever
// happens there is one key, and in the end one response.
func TestJournalSurvivesAStoreThatFails(t *testing.T) {
	broken := errors.New("store is broken")
	for fault := range 40 {
		inBubble(t, answerWith(201), func(t *testing.T, s *pipeServer) {
			inner := new(oncemem.Store)
			calls := 0
			faulty := oncetest.Faulty(inner, func(oncetest.Verb, int) (f oncetest.Fault) {
				calls++
				switch {
				case calls < fault/2+1 || calls > fault/2+3: // three in a row: more than a claim has tries
				case fault%2 == 0:
					f.Before = broken
				default:
					f.After = broken
				}
				return f
			})
			j := s.journal(t, faulty, nil)
			_, err := j.Do(t.Context(), "p1", payout(t, "{}"))
			if err != nil && !errors.Is(err, broken) {
				t.Errorf("error is %v", err)
			}
			sound := s.journal(t, inner, nil)
			time.Sleep(time.Minute) // leases end
			res, err := sound.Do(t.Context(), "p1", payout(t, "{}"))
			wantAnswer(t, res, err, 201)
			wantIDs(t, sound.Pending(t.Context()))
			if seen := s.requests(); len(seen) > 1 && seen[0].key != seen[len(seen)-1].key {
				t.Errorf("fault %d: %d requests with different keys", fault, len(seen))
			}
			wantRecords(t, inner, 1)
		})
	}
}
