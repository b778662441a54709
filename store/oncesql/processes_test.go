package oncesql_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/oncehq/once"
	"github.com/oncehq/once/store/oncesql"
)

const (
	children = 3  // processes
	callers  = 4  // in each, for every key
	keys     = 10 // that all want at the same time
)

// Many callers in several processes want the same operations at the same time. Each runs once,
// and all are given the same outcome, though most of them have to wait for another process.
func TestOneExecutionInManyProcesses(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, cfg oncesql.Config) {
		migrated(t, cfg)
		var all []*process
		for range children {
			all = append(all, startChild(t, cfg.DSN, "run"))
		}
		for _, p := range all {
			p.await(t, "ready")
		}
		for _, p := range all {
			p.goOn()
		}
		ran, got, outcomes := map[string]int{}, map[string]int{}, map[string]string{}
		for _, p := range all {
			for line := range p.lines {
				verb, rest, _ := strings.Cut(line, " ")
				id, outcome, _ := strings.Cut(rest, " ")
				switch verb {
				case "ran":
					ran[id]++
				case "got":
					got[id]++
					if first := outcomes[id]; first != "" && first != outcome {
						t.Errorf("%s: one caller got %q, another %q", id, first, outcome)
					}
					outcomes[id] = outcome
				}
			}
		}
		for i := range keys {
			id := fmt.Sprint("key-", i)
			if ran[id] != 1 || got[id] != children*callers || !strings.HasSuffix(outcomes[id], "<nil>") {
				t.Errorf("%s: ran %d times, %d callers got an answer: %s; want once and %d",
					id, ran[id], got[id], outcomes[id], children*callers)
			}
		}
	})
}

// An owner that is killed leaves its operations in doubt, and others take them over.
func TestOperationsOfAKilledProcessAreTakenOver(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, cfg oncesql.Config) {
		s := open(t, migrated(t, cfg))
		p := startChild(t, cfg.DSN, "hang")
		p.await(t, "ready")
		p.goOn()
		p.await(t, "ran")
		p.kill()
		for range p.lines { // until it is gone
		}
		var killed once.Key
		for rec, err := range s.List(t.Context(), once.Filter{}) {
			ok(t, err)
			if killed = rec.Key; rec.State != once.InFlight {
				t.Errorf("the killed owner's operation is %v, want in flight", rec.State)
			}
			ok(t, s.Renew(t.Context(), rec.Key, rec.Owner, 0)) // rather than wait for the lease
		}
		attempt := 0
		_, err := once.Do(t.Context(), guardOver(t, s), killed, once.Fingerprint{}, func(ctx context.Context) (int, error) {
			a, _ := once.FromContext(ctx)
			attempt = a.Number()
			return 0, nil
		})
		if err != nil || attempt != 2 {
			t.Errorf("got attempt %d, error %v, want the second", attempt, err)
		}
	})
}
