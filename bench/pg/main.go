// Command pg measures oncepg against PostgreSQL without it, in one run on one machine: only the
// ratios mean anything elsewhere. It starts a server of its own, with its default settings; so each commit
// is on disk before it is acknowledged.
//
// What the store is compared with: the very statements that it sends, each sent by itself through a
// pool of connections (single), which is what a store without batches does. And in transactional
// mode: the operation's transaction alone, without a record of it. Rounds alternate, and medians
// are printed. Before that, 64 callers claim each of 100 keys, of whom one must win.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncehq/once/bench/contest"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/store/oncepg"
)

type settings struct {
	rounds  int
	each    time.Duration
	callers []int
	pool    int
	outcome int
}

func main() {
	var s settings
	callers := flag.String("callers", "1,4,16,64,256", "numbers of concurrent callers")
	flag.IntVar(&s.rounds, "rounds", 5, "rounds of each figure")
	flag.DurationVar(&s.each, "each", time.Second, "duration of a round")
	flag.IntVar(&s.pool, "pool", 16, "connections of the pools that the store is compared with")
	flag.IntVar(&s.outcome, "outcome", 1024, "bytes of an outcome")
	flag.Parse()
	for n := range strings.SplitSeq(*callers, ",") {
		i, err := strconv.Atoi(n)
		if err != nil {
			fmt.Fprintln(os.Stderr, "pg: -callers:", err)
			os.Exit(2)
		}
		s.callers = append(s.callers, i)
	}
	if err := run(s); err != nil {
		fmt.Fprintln(os.Stderr, "pg:", err)
		os.Exit(1)
	}
}

func run(s settings) error {
	ctx := context.Background()
	server, err := servers.StartPostgres()
	if err != nil {
		return err
	}
	defer server.Close()
	if err := oncepg.Migrate(ctx, oncepg.Config{DSN: server.DSN}); err != nil {
		return err
	}
	store, err := oncepg.Open(ctx, oncepg.Config{DSN: server.DSN})
	if err != nil {
		return err
	}
	defer store.Close()
	if err := contest.Gate(ctx, store); err != nil {
		return err
	}
	pool, err := pgxpool.New(ctx, fmt.Sprintf("%s&pool_max_conns=%d&pool_min_conns=%d", server.DSN, s.pool, s.pool))
	if err != nil {
		return err
	}
	defer pool.Close()
	if err := leases(ctx, server.DSN, store, pool, s); err != nil {
		return err
	}
	return transactions(ctx, server.DSN, pool, s)
}

func (s settings) run(callers int, all ...contest.Contestant) error {
	return contest.Rounds{Count: s.rounds, Each: s.each, Callers: callers}.Run(all...)
}

// leases compares the store with its own statements, sent singly.
func leases(ctx context.Context, dsn string, store *oncepg.Store, pool *pgxpool.Pool, s settings) error {
	out := contest.Outcome(s.outcome)
	sent, err := record(ctx, dsn, out)
	if err != nil {
		return err
	}
	batched := func(id string) error { return contest.Fresh(ctx, store, id, out) }
	single := func(id string) error { return sent.operation(ctx, pool, id) }
	done := make([]string, 1000)
	for i := range done {
		done[i] = "done-" + strconv.Itoa(i)
		if err := batched(done[i]); err != nil {
			return err
		}
	}
	pick := func(caller, n int) string { return done[(caller*31+n)%len(done)] }
	for _, callers := range s.callers {
		fmt.Printf("claim+complete, %d callers, outcome %d bytes:\n", callers, s.outcome)
		err := s.run(callers,
			contest.Contestant{Name: "oncepg", Op: func(int, int) error { return batched(contest.NewID()) }},
			contest.Contestant{Name: "single", Op: func(int, int) error { return single(contest.NewID()) }})
		if err != nil {
			return err
		}
	}
	for _, callers := range s.callers {
		fmt.Printf("replay, %d callers:\n", callers)
		err := s.run(callers,
			contest.Contestant{Name: "oncepg", Op: func(caller, n int) error { return contest.Replay(ctx, store, pick(caller, n)) }},
			contest.Contestant{Name: "single", Op: func(caller, n int) error { return sent.replay(ctx, pool, pick(caller, n)) }})
		if err != nil {
			return err
		}
	}
	return nil
}

// transactions compares operations of a transactional store with the same without it.
func transactions(ctx context.Context, dsn string, pool *pgxpool.Pool, s settings) error {
	store, err := oncepg.OpenTransactional(ctx, oncepg.Config{
		DSN: fmt.Sprintf("%s&pool_max_conns=%d&pool_min_conns=%d", dsn, s.pool, s.pool)})
	if err != nil {
		return err
	}
	defer store.Close()
	if err := makeBusiness(ctx, pool); err != nil {
		return err
	}
	out := contest.Outcome(s.outcome)
	for _, kind := range businesses {
		for _, callers := range s.callers {
			if callers > s.pool {
				break
			}
			fmt.Printf("%s in a transaction, %d callers, outcome %d bytes:\n", kind.name, callers, s.outcome)
			err := s.run(callers,
				contest.Contestant{Name: "oncepg", Op: func(int, int) error { return recorded(ctx, store, kind.do, out) }},
				contest.Contestant{Name: "alone", Op: func(int, int) error { return alone(ctx, pool, kind.do) }})
			if err != nil {
				return err
			}
		}
	}
	return nil
}
