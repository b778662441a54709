// Command http prints the cost of Once over HTTP, as ratios of rates in the same run: the
// middleware beside the handler without it, the gateway beside a tuned reverse proxy, and the
// middleware over Redis beside Fiber's own one. Every server is a process of its own; the rounds of all of them
// are interleaved, so that a machine whose speed drifts does not favour any; and each figure of ours counts only
// if in the same run 64 simultaneous duplicates of a key gave one execution and one body. If a peer does not
// pass that, its rows say so.
//
//	go run ./bench/http [-rounds 5] [-conns 1,64] [-time 1s] [-table library|gateway|redis]
package main

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/oncehq/once/bench/load"
)

func main() {
	if len(os.Args) > 2 && os.Args[1] == "serve" {
		serve(os.Args[2], os.Args[3:])
		return
	}
	rounds := flag.Int("rounds", 5, "measured `rounds`, after one that is not")
	conns := flag.String("conns", "1,64", "numbers of `connections`, separated by commas")
	length := flag.Duration("time", time.Second, "length of one measurement")
	table := flag.String("table", "", "only `library`, gateway or redis; empty: all")
	flag.Parse()
	for _, t := range tables {
		if *table != "" && *table != t.name {
			continue
		}
		for c := range strings.SplitSeq(*conns, ",") {
			n, err := strconv.Atoi(c)
			if err == nil {
				err = measure(t, *rounds, n, *length)
			}
			if err != nil {
				fmt.Fprintln(os.Stderr, "http:", err)
				os.Exit(1)
			}
		}
	}
}

// A table is a set of servers that are compared. The first is the baseline: one that knows nothing
// of keys, or a peer, whose replays are a baseline too.
type table struct {
	name    string
	servers []string
	peer    bool
	goals   map[string]float64 // by server and kind of request, at 64 connections
}

var tables = []table{
	{"library", []string{"bare", "memory", "disk"}, false, map[string]float64{
		"memory fresh": 0.80, "memory replay": 0.92, "disk fresh": 0.50, "disk replay": 0.90,
	}},
	{"gateway", []string{"proxy", "gateway-memory", "gateway-disk"}, false, map[string]float64{
		"gateway-memory fresh": 1.0, "gateway-disk fresh": 0.90,
	}},
	{"redis", []string{"fiber-redis", "once-redis", "oncefiber-redis"}, true, map[string]float64{
		"once-redis fresh": 1.4,
	}},
}

const duplicates = 64

// row collects the rounds of one server and kind of request.
type row struct {
	server, kind   string
	rate, ratio    []float64
	cpu            []float64 // of the server, µs per request
	median, worst1 []time.Duration
}

func measure(t table, rounds, conns int, length time.Duration) error {
	servers, stop, err := start(t.servers)
	if err != nil {
		return err
	}
	defer stop()
	var rows []*row
	for i, s := range servers {
		failed := ""
		if i > 0 || t.peer {
			if err := gate(s, conns); err != nil && i > 0 {
				return fmt.Errorf("%s: %w", s.name, err)
			} else if err != nil {
				failed = " (gate failed)"
				fmt.Fprintf(os.Stderr, "http: %s: %v\n", s.name, err)
			}
		}
		for _, kind := range kinds {
			rows = append(rows, &row{server: s.name + failed, kind: kind})
		}
	}
	if err := printCommands(servers); err != nil {
		return err
	}
	for round := -1; round < rounds; round++ {
		var baseline [len(kinds)]float64
		for i, s := range servers {
			for j, kind := range kinds {
				if i == 0 && j == 1 && !t.peer {
					continue // the baseline replays nothing
				}
				p := load.Plan{Addr: s.addr, Conns: conns, Duration: length, Body: requestBody(), Key: keys(kind)}
				before := s.cpu()
				res, err := load.Run(p)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", s.name, kind, err)
				}
				if i == 0 {
					baseline[j] = res.Rate()
					if !t.peer {
						baseline[1] = res.Rate()
					}
				}
				if r := rows[2*i+j]; round >= 0 {
					r.rate = append(r.rate, res.Rate())
					r.ratio = append(r.ratio, res.Rate()/baseline[j])
					r.cpu = append(r.cpu, float64((s.cpu()-before).Microseconds())/float64(res.Requests))
					r.median = append(r.median, res.Quantile(0.5))
					r.worst1 = append(r.worst1, res.Quantile(0.99))
				}
			}
		}
	}
	report(t, rows, rounds, conns)
	return nil
}

// gate has many send each of some keys at the same moment.
func gate(s server, conns int) error {
	var keys []string
	for i := range 50 {
		keys = append(keys, fmt.Sprintf("dup-%d-%d", conns, i))
	}
	return load.Duplicates(load.Plan{Addr: s.addr, Conns: duplicates, Body: requestBody()}, keys)
}

var kinds = [...]string{"fresh", "replay"}

// keys returns the keys of a measurement: each its own when fresh, and else one of a thousand.
func keys(kind string) func(conn, n int) string {
	if kind == "fresh" {
		return func(conn, n int) string {
			b := make([]byte, 0, 36)
			b = append(b, "f-"...)
			b = strconv.AppendInt(b, time.Now().UnixNano(), 36)
			b = append(b, '-')
			b = strconv.AppendInt(b, int64(conn), 10)
			b = append(b, '-')
			return string(strconv.AppendInt(b, int64(n), 10))
		}
	}
	return func(conn, n int) string { return "r-" + strconv.Itoa((conn*16+n)%1000) }
}

func report(t table, rows []*row, rounds, conns int) {
	fmt.Printf("\n%s, %d connections, medians of %d rounds (ratio: lowest to highest); %d duplicates of each of 50 keys: one execution, one body\n\n",
		t.name, conns, rounds, duplicates)
	fmt.Println("| server | requests | rate /s | ratio | goal | server CPU | p50 | p99 |")
	fmt.Println("| --- | --- | --- | --- | --- | --- | --- | --- |")
	for _, r := range rows {
		if len(r.rate) == 0 {
			continue
		}
		goal := "–"
		if g, ok := t.goals[r.server+" "+r.kind]; ok && conns == 64 {
			goal = fmt.Sprintf("%.2f", g)
		}
		fmt.Printf("| %s | %s | %.0f | %.2f (%.2f–%.2f) | %s | %.1f µs | %v | %v |\n", r.server, r.kind,
			median(r.rate), median(r.ratio), slices.Min(r.ratio), slices.Max(r.ratio), goal,
			median(r.cpu), median(r.median).Round(time.Microsecond), median(r.worst1).Round(10*time.Microsecond))
	}
}

func median[T cmp.Ordered](s []T) T {
	s = slices.Sorted(slices.Values(s))
	return s[len(s)/2]
}

func requestBody() []byte {
	return []byte(`{"amount":1250,"currency":"EUR","card":"tok_1","note":"` + strings.Repeat("x", 500-57) + `"}`)
}
