package main

import (
	"strings"
	"testing"

	"github.com/oncehq/once/examples/internal/smoke"
	"github.com/oncehq/once/internal/servers"
)

func TestExample(t *testing.T) {
	t.Parallel()
	program := smoke.Build(t, ".")
	t.Run("LedgerBalancesWhateverIsKilled", func(t *testing.T) { balances(t, program) })
	t.Run("MissingDatabaseIsToldWithTheWayOut", func(t *testing.T) { missing(t, program) })
}

func balances(t *testing.T, program string) {
	store := servers.Postgres(t).DSN
	out, status := smoke.Run(t, t.TempDir(), program, "--store", store, "--transfers", "150", "--kills", "3")
	for _, text := range []string{"killed 3 of 3", "booked:     150 of 150", "doubled:    0\n", "balances to the cent"} {
		if !strings.Contains(out, text) {
			t.Errorf("it does not print %q", text)
		}
	}
	if status != 0 {
		t.Errorf("exit status %d", status)
	}
	// The same without a guard: copies are booked twice, so the audit is not blind.
	out, status = smoke.Run(t, t.TempDir(), program, "--store", store, "--transfers", "100", "--kills", "1", "--unguarded")
	if status != 1 || !strings.Contains(out, "off by") || strings.Contains(out, "doubled:    0\n") {
		t.Errorf("without a guard: exit status %d\n%s", status, out)
	}
}

func missing(t *testing.T, program string) {
	for _, args := range [][]string{{"--store", ""}, {"--store", "postgres://postgres@127.0.0.1:1/postgres"}} {
		out, status := smoke.Run(t, t.TempDir(), program, args...)
		if status != 1 || !strings.Contains(out, "docker run") {
			t.Errorf("%q: exit status %d\n%s", args, status, out)
		}
	}
}
