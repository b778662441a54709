package oncepg_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncehq/once"
	"github.com/oncehq/once/store/oncepg"
)

// A process is this test's program, run a second time to do something else. It tells what it does
// in lines.
type process struct {
	cmd   *exec.Cmd
	lines *bufio.Scanner
	in    io.Writer
	end   sync.Once
}

// startChild starts a process that does the work, with words that say how.
func startChild(t testing.TB, work string, words ...string) *process {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "ONCEPG_CHILD="+work+" "+strings.Join(words, " "))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	ok(t, err)
	out, err := cmd.StdoutPipe()
	ok(t, err)
	ok(t, cmd.Start())
	p := &process{cmd: cmd, lines: bufio.NewScanner(out), in: in}
	t.Cleanup(p.kill)
	return p
}

// next returns the next line that the process tells, or an empty one if it has ended.
func (p *process) next() string {
	p.lines.Scan()
	return p.lines.Text()
}

func (p *process) kill() {
	p.end.Do(func() {
		p.cmd.Process.Signal(syscall.SIGKILL)
		p.cmd.Wait()
	})
}

// child does the work in the second process.
func child(work string) int {
	words := strings.Fields(work)
	cfg := oncepg.Config{DSN: words[1], Schema: words[2], Sweep: -1}
	var err error
	switch words[0] {
	case "claim":
		err = childClaims(cfg)
	case "transact":
		err = childTransacts(cfg, words[3])
	default:
		err = fmt.Errorf("unknown work %q", work)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "child:", err)
		return 1
	}
	return 0
}

const contested = 100 // keys

// childClaims claims keys that the other process claims too, and tells those that it won.
func childClaims(cfg oncepg.Config) error {
	ctx := context.Background()
	s, err := oncepg.Open(ctx, cfg)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	for n := range contested {
		n = contested - 1 - n
		c := newClaim(strconv.Itoa(n))
		c.Lease = 300 * time.Millisecond
		rec, err := s.Claim(ctx, c)
		if err != nil {
			return err
		}
		if rec.Won(c) {
			fmt.Println(n)
		}
	}
	fmt.Println("end")
	select {} // with the claims held, until it is killed
}

// childTransacts runs operations 0, 1, 2, … in transactions that write to the table, until it is
// killed. It tells each that is done.
func childTransacts(cfg oncepg.Config, table string) error {
	ctx := context.Background()
	s, err := oncepg.OpenTransactional(ctx, cfg)
	if err != nil {
		return err
	}
	g, err := once.New(once.Config{Store: s, InDoubt: once.Rerun})
	if err != nil {
		return err
	}
	b := business{table: table}
	for n := 0; ; n++ {
		if n == 1 { // all statements are prepared by now
			fmt.Println("ready")
			fmt.Scanln()
		}
		id := strconv.Itoa(n)
		_, err := once.Do(ctx, g, key(id), once.Fingerprint{}, func(ctx context.Context) (string, error) {
			return id, b.add(ctx, id)
		})
		if err != nil {
			return err
		}
		fmt.Println(n)
	}
}

func TestTwoProcessesOneWinnerEach(t *testing.T) {
	t.Parallel()
	cfg := migrated(t, config(t))
	s := open(t, cfg)
	// The other process begins from the other end.
	p := startChild(t, "claim", cfg.DSN, cfg.Schema)
	if got, first := p.next(), p.next(); got != "ready" || first != strconv.Itoa(contested-1) {
		t.Fatalf("the other process says %q, %q", got, first)
	}
	winners := map[int]int{contested - 1: 1}
	theirs := []int{contested - 1}
	claims := make([]once.Claim, contested)
	for n := range contested {
		claims[n] = newClaim(strconv.Itoa(n))
		rec, err := s.Claim(t.Context(), claims[n])
		ok(t, err)
		if rec.Won(claims[n]) {
			winners[n]++
		}
	}
	for line := p.next(); line != "end"; line = p.next() {
		n, err := strconv.Atoi(line)
		ok(t, err)
		winners[n]++
		theirs = append(theirs, n)
	}
	for n := range contested {
		if winners[n] != 1 {
			t.Errorf("key %d was won %d times, want once", n, winners[n])
		}
	}

	// The other process dies, and its claims are in doubt when their lease is over.
	p.kill()
	n := theirs[0]
	eventually(t, "the dead process's claim is in doubt", func() bool {
		rec, err := s.Load(t.Context(), claims[n].Key)
		ok(t, err)
		return rec.State == once.InDoubt
	})
	claims[n].Takeover = 5
	if rec := wins(t, s, claims[n]); rec.Attempt != 2 {
		t.Errorf("after the takeover attempt is %d, want 2", rec.Attempt)
	}
}

// settled waits until no transaction of others is open any more that could still be committed.
func settled(t testing.TB, pool *pgxpool.Pool, schema string) {
	t.Helper()
	eventually(t, "all transactions have ended", func() bool {
		var n int
		err := pool.QueryRow(context.Background(), `SELECT count(*) FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
			WHERE c.relname = 'records' AND c.relnamespace = $1::regnamespace AND l.mode = 'RowExclusiveLock'`, schema).Scan(&n)
		return err == nil && n == 0
	})
}
