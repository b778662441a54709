package onceredis

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/oncehq/once"
	"github.com/redis/rueidis"
)

// Doctor asks the servers for their settings anew, and returns what is dangerous about them: a
// sentence each, with the way out. The error says that they could not be asked.
func (s *Store) Doctor(ctx context.Context) ([]string, error) {
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	_, findings, err := examine(ctx, s.client, s.target.Mode, s.cfg.MinReplicas)
	return findings, err
}

// Examine says what the servers guarantee, and what [Store.Doctor] would find, also where [Open]
// refuses them.
func Examine(ctx context.Context, cfg Config) (once.Guarantees, []string, error) {
	client, target, cfg, err := reach(ctx, cfg)
	if err != nil {
		return once.Guarantees{}, nil, err
	}
	defer client.Close()
	return examine(ctx, client, target.Mode, cfg.MinReplicas)
}

func examine(
	ctx context.Context, client rueidis.Client, mode Mode, minReplicas int,
) (once.Guarantees, []string, error) {
	masters, err := inspect(ctx, client)
	if err != nil {
		return once.Guarantees{}, nil, err
	}
	var findings []string
	for _, m := range masters {
		for _, f := range m.findings(mode, minReplicas) {
			findings = append(findings, "Server "+m.addr+": "+f)
		}
	}
	return guarantees(mode, masters, minReplicas), findings, nil
}

func (s server) findings(mode Mode, minReplicas int) []string {
	var list []string
	report := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	for _, err := range split(s.check(mode)) {
		report("%s.", strings.TrimPrefix(err.Error(), "onceredis: server "+s.addr+" "))
	}
	if _, _, note := s.durability(); note != "" {
		report("%s", note)
	}
	if s.evicted > 0 {
		report("%d keys were evicted since it started, records perhaps among them; "+
			"set maxmemory-policy to noeviction and reset its statistics.", s.evicted)
	}
	if s.maxmemory == 0 {
		report("its memory has no bound, so that the system may kill it; set maxmemory.")
	}
	if s.writeError {
		report("its last write to the disk has failed; see its log.")
	}
	switch {
	case s.replicas < minReplicas:
		report("%d replicas are connected, MinReplicas is %d: no claim counts; start more replicas.",
			s.replicas, minReplicas)
	case mode != Single && s.replicas == 0:
		report("no replica is connected: nothing takes over if it fails; start one.")
	case mode != Single && s.minReplicasToKeep == "0":
		report("it goes on alone when it is cut off from its replicas, and what it is told then " +
			"is lost in the failover; set min-replicas-to-write to 1.")
	}
	return list
}

// split returns the errors that were joined.
func split(err error) []error {
	if joined, ok := errors.AsType[interface {
		error
		Unwrap() []error
	}](err); ok {
		return joined.Unwrap()
	}
	if err == nil {
		return nil
	}
	return []error{err}
}
