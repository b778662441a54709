package main

import (
	"strings"
	"testing"
	"time"

	"github.com/oncehq/once/examples/internal/smoke"
	"github.com/oncehq/once/internal/servers"
)

func TestExample(t *testing.T) {
	t.Parallel()
	program := smoke.Build(t, ".")
	t.Run("CardIsChargedOnceAsPrinted", func(t *testing.T) { chargedOnce(t, program) })
	t.Run("MissingDatabaseIsToldWithTheWayOut", func(t *testing.T) { missing(t, program) })
}

func chargedOnce(t *testing.T, program string) {
	database := servers.Postgres(t)
	start := func(args ...string) *smoke.Program {
		return smoke.Start(t, t.TempDir(), program,
			append(args, "--listen", "127.0.0.1:0", "--store", database.DSN)...)
	}
	if out, status := start().Wait(t); status != 1 || !strings.Contains(out, "--migrate") {
		t.Errorf("without tables: exit status %d\n%s", status, out)
	}
	p := start("--migrate")
	cmd := p.Commands(t, 3)
	first, again := smoke.Curl(t, cmd[0]), smoke.Curl(t, cmd[1])
	if first.Status != 201 || first.Replayed || !again.Replayed || again.Body != first.Body {
		t.Errorf("got %+v, then %+v", first, again)
	}
	charges(t, cmd[2], 1)
	p.Interrupt(t)

	// Kill it between the charge and the commit.
	p = start("--pause", "10m")
	cmd = p.Commands(t, 3)
	other := strings.Replace(cmd[0], "order-42", "order-43", 1)
	answered := make(chan error, 1)
	go func() { _, err := smoke.TryCurl(t, other); answered <- err }()
	p.Printed(t, "not yet committed")
	p.Kill()
	if err := <-answered; err == nil {
		t.Error("a dead program has answered")
	}
	cmd = start().Commands(t, 3)
	charges(t, cmd[2], 1)
	retried := settled(t, strings.Replace(cmd[0], "order-42", "order-43", 1))
	if retried.Status != 201 || retried.Replayed {
		t.Errorf("after the crash: %+v", retried)
	}
	charges(t, cmd[2], 2)
}

// settled repeats a request until its operation is not in flight any more: the server needs a
// moment to notice that a client is dead.
func settled(t *testing.T, command string) smoke.Answer {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		if a := smoke.Curl(t, command); a.Status != 409 || time.Now().After(deadline) {
			return a
		}
	}
}

func charges(t *testing.T, list string, want int) {
	t.Helper()
	if a := smoke.Curl(t, list); a.Status != 200 || strings.Count(a.Body, `"number"`) != want {
		t.Errorf("got %+v, want %d charges", a, want)
	}
}

func missing(t *testing.T, program string) {
	for _, args := range [][]string{{}, {"--migrate"}} {
		args = append(args, "--store", "postgres://postgres@127.0.0.1:1/postgres")
		out, status := smoke.Run(t, t.TempDir(), program, args...)
		if status != 1 || !strings.Contains(out, "docker run") {
			t.Errorf("%q: exit status %d\n%s", args, status, out)
		}
	}
}
