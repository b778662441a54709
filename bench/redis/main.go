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
	"time"

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
	if err := gate(ctx, store, s.callers); err != nil {
		return err
	}
	fmt.Printf("%s: %d simultaneous claims of each of %d keys: one winner each, and one outcome\n",
		store.Guarantees().Store, s.callers, gateKeys)
	cmds, err := record(ctx, server.addr, store, s.outcome)
	if err != nil {
		return err
	}
	contestants, err := contestants(server.addr, store, cmds, s)
	if err != nil {
		return err
	}
	return compare(server, contestants, s)
}
