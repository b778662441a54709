package oncenats

import (
	"context"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/oncehq/once"
)

// Doctor asks the servers for their settings anew, and returns what is dangerous about them: a
// sentence each, with the way out. The error says that they could not be asked.
func (s *Store) Doctor(ctx context.Context) ([]string, error) {
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	_, findings, err := s.examine(ctx)
	return findings, err
}

// Examine says what the stream and the servers guarantee, and what [Store.Doctor] would find, also
// where [Open] refuses them.
func Examine(ctx context.Context, cfg Config) (once.Guarantees, []string, error) {
	s, err := reach(ctx, cfg)
	if err != nil {
		return once.Guarantees{}, nil, err
	}
	defer s.Close()
	return s.examine(ctx)
}

func (s *Store) examine(ctx context.Context) (once.Guarantees, []string, error) {
	d, err := s.describe(ctx)
	if err != nil {
		return once.Guarantees{}, nil, err
	}
	all := askServers(ctx, s.cfg.Monitor)
	findings := d.findings(s.target)
	if _, note := all.durable(d); note != "" {
		findings = append(findings, note)
	}
	if len(d.check(s.target)) == 0 { // otherwise nothing may answer
		if err := s.probe(ctx); err != nil {
			findings = append(findings, sentence(err))
		}
	}
	return guarantees(d, all), findings, nil
}

func sentence(err error) string {
	text := strings.TrimPrefix(err.Error(), "oncenats: ")
	return strings.ToUpper(text[:1]) + text[1:] + "."
}

func (d stream) findings(t Target) []string {
	var list []string
	report := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	for _, err := range d.check(t) {
		report("%s", sentence(err))
	}
	c := d.Config
	if c.Storage == jetstream.MemoryStorage {
		report("The stream is in memory only (storage memory); make one with storage file.")
	}
	if d.async() {
		report(asyncNote)
	}
	if n := d.replicas(); n%2 == 0 {
		report("%d servers keep the stream, which survives no more than %d would; set replicas to %d.", n, n-1, n+1)
	} else if n == 1 && d.Cluster != nil && d.Cluster.Name != "" {
		report("One server of the cluster keeps the stream, and nothing takes over if it fails; set replicas to 3.")
	}
	if d.Cluster != nil {
		for _, r := range d.Cluster.Replicas {
			if r.Offline || !r.Current {
				report("Server %s does not follow the stream's leader; see that it runs and is connected.", r.Name)
			}
		}
	}
	if most := c.MaxBytes; most > 0 && d.State.Bytes > uint64(most)*9/10 {
		report("The stream has %d of its %d bytes (max_bytes); raise that, or shorten the retention.", d.State.Bytes, most)
	}
	if most := c.MaxMsgs; most > 0 && d.State.Msgs > uint64(most)*9/10 {
		report("The stream has %d of its %d messages (max_msgs); raise that, or shorten the retention.", d.State.Msgs, most)
	}
	return list
}
