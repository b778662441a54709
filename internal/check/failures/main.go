// Failures makes the same failures befall consumers on every adapter of package oncemsg, and prints
// what became of the messages: lost, duplicated, in doubt or correct. It also has Watermill's own
// Deduplicator go through them. It fails if a message of ours has not become what
// docs/MESSAGES.md says.
//
//	go run ./internal/check/failures
//
// Consumers are processes of their own, which are really killed and stopped. What they consume from
// and what they have an effect on is outside of them: brokers are in this process or servers that it
// starts, effects are written into a ledger in this process, and in mode InTransaction into the
// database. The record's window is short, and really passes.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"
)

func main() {
	consumeIfMember()
	t := table{adapters: adapters, failures: failures, modes: modes}
	lease := flag.Duration("lease", 4*time.Second, "of claims; a machine that stalls for longer needs more")
	parallel := flag.Int("parallel", 12, "how many cells are played at a time")
	only := flag.String("adapters", "", "comma-separated names; empty: all")
	flag.Parse()
	if *only != "" {
		names := strings.Split(*only, ",")
		t.adapters = slices.DeleteFunc(slices.Clone(adapters), func(a adapter) bool { return !slices.Contains(names, a.name) })
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx, &t, *lease, *parallel))
}

// run returns the program's exit status.
func run(ctx context.Context, t *table, lease time.Duration, parallel int) int {
	s := new(stage)
	defer s.close()
	started := time.Now()
	err := t.fill(ctx, openLab(s, lease), parallel)
	t.print(os.Stdout)
	var names []string
	for _, a := range t.adapters {
		names = append(names, a.name)
	}
	fmt.Printf("\nAdapters: %s. %v; %d cells were played again because the machine was slower than a lease.\n",
		strings.Join(names, ", "), time.Since(started).Round(time.Second), t.again)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
