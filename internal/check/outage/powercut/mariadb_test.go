//go:build linux

package powercut_test

import (
	"context"
	"testing"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/store/oncesql"
)

func TestMariaDB(t *testing.T) {
	const flush = "innodb_flush_log_at_trx_commit = "
	runAll(t,
		setting{name: flush + "1", start: onMariaDB(), durable: true},
		// What MySQL needs, which syncs neither the folder of a new binary log nor, with its default
		// of O_DIRECT, the doublewrite files.
		setting{name: "fsync, names in order", start: onMariaDB("innodb_flush_method = fsync"), durable: true,
			disk: inOrder, rare: true},
		setting{name: flush + "2", start: onMariaDB(flush + "2")},
		setting{name: "on a disk that lies", start: onMariaDB(), disk: lies, rare: true},
	)
}

type mariadb struct{ *servers.MariaDBServer }

func onMariaDB(settings ...string) func(*testing.T) system {
	return func(t *testing.T) system {
		s, err := servers.StartMariaDB(append(settings,
			"loose_innodb_log_file_size = 8M", "innodb_buffer_pool_size = 32M")...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		m := mariadb{s}
		if err := oncesql.Migrate(t.Context(), m.config()); err != nil {
			t.Fatal(err)
		}
		return m
	}
}

func (m mariadb) config() oncesql.Config {
	return oncesql.Config{DSN: "mysql://root@" + m.Addr + "/once", Sweep: -1, DangerouslyAllowLoss: true}
}

func (m mariadb) start(t *testing.T) { m.Restart(t) }
func (m mariadb) kill()              { m.Kill() }

func (m mariadb) open(t *testing.T) (once.Store, func() error) {
	t.Helper()
	s, err := oncesql.Open(t.Context(), m.config())
	if err != nil {
		t.Fatal(err)
	}
	return s, s.Close
}

func (m mariadb) load(ctx context.Context, t *testing.T, round string, l *ledger) func() {
	return loadFromHere(ctx, t, m, round, l)
}
