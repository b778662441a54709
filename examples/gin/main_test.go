package main

import (
	"strings"
	"testing"

	"github.com/oncehq/once/examples/internal/smoke"
)

func TestExample(t *testing.T) {
	t.Parallel()
	dir, program := t.TempDir(), smoke.Build(t, ".")
	p := smoke.Start(t, dir, program, "--listen", "127.0.0.1:0")
	cmd := p.Commands(t, 5)
	first, again := smoke.Curl(t, cmd[0]), smoke.Curl(t, cmd[1])
	if first.Status != 201 || first.Replayed || !again.Replayed || again.Body != first.Body {
		t.Errorf("got %+v, then %+v", first, again)
	}
	booked(t, cmd[2], 1)
	wrong, again := smoke.Curl(t, cmd[3]), smoke.Curl(t, cmd[3])
	if wrong.Status != 400 || wrong.Replayed || !again.Replayed || again.Body != wrong.Body {
		t.Errorf("a wrong request: %+v, then %+v", wrong, again)
	}
	if a := smoke.Curl(t, cmd[4]); a.Status != 400 || !strings.Contains(a.Body, "#key-missing") {
		t.Errorf("without a key: %+v", a)
	}
	if a := smoke.Curl(t, strings.Replace(cmd[0], "alice:a1", "alice:guess", 1)); a.Status != 401 {
		t.Errorf("a stranger: %+v", a)
	}
	booked(t, cmd[2], 1)

	// What was answered is remembered after kill -9.
	p.Kill()
	cmd = smoke.Start(t, dir, program, "--listen", "127.0.0.1:0").Commands(t, 3)
	if again := smoke.Curl(t, cmd[0]); !again.Replayed || again.Body != first.Body {
		t.Errorf("after a crash: %+v", again)
	}
	booked(t, cmd[2], 1)
}

func booked(t *testing.T, list string, want int) {
	t.Helper()
	if a := smoke.Curl(t, list); a.Status != 200 || strings.Count(a.Body, `"number"`) != want {
		t.Errorf("got %+v, want %d charges", a, want)
	}
}
