// Command redis measures onceredis against the bare client, in one run on one machine: only the
// ratios mean anything elsewhere. It starts a server of its own, which keeps nothing on disk.
//
// What the store is compared with: the very commands that it sends, sent through the same client
// without it (raw), and through a pool of connections that does not pipeline, which is what most
// programs have (pool); and for a replay a GET of the same bytes. Rounds alternate, and
// medians are printed. Before that, 64 callers claim each of 100 keys, of whom one must win.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/oncehq/once/bench/contest"
	"github.com/oncehq/once/store/onceredis"
)

type settings struct {
	program string
	rounds  int
	each    time.Duration
	callers int
	outcome int
	delay   time.Duration
	keep    string
}

func main() {
	var s settings
	flag.StringVar(&s.program, "server", "redis-server", "the server to start")
	flag.IntVar(&s.rounds, "rounds", 7, "rounds of each figure")
	flag.DurationVar(&s.each, "each", time.Second, "duration of a round")
	flag.IntVar(&s.callers, "callers", 64, "concurrent callers")
	flag.IntVar(&s.outcome, "outcome", 1024, "bytes of an outcome")
	flag.DurationVar(&s.delay, "flush-delay", 20*time.Microsecond, "Config.MaxFlushDelay, also of the bare client")
	flag.StringVar(&s.keep, "appendfsync", "", "always, everysec or no: let the server keep a file (default: none)")
	flag.Parse()
	if err := run(s); err != nil {
		fmt.Fprintln(os.Stderr, "redis:", err)
		os.Exit(1)
	}
}

func run(s settings) error {
	server, err := start(s.program, s.keep)
	if err != nil {
		return err
	}
	defer server.stop()
	ctx := context.Background()
	store, err := onceredis.Open(ctx, onceredis.Config{DSN: "redis://" + server.addr, MaxFlushDelay: s.delay})
	if err != nil {
		return err
	}
	defer store.Close()
	if err := contest.Gate(ctx, store); err != nil {
		return err
	}
	cmds, err := record(ctx, server.addr, store, contest.Outcome(s.outcome))
	if err != nil {
		return err
	}
	ways, err := ways(server.addr, store, cmds, s)
	if err != nil {
		return err
	}
	return compare(ctx, ways, s)
}

// compare lets the ways take turns, first at fresh operations and then at replays.
func compare(ctx context.Context, ways []way, s settings) error {
	done := make([]string, 1000)
	for i := range done {
		done[i] = "done-" + strconv.Itoa(i)
		if err := ways[0].fresh(ctx, done[i]); err != nil {
			return err
		}
	}
	var fresh, replay []contest.Contestant
	for _, w := range ways {
		fresh = append(fresh, contest.Contestant{Name: w.name, Op: func(int, int) error { return w.fresh(ctx, contest.NewID()) }})
		replay = append(replay, contest.Contestant{Name: w.name, Op: func(caller, n int) error {
			return w.replay(ctx, done[(caller*31+n)%len(done)])
		}})
	}
	r := contest.Rounds{Count: s.rounds, Each: s.each, Callers: s.callers}
	fmt.Printf("claim+complete, %d callers, outcome %d bytes, median of %d rounds:\n", s.callers, s.outcome, s.rounds)
	if err := r.Run(fresh...); err != nil {
		return err
	}
	fmt.Printf("replay, %d callers, outcome %d bytes, median of %d rounds:\n", s.callers, s.outcome, s.rounds)
	return r.Run(replay...)
}
