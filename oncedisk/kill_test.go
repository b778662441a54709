package oncedisk

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oncehq/once"
)

var kills = flag.Int("oncedisk.kills", 5, "how often the writing process is killed")

// writerDir is set in the process that writes until it is killed.
const writerDir = "ONCEDISK_WRITER_DIR"

func writerConfig(dir string) Config { return Config{Dir: dir, SegmentSize: 1 << 20} }

// A process that is killed at any moment loses nothing that it was told is recorded.
func TestKilledProcessesLoseNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	said := make(map[string]string) // the last thing that was acknowledged of each operation
	for round := range *kills {
		acknowledged := writeUntilKilled(t, dir, round)
		for _, line := range acknowledged {
			what, id, ok := strings.Cut(line, " ")
			if !ok {
				t.Fatalf("the writing process said %q", line)
			}
			said[id] = what
		}
		if len(acknowledged) == 0 {
			t.Fatal("the writing process acknowledged nothing")
		}
		checkSaid(t, dir, said)
	}
	t.Logf("%d operations, %d kills", len(said), *kills)
}

// writeUntilKilled returns the lines of a writing process.
func writeUntilKilled(t *testing.T, dir string, round int) []string {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestWritingProcess$")
	cmd.Env = append(os.Environ(), writerDir+"="+dir, fmt.Sprint("ONCEDISK_WRITER_ROUND=", round))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var lines []string
	in := bufio.NewReader(out)
	enough := 50 + rand.IntN(1500)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			break // a line without its end was not said
		}
		lines = append(lines, strings.TrimSpace(line))
		if len(lines) == enough {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	cmd.Wait() // says that it was killed
	if len(lines) < enough {
		t.Fatalf("the writing process ended by itself, after %d lines", len(lines))
	}
	return lines
}

func checkSaid(t *testing.T, dir string, said map[string]string) {
	t.Helper()
	s, err := Open(writerConfig(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for id, what := range said {
		rec, err := s.Load(context.Background(), once.Key{Scope: "kill", ID: id})
		switch {
		case strings.HasPrefix(what, "releas") && errors.Is(err, once.ErrNotFound):
		case err != nil:
			t.Errorf("%s was %s: got error %v", id, what, err)
		case rec.State == once.Done && string(rec.Outcome.Data) != killOutcome(id):
			t.Errorf("%s was %s: got another outcome", id, what)
		case what == "done" && rec.State != once.Done, what == "released":
			t.Errorf("%s was %s: got it %v", id, what, rec.State)
		}
	}
}

func killOutcome(id string) string { return strings.Repeat(id+",", 50) }

// TestWritingProcess is the process that is killed, not a test of its own.
func TestWritingProcess(t *testing.T) {
	dir := os.Getenv(writerDir)
	if dir == "" {
		t.Skip("runs as another process only")
	}
	s, err := Open(writerConfig(dir))
	if err != nil {
		t.Fatal(err)
	}
	say := make(chan string)
	var all sync.WaitGroup
	for g := range 16 {
		all.Go(func() {
			for n := 0; ; n++ {
				id := fmt.Sprintf("%s-%d-%d", os.Getenv("ONCEDISK_WRITER_ROUND"), g, n)
				if err := writeOne(s, id, n, say); err != nil {
					panic(err)
				}
			}
		})
	}
	for line := range say {
		io.WriteString(os.Stdout, line+"\n")
	}
}

func writeOne(s *Store, id string, n int, say chan<- string) error {
	ctx := context.Background()
	k := once.Key{Scope: "kill", ID: id}
	c := once.Claim{Key: k, Owner: once.NewOwner(), Lease: time.Hour}
	if _, err := s.Claim(ctx, c); err != nil {
		return err
	}
	switch n % 8 {
	case 0:
		say <- "claimed " + id
		return nil
	case 1:
		say <- "releasing " + id
		if err := s.Release(ctx, k, c.Owner); err != nil {
			return err
		}
		say <- "released " + id
		return nil
	}
	say <- "claimed " + id
	// Every other one is forgotten soon, so that segments are emptied while the process is killed.
	k.ID, c.Owner = id+"-short", once.NewOwner()
	c.Key = k
	if _, err := s.Claim(ctx, c); err != nil {
		return err
	}
	out := once.Outcome{Data: make([]byte, 2000)}
	if err := s.Complete(ctx, k, c.Owner, out, 50*time.Millisecond); err != nil {
		return err
	}
	return completeOne(s, id, say)
}

func completeOne(s *Store, id string, say chan<- string) error {
	ctx := context.Background()
	k := once.Key{Scope: "kill", ID: id}
	rec, err := s.Load(ctx, k)
	if err != nil {
		return err
	}
	if err := s.Complete(ctx, k, rec.Owner, once.Outcome{Data: []byte(killOutcome(id))}, time.Hour); err != nil {
		return err
	}
	say <- "done " + id
	return nil
}

func TestOneProcessAtATime(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := Open(writerConfig(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	cmd := exec.Command(os.Args[0], "-test.run=^TestWritingProcess$")
	cmd.Env = append(os.Environ(), writerDir+"="+dir)
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "in use by another process") {
		t.Errorf("a second process on the directory: error %v, %s", err, out)
	}
	if _, err := Check(dir); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("check of a directory in use: error %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Check(dir); err != nil {
		t.Errorf("check of a closed store: error %v", err)
	}
}
