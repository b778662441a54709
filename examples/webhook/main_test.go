package main

import (
	"strings"
	"testing"

	"github.com/oncehq/once/examples/internal/smoke"
)

func TestExample(t *testing.T) {
	t.Parallel()
	program, dir := smoke.Build(t, "."), t.TempDir()
	p := smoke.Start(t, dir, program, "--listen", "127.0.0.1:0")
	cmd := p.Commands(t, 9)
	sent := func(i int, texts ...string) {
		t.Helper()
		out, status := p.GoRun(t, cmd[i])
		for _, text := range texts {
			if status != 0 || !strings.Contains(out, text) {
				t.Errorf("%s\nexit status %d, and %q is not in:\n%s", cmd[i], status, text, out)
			}
		}
		if replayed := len(texts) > 2; replayed != strings.Contains(out, "Idempotency-Replayed: true") {
			t.Errorf("%s\n%s", cmd[i], out)
		}
	}
	booked := func(want int) {
		t.Helper()
		if a := smoke.Curl(t, cmd[2]); strings.Count(a.Body, `"number"`) != want {
			t.Errorf("booked: %s; want %d", a.Body, want)
		}
	}
	sent(0, "200 OK", `{"received":true}`)
	sent(1, "200 OK", `{"received":true}`, "Idempotency-Replayed: true")
	booked(1)
	sent(3, "503", "Retry-After: 1")
	booked(1)
	sent(4, "200 OK")
	sent(5, "200 OK")
	booked(3)
	sent(6, "403", "signature")
	sent(7, "403", "signature")
	booked(3)
	sent(8, "200 OK")
	booked(4)
	p.Interrupt(t)
	duplicateInFlight(t, dir, program)
}

// The duplicate of an event that is being handled is to come again, and is acknowledged then.
func duplicateInFlight(t *testing.T, dir, program string) {
	p := smoke.Start(t, dir, program, "--listen", "127.0.0.1:0", "--work", "5s")
	send := strings.Replace(p.Commands(t, 1)[0], "evt_1", "evt_9", 1)
	first := p.GoStart(t, send)
	p.Printed(t, "takes its time")
	if out, _ := p.GoRun(t, send); !strings.Contains(out, "409") || !strings.Contains(out, "Retry-After:") {
		t.Errorf("in flight: %s", out)
	}
	if out, _ := first.Wait(t); !strings.HasPrefix(out, "200 OK") {
		t.Errorf("the first: %s", out)
	}
	if out, _ := p.GoRun(t, send); !strings.HasPrefix(out, "200 OK") || !strings.Contains(out, "Replayed: true") {
		t.Errorf("afterwards: %s", out)
	}
}
