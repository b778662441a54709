// Command sql measures oncesql against its engines without it, in one run on one machine: only the
// ratios mean anything elsewhere. SQLite is a file in a temporary folder, MariaDB a server of its own
// with default settings; so each commit is on disk before it is acknowledged.
//
// What a claim and a completion are compared with is the engine's own rate of writing: an INSERT and
// an UPDATE of the same bytes into the same table, in a database of their own, each committed by
// itself (bare). Rounds alternate, and medians are printed. Before that, 64 callers claim each of
// 100 keys, of whom one must win.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/oncehq/once/bench/contest"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/store/oncesql"
)

type settings struct {
	rounds  int
	each    time.Duration
	outcome int
	engine  string
}

func main() {
	var s settings
	flag.IntVar(&s.rounds, "rounds", 5, "rounds of each figure")
	flag.DurationVar(&s.each, "each", time.Second, "duration of a round")
	flag.IntVar(&s.outcome, "outcome", 1024, "bytes of an outcome")
	flag.StringVar(&s.engine, "engine", "", "only `sqlite` or mariadb; empty: both")
	flag.Parse()
	for _, e := range []struct {
		name string
		run  func(settings) error
	}{{"sqlite", sqlite}, {"mariadb", mariadb}} {
		if s.engine != "" && s.engine != e.name {
			continue
		}
		if err := e.run(s); err != nil {
			fmt.Fprintln(os.Stderr, "sql:", err)
			os.Exit(1)
		}
	}
}

func sqlite(s settings) error {
	dir, err := os.MkdirTemp("", "once-sql-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "bare.db")
	return measure(s, "sqlite:"+filepath.Join(dir, "once.db"), target{
		dsn:    "sqlite:" + file,
		driver: "sqlite",
		name:   "file:" + file + "?_txlock=immediate&_pragma=busy_timeout(60000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)",
		conns:  1, // SQLite lets one transaction write at a time
	})
}

func mariadb(s settings) error {
	server, err := servers.StartMariaDB()
	if err != nil {
		return err
	}
	defer server.Close()
	for _, name := range []string{"once_bench", "bare_bench"} {
		if err := makeDatabase(server.Addr, name); err != nil {
			return err
		}
	}
	return measure(s, "mysql://root@"+server.Addr+"/once_bench", target{
		dsn:    "mysql://root@" + server.Addr + "/bare_bench",
		driver: "mysql",
		name:   "root@tcp(" + server.Addr + ")/bare_bench",
		conns:  16,
	})
}

// measure compares a store with a target.
func measure(s settings, dsn string, t target) error {
	ctx := context.Background()
	cfg := oncesql.Config{DSN: dsn, Timeout: time.Minute}
	if err := oncesql.Migrate(ctx, cfg); err != nil {
		return err
	}
	store, err := oncesql.Open(ctx, cfg)
	if err != nil {
		return err
	}
	defer store.Close()
	if err := contest.Gate(ctx, store); err != nil {
		return err
	}
	bare, err := openBare(ctx, t)
	if err != nil {
		return err
	}
	defer bare.db.Close()
	out := contest.Outcome(s.outcome)
	for _, callers := range []int{1, 64} {
		fmt.Printf("claim+complete, %d callers, outcome %d bytes:\n", callers, s.outcome)
		r := contest.Rounds{Count: s.rounds, Each: s.each, Callers: callers}
		err := r.Run(contest.Contestant{Name: "oncesql", Op: func(int, int) error {
			return contest.Fresh(ctx, store, contest.NewID(), out)
		}}, contest.Contestant{Name: "bare", Op: func(int, int) error {
			return bare.operation(ctx, out)
		}})
		if err != nil {
			return err
		}
	}
	return nil
}
