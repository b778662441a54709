// Command disk measures oncedisk against what the disk allows, in one run on one machine: only
// the ratios mean anything elsewhere.
//
// The bound is half the rate of a bare log that keeps what it writes (bare.go), since an
// operation is two records of which the second depends on the first. Rounds of the bound and of
// the store alternate, and medians are printed.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/oncehq/once/oncedisk"
)

type settings struct {
	dir      string
	rounds   int
	each     time.Duration
	callers  []int
	outcome  int
	retained int
	expire   int
	segment  int64
}

func main() {
	log, err := parse()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	if err := run(log); err != nil {
		fmt.Fprintln(os.Stderr, "disk:", err)
		os.Exit(1)
	}
}

func parse() (settings, error) {
	var s settings
	var callers, parts string
	flag.StringVar(&s.dir, "dir", "", "folder to measure in, on the disk of interest (default: a temporary one)")
	flag.IntVar(&s.rounds, "rounds", 5, "rounds of each figure")
	flag.DurationVar(&s.each, "each", time.Second, "duration of a round")
	flag.StringVar(&callers, "callers", "1,16,64,256", "concurrent callers")
	flag.IntVar(&s.outcome, "outcome", 1024, "bytes of an outcome")
	flag.IntVar(&s.retained, "retained", 200_000, "records to be retained (the goals are for 10000000)")
	flag.IntVar(&s.expire, "expire", 100_000, "records to expire at once (the goals are for 1000000)")
	flag.Int64Var(&s.segment, "segment", oncedisk.DefaultSegmentSize, "bytes of a segment")
	flag.StringVar(&parts, "only", "", "speed, retained: leave the other part out")
	flag.Parse()
	for text := range strings.SplitSeq(callers, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return s, errors.New("disk: -callers must be numbers with commas between them")
		}
		s.callers = append(s.callers, n)
	}
	switch parts {
	case "":
	case "speed":
		s.retained = 0
	case "retained":
		s.callers = nil
	default:
		return s, errors.New("disk: -only must be speed or retained")
	}
	return s, nil
}

func run(s settings) error {
	if s.dir == "" {
		dir, err := os.MkdirTemp("", "once-disk-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		s.dir = dir
	}
	if err := gate(s); err != nil {
		return err
	}
	fmt.Println("64 simultaneous claims of each of 100 keys: one winner each")
	if err := speed(s); err != nil {
		return err
	}
	if s.retained == 0 {
		return nil
	}
	debug.FreeOSMemory()
	return retained(s)
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
