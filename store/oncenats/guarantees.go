package oncenats

import (
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/oncehq/once"
)

// Guarantees says what an acknowledgement is worth with the settings that the stream and the servers
// had when the store was opened. [Store.Doctor] looks again.
func (s *Store) Guarantees() once.Guarantees { return guarantees(s.stream, s.servers) }

func guarantees(d stream, all servers) once.Guarantees {
	g := once.Guarantees{
		Store:    "NATS JetStream " + d.version,
		Crash:    once.Survives,
		Power:    once.Lost,
		Failover: once.NotApplicable,
		Shared:   true,
	}
	n := d.replicas()
	if n > 1 {
		g.Failover = once.Survives
	}
	switch durable, note := all.durable(d); {
	case d.Config.Storage == jetstream.MemoryStorage && n < 3:
		g.Crash = once.Lost
		g.Notes = append(g.Notes, "The stream is in memory only; make one with storage file.")
	case d.Config.Storage == jetstream.MemoryStorage:
		g.Notes = append(g.Notes, "The stream is in memory only, and lost when most of its servers end at the same time; "+
			"make one with storage file.")
	case d.async():
		g.Crash = once.Lost
		g.Notes = append(g.Notes, asyncNote)
	case durable:
		g.Power = once.Survives
	default:
		g.Notes = append(g.Notes, note)
	}
	if n > 1 {
		g.Notes = append(g.Notes, fmt.Sprintf("Most of %d servers have a claim before it is acknowledged.", n))
	} else {
		g.Notes = append(g.Notes, "One server keeps the stream: while it is down nothing can be claimed.")
	}
	g.Notes = append(g.Notes, "Leases rest on the wall clock of the stream's leader: nobody may set it, and those of several servers must agree.")
	return g
}

// async reports that the server acknowledges messages that it has not written yet.
func (d stream) async() bool { return d.Config.PersistMode == jetstream.AsyncPersistMode }

const asyncNote = "The stream acknowledges what it has not written yet (persist_mode async); make one without that."
