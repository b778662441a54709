package onceredis

import (
	"fmt"

	"github.com/oncehq/once"
)

// Guarantees says what an acknowledgement is worth with the settings that the servers had when
// the store was opened. [Store.Doctor] looks again.
func (s *Store) Guarantees() once.Guarantees {
	return guarantees(s.target.Mode, s.masters, s.cfg.MinReplicas)
}

func guarantees(mode Mode, masters []server, minReplicas int) once.Guarantees {
	g := once.Guarantees{
		Store:    masters[0].engine,
		Crash:    once.Survives,
		Power:    once.Survives,
		Failover: once.NotApplicable,
		Shared:   true,
	}
	if mode != Single {
		g.Store += " " + mode.String()
	}
	for _, m := range masters {
		crash, power, note := m.durability()
		if note != "" && g.Crash == once.Survives && g.Power == once.Survives {
			g.Notes = append(g.Notes, note)
		}
		g.Crash, g.Power = min(g.Crash, crash), min(g.Power, power)
		if mode != Single || m.replicas > 0 {
			g.Failover = once.Lost
		}
	}
	switch {
	case g.Failover == once.NotApplicable:
	case minReplicas == 0:
		g.Notes = append(g.Notes, "Replication is asynchronous: a failover forgets what the new master "+
			"had not received yet; MinReplicas makes that unlikely.")
	default:
		g.Notes = append(g.Notes, fmt.Sprintf("Claims and outcomes wait for %d replicas, which makes it "+
			"unlikely that a failover forgets one; Redis does not promise that the new master is one of them.",
			minReplicas))
	}
	g.Notes = append(g.Notes, "Leases and fences rest on the server's wall clock: nobody may set it back.")
	return g
}

// durability says what the server remembers when its process is killed and when the machine
// loses power, and what to change.
func (s server) durability() (crash, power once.Survival, note string) {
	switch {
	case !s.appendonly:
		return once.Lost, once.Lost, "Records are in memory only (appendonly no); set appendonly to yes."
	case s.appendfsync == "always" && s.noFsyncOnRewrite == "no":
		return once.Survives, once.Survives, ""
	case s.appendfsync == "always":
		return once.Survives, once.Lost,
			"While the file is rewritten nothing is synced (no-appendfsync-on-rewrite yes); set it to no."
	case s.appendfsync == "no":
		return once.Survives, once.Lost,
			"The system decides when records reach the disk (appendfsync no); set appendfsync to always."
	case s.appendfsync == "everysec":
		// While a sync is under way writes are held back in the process for up to two seconds.
		return once.Lost, once.Lost,
			"The last one or two seconds can be lost (appendfsync everysec); set appendfsync to always."
	}
	return once.Lost, once.Lost,
		"It is not known when records reach the disk, since CONFIG GET is refused; allow it."
}
