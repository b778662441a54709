package main

import (
	"testing"

	"github.com/oncehq/once/examples/internal/smoke"
)

func TestExample(t *testing.T) {
	t.Parallel()
	dir, program := t.TempDir(), smoke.Build(t, ".")
	p := smoke.Start(t, dir, program, "--listen", "127.0.0.1:0")
	cmd := p.Commands(t, 1)[0]
	first, again := smoke.Curl(t, cmd), smoke.Curl(t, cmd)
	const want = `{"charge":1,"request":{"amount":1250}}` + "\n"
	if first.Status != 200 || first.Replayed || first.Body != want {
		t.Errorf("first: %+v", first)
	}
	if again.Status != 200 || !again.Replayed || again.Body != want {
		t.Errorf("again: %+v", again)
	}
	p.Kill()
	cmd = smoke.Start(t, dir, program, "--listen", "127.0.0.1:0").Commands(t, 1)[0]
	if after := smoke.Curl(t, cmd); !after.Replayed || after.Body != want {
		t.Errorf("after kill -9: %+v", after)
	}
}
