package main

import (
	"strings"
	"testing"

	"github.com/oncehq/once/examples/internal/smoke"
)

func TestExample(t *testing.T) {
	t.Parallel()
	p := smoke.Start(t, t.TempDir(), smoke.Build(t, "."))
	out, status := p.Wait(t)
	want(t, out, status, "try 1: Unavailable", "try 2: OK", "order-42: receipt 1, 1250 cents, replayed: true", "in the ledger: 1")
	cmd := p.Commands(t, 3)
	out, status = p.GoRun(t, cmd[0])
	want(t, out, status, "order-42: receipt 1, 1250 cents, replayed: true", "in the ledger: 1")
	out, status = p.GoRun(t, cmd[1])
	want(t, out, status, "FailedPrecondition", "order-42 was not charged for", "in the ledger: 1")
	out, status = p.GoRun(t, cmd[2])
	want(t, out, status, "order-43: receipt 2, 1250 cents", "in the ledger: 2")
}

func want(t *testing.T, out string, status int, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(out, text) || status != 0 {
			t.Errorf("exit status %d, and %q is not in:\n%s", status, text, out)
		}
	}
}
