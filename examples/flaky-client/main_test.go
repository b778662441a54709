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
	if status != 0 {
		t.Fatalf("exit status %d", status)
	}
	inOrder(t, out, "try 4: ", "201 Created", "ledger: 1\n",
		"answered: 50, after", "ledger: 51\n",
		"order-7 is put down", "killed", "order-7 is pending", "order-7: 201 Created, replayed: true", "ledger: 52\n")
	out, status = p.GoRun(t, p.Commands(t, 1)[0])
	if status != 0 {
		t.Fatalf("exit status %d", status)
	}
	inOrder(t, out, "ledger: 1\n", "answered: 100, after", "ledger: 101\n", "ledger: 102\n")
}

// inOrder expects the texts in what was printed, one after the other.
func inOrder(t *testing.T, out string, texts ...string) {
	t.Helper()
	rest := out
	for _, text := range texts {
		_, after, found := strings.Cut(rest, text)
		if !found {
			t.Fatalf("%q does not follow in:\n%s", text, out)
		}
		rest = after
	}
}
