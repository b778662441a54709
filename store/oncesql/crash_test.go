package oncesql_test

import (
	"context"
	"flag"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/store/oncesql"
)

var (
	clientKills = flag.Int("client-kills", 18, "how often a client is killed, each time at another message")
	serverKills = flag.Int("server-kills", 2, "how often the server is killed")
)

// through returns the DSN with the address in place of the server's.
func through(dsn, addr string) string {
	userinfo, rest, _ := strings.Cut(dsn, "@")
	_, name, _ := strings.Cut(rest, "/")
	return userinfo + "@" + addr + "/" + name
}

// Whenever a client dies, the effects of an operation are there if and only if its outcome is.
// A client of MariaDB's is killed at one message after the other. SQLite is part of its client,
// which is killed at any moment.
func TestKilledClientLeavesEffectAndOutcomeOrNeither(t *testing.T) {
	t.Parallel()
	onEachTransactional(t, func(t *testing.T, cfg oncesql.Config) {
		b := newBusiness(t, cfg)
		s := openTransactional(t, cfg)
		g := guardOver(t, s)
		done, died := 0, 0
		kills := *clientKills
		if raced {
			kills /= 3
		}
		for kill := range kills {
			for _, table := range []string{"business", "once_records"} {
				_, err := b.db.Exec("DELETE FROM " + table)
				ok(t, err)
			}
			told := killedAt(t, cfg, kill)
			b.settled(t, cfg)
			for n := range told + 3 {
				id := strconv.Itoa(n)
				_, err := s.Load(t.Context(), key(id))
				effects, recorded := b.count(t, id), err == nil
				if effects > 1 || (effects == 1) != recorded || n <= told && !recorded {
					t.Fatalf("kill %d: operation %d has %d effects and is recorded: %v; it was told: %v",
						kill, n, effects, recorded, n <= told)
				}
				if recorded {
					done++
				}
				// The next caller finishes what was not done, and finds what was.
				_, err = once.Do(t.Context(), g, key(id), once.Fingerprint{}, func(ctx context.Context) (string, error) {
					died++
					return id, b.add(ctx, id)
				})
				ok(t, err)
				if effects := b.count(t, id); effects != 1 {
					t.Fatalf("kill %d: in the end operation %d has %d effects, want 1", kill, n, effects)
				}
			}
		}
		t.Logf("%d kills: %d operations were done before, %d after", kills, done, died)
		if kills > 6 && (done == 0 || died == 0) {
			t.Error("the kills met no operation")
		}
	})
}

// killedAt has a client run operations, and kills it. It returns the last that the client told
// to be done.
func killedAt(t *testing.T, cfg oncesql.Config, kill int) (told int) {
	t.Helper()
	var p *process
	arm := func() { time.AfterFunc(rand.N(5*time.Millisecond), func() { p.kill() }) }
	if strings.HasPrefix(cfg.DSN, "mysql:") {
		host, _, _ := strings.Cut(strings.TrimPrefix(cfg.DSN, "mysql://root@"), "/")
		breaker := servers.NewBreaker(t, host)
		cfg.DSN = through(cfg.DSN, breaker.Addr)
		arm = func() {
			breaker.Arm(1+kill/int(servers.Moments), servers.Moment(kill%int(servers.Moments)), func() { p.kill() })
		}
	}
	p = startChild(t, cfg.DSN)
	for line := range p.lines {
		if n, err := strconv.Atoi(line); err == nil {
			told = n
			continue
		}
		arm()
		p.goOn()
	}
	return told
}

// innodbCache is for how long nobody may have read INNODB_TRX before the server looks at its
// transactions again.
const innodbCache = 110 * time.Millisecond

// settled waits until no transaction is open that could still be committed.
func (b business) settled(t testing.TB, cfg oncesql.Config) {
	t.Helper()
	if !strings.HasPrefix(cfg.DSN, "mysql:") {
		return // it died with the client
	}
	eventually(t, "all transactions have ended", func() bool {
		time.Sleep(innodbCache)
		var opened, waiting int
		ok(t, b.db.QueryRow(transactions(t)).Scan(&opened, &waiting))
		return opened == 0
	})
}

// The same when the server dies, with its clients going on.
func TestKilledServerLeavesEffectAndOutcomeOrNeither(t *testing.T) {
	t.Parallel()
	server := servers.MariaDB(t)
	cfg := migrated(t, mariadbOn(t, server))
	cfg.Timeout = 10 * time.Second
	b := newBusiness(t, cfg)
	ctx := t.Context()
	for kill := range *serverKills {
		breaker := servers.NewBreaker(t, server.Addr)
		behind := cfg
		behind.DSN = through(cfg.DSN, breaker.Addr)
		s, err := oncesql.OpenTransactional(ctx, behind)
		ok(t, err)
		g := guardOver(t, s)
		killed := make(chan struct{})
		breaker.Arm(12+kill/int(servers.Moments), servers.Moment(kill%int(servers.Moments)), func() {
			server.Kill()
			close(killed)
		})
		restarted := false
		ids, runs := make([]string, 8), make([]int, 8)
		for n := range ids {
			ids[n] = once.NewOwner().String()
			for {
				_, err := once.Do(ctx, g, key(ids[n]), once.Fingerprint{}, func(ctx context.Context) (string, error) {
					runs[n]++
					return ids[n], b.add(ctx, ids[n])
				})
				if err == nil {
					break
				}
				if !restarted {
					<-killed
					server.Restart(t)
					restarted = true
				}
			}
		}
		if !restarted { // it was killed behind the last answer
			<-killed
			server.Restart(t)
		}
		for n, id := range ids {
			var rec once.Record
			eventually(t, "the record is loaded", func() bool {
				var err error
				rec, err = s.Load(ctx, key(id))
				return err == nil
			})
			if effects := b.count(t, id); effects != 1 || rec.State != once.Done {
				t.Fatalf("kill %d: operation %d is %v and has %d effects after %d runs, want done and 1",
					kill, n, rec.State, effects, runs[n])
			}
		}
		ok(t, s.Close())
	}
}
