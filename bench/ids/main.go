// Command ids measures what it costs to remember ids alone, as the remembered ids grow: how many
// are dealt with a second, what each takes on disk and in memory, and what it takes to forget
// them. The embedded store, Redis and PostgreSQL are beside what people use instead: a Go map, a key of
// Redis for each id, and a row of a table.
//
//	go run ./bench/ids [-retained 1000000,10000000] [-subjects disk,map,redis,redis-keys,postgres,postgres-inbox]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/oncehq/once"
)

// A subject is a way to remember ids.
type subject interface {
	once.IDStore

	// cost returns the bytes that all ids take on disk and in memory.
	cost() (disk, memory int64, err error)

	// forget lets the window of all ids pass, and returns the processor time that this took, or
	// the time of the server's call.
	forget() (time.Duration, error)

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
	fmt.Println("| subject | ids retained | new ids/s by 1 | by 100 | by 1000 | by 1000, copies | disk B/id | memory B/id | forget |")
	fmt.Println("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
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
	for _, batch := range []int{1, 100, 1000} {
		rate, err := g.rate(batch, each, once.IDClaimed)
		if err != nil {
			return err
		}
		row += fmt.Sprintf(" %.0f |", rate)
	}
	copies, err := g.rate(1000, each, once.IDDone)
	if err != nil {
		return err
	}
	took, err := s.forget()
	if errors.Is(err, errors.ErrUnsupported) {
		took = -1
	} else if err != nil {
		return err
	}
	row += fmt.Sprintf(" %.0f | %.1f | %.1f |", copies, float64(disk)/float64(retained), float64(memory)/float64(retained))
	if took < 0 {
		row += " – |"
	} else {
		row += fmt.Sprintf(" %v |", took.Round(time.Millisecond))
	}
	fmt.Println(row)
	return nil
}

// A stream makes ids, each new, and deals with them.
type stream struct {
	s    subject
	next int64
}

const scope = "tenant-17/clicks"

// name is a UUID in text, as most ids are.
func name(n int64) string {
	h := uint64(n) * 0x9e3779b97f4a7c15
	return fmt.Sprintf("%08x-%04x-7%03x-a%03x-%012x", uint32(h>>32), uint16(h>>16), h&0xfff, n>>36&0xfff, n&0xffffffffffff)
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
// are claimed and completed; copies, of those that were completed at the start, are found done.
func (g *stream) rate(size int, each time.Duration, want once.IDState) (float64, error) {
	end := g.next
	n := 0
	var spent time.Duration
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
			return 0, err
		}
		for i, state := range states {
			if state != want {
				return 0, fmt.Errorf("id %d of a batch of %d is %v, want %v", i, size, state, want)
			}
		}
		n += size
	}
	if want == once.IDDone {
		g.next = end
	}
	return float64(n) / spent.Seconds(), nil
}
