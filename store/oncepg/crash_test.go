package oncepg_test

import (
	"context"
	"flag"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/store/oncepg"
)

var (
	clientKills = flag.Int("client-kills", 18, "how often the client is killed, each time at another message")
	serverKills = flag.Int("server-kills", 3, "how often the server is killed")
)

// through returns the DSN with the address in place of the server's.
func through(s *servers.PostgresServer, addr string) string {
	return strings.Replace(s.DSN, s.Addr, addr, 1)
}

// Whenever a client dies, the effects of an operation are there if and only if its outcome is.
func TestKilledClientLeavesEffectAndOutcomeOrNeither(t *testing.T) {
	t.Parallel()
	sharedDSN(t)
	server := shared.server
	cfg := migrated(t, config(t))
	b := newBusiness(t, cfg.DSN)
	s := openTransactional(t, cfg)
	g := guardOver(t, s)
	done, died := 0, 0
	for kill := range *clientKills {
		ok(t, b.exec("TRUNCATE "+b.table+", "+cfg.Schema+".records"))
		breaker := servers.NewBreaker(t, server.Addr)
		p := startChild(t, "transact", through(server, breaker.Addr), cfg.Schema, b.table)
		told := -1
		for line := p.next(); line != ""; line = p.next() {
			if line == "ready" {
				breaker.Arm(1+kill/int(servers.Moments), servers.Moment(kill%int(servers.Moments)), p.kill)
				fmt.Fprintln(p.in)
			} else if n, err := strconv.Atoi(line); err == nil {
				told = n
			}
		}
		settled(t, b.pool, cfg.Schema)
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
	t.Logf("%d kills: %d operations were done before, %d after", *clientKills, done, died)
	if *clientKills > 6 && (done == 0 || died == 0) {
		t.Error("the kills met no operation")
	}
}

// exec runs a statement outside of any operation.
func (b business) exec(sql string) error {
	_, err := b.pool.Exec(context.Background(), sql)
	return err
}

// The same when the server dies, with its clients going on.
func TestKilledServerLeavesEffectAndOutcomeOrNeither(t *testing.T) {
	t.Parallel()
	// By default a server that comes back flushes each of its files.
	server := servers.Postgres(t, "recovery_init_sync_method = syncfs")
	cfg := migrated(t, oncepg.Config{DSN: server.DSN, Sweep: -1})
	b := newBusiness(t, cfg.DSN)
	ctx := t.Context()
	for kill := range *serverKills {
		breaker := servers.NewBreaker(t, server.Addr)
		through := cfg
		through.DSN = strings.Replace(cfg.DSN, server.Addr, breaker.Addr, 1)
		s, err := oncepg.OpenTransactional(ctx, through)
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
