// Command ids measures what it costs to remember ids alone, as the remembered ids grow: how many
// are dealt with a second, what each takes on disk and in memory, and what it takes to forget
// them. The embedded store, Redis and PostgreSQL are beside what people use instead: a Go map, a key of
// Redis for each id, and a row of a table.
//
//	go run ./bench/ids [-retained 1000000,10000000] [-subjects disk,map,redis,redis-keys,postgres,postgres-inbox]
package main

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/bench/contest"
)

// A subject is a way to remember ids.
type subject interface {
	once.IDStore

	// cost returns the bytes that all ids take on disk and in memory.
	cost() (disk, memory int64, err error)

	// age lets the window of all ids pass, and forget forgets them, which is measured.
	age() error
	forget() error

	close()
}

var subjects = []struct {
	name string
	open func(retained int64) (subject, error)
}{
	{"disk", openDisk},
	{"map", openMap},
	{"redis", openRedis},
	{"redis-keys", openKeys},
	{"postgres", openPostgres},
	{"postgres-inbox", openInbox},
}

func main() {
	retained := flag.String("retained", "1000000", "numbers of `ids` that are remembered, separated by commas")
	names := flag.String("subjects", "", "which `subjects` to measure, separated by commas (default: all)")
	each := flag.Duration("each", time.Second, "length of one measurement")
	flag.Parse()
	fmt.Println("| subject | ids retained | new ids/s by 1 | by 100 | by 1000 | processor µs/id | copies/s by 1000 | processor µs/id | disk B/id | memory B/id | processor ns/id to forget |")
	fmt.Println("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
	for text := range strings.SplitSeq(*retained, ",") {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			fail(err)
		}
		for _, s := range subjects {
			if *names != "" && !slices.Contains(strings.Split(*names, ","), s.name) {
				continue
			}
			if err := measure(s.name, s.open, n, *each); err != nil {
				fail(fmt.Errorf("%s: %w", s.name, err))
			}
		}
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "ids:", err)
	os.Exit(1)
}

func measure(name string, open func(int64) (subject, error), retained int64, each time.Duration) error {
	s, err := open(retained)
	if err != nil {
		return err
	}
	defer s.close()
	g := &stream{s: s}
	if err := g.fill(retained); err != nil {
		return err
	}
	disk, memory, err := s.cost()
	if err != nil {
		return err
	}
	row := fmt.Sprintf("| %s | %d |", name, retained)
	for _, m := range []struct {
		batch int
		want  once.IDState
	}{{1, once.IDClaimed}, {100, once.IDClaimed}, {1000, once.IDClaimed}, {1000, once.IDDone}} {
		rate, processor, err := g.rate(m.batch, each, m.want)
		if err != nil {
			return err
		}
		row += fmt.Sprintf(" %.0f |", rate)
		if m.batch == 1000 {
			row += fmt.Sprintf(" %.2f |", float64(processor)/float64(time.Microsecond))
		}
	}
	row += fmt.Sprintf(" %.1f | %.1f |", float64(disk)/float64(retained), float64(memory)/float64(retained))
	if err := s.age(); err != nil {
		return err
	}
	spent, err := spend(s.forget)
	fmt.Printf("%s %d |\n", row, int64(spent)/g.next)
	return err
}

// spend returns the processor time that f takes, here and in the servers.
func spend(f func() error) (time.Duration, error) {
	own, server, err := contest.Processor()
	if err != nil {
		return 0, err
	}
	if err := f(); err != nil {
		return 0, err
	}
	ownAfter, serverAfter, err := contest.Processor()
	return ownAfter + serverAfter - own - server, err
}

// A stream makes ids, each new, and deals with them.
type stream struct {
	s    subject
	next int64
}

const scope = "tenant-17/clicks"

// name is a UUID in text, as most ids are.
func name(n int64) string {
	var bytes [16]byte
	binary.BigEndian.PutUint64(bytes[:8], uint64(n)*0x9e3779b97f4a7c15&^0xf000|0x7000)
	binary.BigEndian.PutUint64(bytes[8:], uint64(n)|0xa<<60)
	var text [36]byte
	for i, part := range [][2]int{{0, 4}, {4, 6}, {6, 8}, {8, 10}, {10, 16}} {
		at := 2*part[0] + i
		hex.Encode(text[at:], bytes[part[0]:part[1]])
		if i > 0 {
			text[at-1] = '-'
		}
	}
	return string(text[:])
}

func (g *stream) batch(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = name(g.next)
		g.next++
	}
	return ids
}

// fill completes ids without asking if they are new.
func (g *stream) fill(n int64) error {
	for g.next < n {
		ids := g.batch(int(min(once.MaxIDs, n-g.next)))
		if err := g.s.CompleteIDs(context.Background(), scope, once.NewOwner(), ids); err != nil {
			return err
		}
	}
	return nil
}

// rate deals with batches of ids one after the other, and checks what was found for each. New ids
// are claimed and completed; copies, of those that were completed at the start, are found done. It
// returns how many there were a second, and the processor time of each.
func (g *stream) rate(size int, each time.Duration, want once.IDState) (rate float64, processor time.Duration, err error) {
	end := g.next
	n := 0
	var spent time.Duration
	used, err := spend(func() error {
		n, spent, err = g.deal(size, each, want, end)
		return err
	})
	if err != nil {
		return 0, 0, err
	}
	if want == once.IDDone {
		g.next = end
	}
	return float64(n) / spent.Seconds(), used / time.Duration(n), nil
}

// deal returns the number of ids and the time that their batches took.
func (g *stream) deal(size int, each time.Duration, want once.IDState, end int64) (n int, spent time.Duration, err error) {
	for spent < each {
		var ids []string
		if want == once.IDDone {
			g.next = int64(n) * 7919 % max(end-int64(size), 1)
		}
		ids = g.batch(size)
		began := time.Now()
		states, err := once.DoIDs(context.Background(), g.s, scope, ids, func(context.Context, []int) error { return nil })
		spent += time.Since(began)
		if err != nil {
			return 0, 0, err
		}
		for i, state := range states {
			if state != want {
				return 0, 0, fmt.Errorf("id %d of a batch of %d is %v, want %v", i, size, state, want)
			}
		}
		n += size
	}
	return n, spent, nil
}
