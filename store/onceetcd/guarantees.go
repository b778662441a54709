package onceetcd

import (
	"fmt"

	"github.com/oncehq/once"
)

// Guarantees says what an acknowledgement is worth with the cluster as it was when the store was
// opened. [Store.Doctor] looks again.
func (s *Store) Guarantees() once.Guarantees { return s.cluster.guarantees() }

func (c cluster) guarantees() once.Guarantees {
	answered := c.answered()
	g := once.Guarantees{
		Store:    "etcd " + answered[0].version,
		Crash:    once.Survives,
		Power:    once.Survives,
		Failover: once.Survives,
		Shared:   true,
	}
	known := c.voters <= len(answered) // those that the DSN does not name were not asked
	for _, m := range answered {
		known = known && m.syncs != syncsUnknown
		if m.syncs == syncsNo {
			g.Power = once.Lost
		}
	}
	switch {
	case g.Power == once.Lost:
		g.Notes = append(g.Notes, "A server does not sync its log to the disk (--unsafe-no-fsync); start it without that.")
	case !known:
		g.Notes = append(g.Notes, "That servers sync their log to the disk is taken for granted; whether one "+
			"was started with --unsafe-no-fsync could not be seen in its metrics.")
	}
	switch c.voters {
	case 0:
		g.Notes = append(g.Notes, "How many members the cluster has may not be asked; with one there is no failover.")
	case 1:
		g.Failover = once.NotApplicable
	default:
		g.Notes = append(g.Notes, fmt.Sprintf("Of %d members %d may fail at a time.", c.voters, (c.voters-1)/2))
	}
	g.Notes = append(g.Notes, "Leases and retentions are etcd leases, measured by the leader's monotonic clock: they end "+
		"up to two seconds or five percent late, and start anew with every change of leader; never early.")
	return g
}
