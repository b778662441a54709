package main

import (
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/oncehq/once/examples/internal/smoke"
	"github.com/oncehq/once/internal/servers"
)

func TestExample(t *testing.T) {
	t.Parallel()
	program := smoke.Build(t, ".")
	t.Run("CardIsChargedOnceAsPrinted", func(t *testing.T) { chargedOnce(t, program) })
	t.Run("MissingRedisIsToldWithTheWayOut", func(t *testing.T) { missing(t, program) })
}

func chargedOnce(t *testing.T, program string) {
	redis, dir := servers.Redis(t), t.TempDir()
	start := func() *smoke.Program {
		return smoke.Start(t, dir, program, "--listen", "127.0.0.1:0", "--store", "redis://"+redis.Addr)
	}
	p := start()
	cmd := p.Commands(t, 5)
	first, again := smoke.Curl(t, cmd[0]), smoke.Curl(t, cmd[1])
	if first.Status != 201 || first.Replayed || !again.Replayed || again.Body != first.Body {
		t.Errorf("got %+v, then %+v", first, again)
	}
	if book := smoke.Curl(t, cmd[2]); strings.Count(book.Body, `"number"`) != 1 {
		t.Errorf("booked: %s", book.Body)
	}
	if other := smoke.Curl(t, cmd[3]); other.Status != 422 || !strings.Contains(other.Body, "#key-reused") {
		t.Errorf("another amount: %+v", other)
	}
	if bob := smoke.Curl(t, cmd[4]); bob.Status != 201 || bob.Replayed || !strings.Contains(bob.Body, `"number":2`) {
		t.Errorf("Bob: %+v", bob)
	}
	if stranger := smoke.Curl(t, strings.Replace(cmd[0], "alice:a1", "alice:guess", 1)); stranger.Status != 401 {
		t.Errorf("a stranger: %+v", stranger)
	}
	// Another instance finds the records in Redis.
	p.Interrupt(t)
	cmd = start().Commands(t, 3)
	if again := smoke.Curl(t, cmd[0]); !again.Replayed || again.Body != first.Body {
		t.Errorf("after a restart: %+v", again)
	}
	together(t, strings.Replace(cmd[0], "order-42", "order-43", 1))
	if book := smoke.Curl(t, cmd[2]); strings.Count(book.Body, `"number"`) != 3 {
		t.Errorf("booked: %s", book.Body)
	}
}

// together sends one request many times at once: one runs, and all get its answer.
func together(t *testing.T, command string) {
	t.Helper()
	const callers = 10
	answers := make([]smoke.Answer, callers)
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() {
			var err error
			if answers[i], err = smoke.TryCurl(t, command); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	fresh := 0
	for _, a := range answers {
		if a.Status != 201 || a.Body != answers[0].Body {
			t.Errorf("got %+v and %+v", a, answers[0])
		}
		if !a.Replayed {
			fresh++
		}
	}
	if fresh != 1 {
		t.Errorf("%d of %d answers are no replays, want 1", fresh, callers)
	}
}

func missing(t *testing.T, program string) {
	dir := t.TempDir()
	out, status := smoke.Run(t, dir, program, "--store", "redis://127.0.0.1:1")
	if status != 1 || !strings.Contains(out, "docker run") || !strings.Contains(out, "--store redis://") {
		t.Errorf("exit status %d\n%s", status, out)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("a program that could not start has left %v", left)
	}
}
