package oncepg

import (
	"fmt"

	"github.com/oncehq/once"
)

// Guarantees implements [once.Guarantor]. They are those of the server's settings when the store
// was opened.
func (s *Store) Guarantees() once.Guarantees { return s.found.guarantees() }

func (s settings) guarantees() once.Guarantees {
	g := once.Guarantees{
		Store:    fmt.Sprintf("PostgreSQL %d.%d", s.version/10000, s.version%10000),
		Crash:    once.Survives,
		Power:    once.Survives,
		Failover: once.NotApplicable,
		Shared:   true,
	}
	note := func(text string) { g.Notes = append(g.Notes, text) }
	if !s.fsync {
		g.Power = once.Lost
		note("fsync is off: set it on, or a loss of power may take everything.")
	}
	if !s.fullPageWrites {
		g.Power = once.Lost
		note("full_page_writes is off: set it on, unless the file system never tears a page.")
	}
	if !s.durable() {
		note("synchronous_commit is " + s.syncCommit + " for this role: the store sets it on for its own transactions.")
	}
	switch {
	case s.synchronous():
		g.Failover = once.Survives
		note("A failover keeps every claim if it promotes a standby of synchronous_standby_names (" + s.syncStandbys + ").")
		if !s.watched {
			note("But a commit whose wait for the standby an operator has ended is taken for confirmed: " +
				"call oncepg.WatchCommits before the pool is made.")
		}
	case s.replicated():
		g.Failover = once.Lost
		note("Replication is asynchronous: set synchronous_standby_names, or a failover may forget the last claims.")
	default:
		note("No standby was seen. Should there be one later, set synchronous_standby_names.")
	}
	return g
}
