//go:build linux

package powercut_test

import (
	"context"
	"testing"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/store/oncepg"
)

func TestPostgres(t *testing.T) {
	runAll(t,
		setting{name: "defaults", start: onPostgres(), durable: true},
		setting{name: "fsync off", start: onPostgres("fsync = off")},
		// The store sets synchronous_commit on for its own transactions.
		setting{
			name: "synchronous_commit off", durable: true, rare: true,
			start: onPostgres("synchronous_commit = off", "wal_writer_delay = 10s"),
		},
		setting{
			name: "wal_sync_method open_datasync", durable: true, rare: true,
			start: onPostgres("wal_sync_method = open_datasync"),
		},
		setting{name: "on a disk that lies", start: onPostgres(), disk: lies, rare: true},
	)
}

type postgres struct{ *servers.PostgresServer }

func onPostgres(settings ...string) func(*testing.T) system {
	return func(t *testing.T) system {
		s, err := servers.StartPostgres(append(settings, "max_wal_size = 32MB", "shared_buffers = 16MB")...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		p := postgres{s}
		cfg := p.config()
		cfg.DSN += "&synchronous_commit=on" // the server is about to be killed
		if err := oncepg.Migrate(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
		return p
	}
}

func (p postgres) config() oncepg.Config {
	return oncepg.Config{DSN: p.DSN, Sweep: -1, DangerouslyAllowNoFsync: true}
}

func (p postgres) start(t *testing.T) { p.Restart(t) }
func (p postgres) kill()              { p.KillAll() }

func (p postgres) open(t *testing.T) (once.Store, func() error) {
	t.Helper()
	s, err := oncepg.Open(t.Context(), p.config())
	if err != nil {
		t.Fatal(err)
	}
	return s, s.Close
}

func (p postgres) load(ctx context.Context, t *testing.T, round string, l *ledger) func() {
	return loadFromHere(ctx, t, p, round, l)
}
