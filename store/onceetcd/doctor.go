package onceetcd

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/oncehq/once"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// muchHistory is how many revisions are suspicious if none was ever compacted.
const muchHistory = 100_000

// Doctor asks the servers anew, and returns what is dangerous about them: a sentence each, with
// the way out. The error says that they could not be asked.
func (s *Store) Doctor(ctx context.Context) ([]string, error) {
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	_, findings, err := examine(ctx, s.client, s.target, s.cfg)
	return findings, err
}

// Examine says what the cluster guarantees, and what [Store.Doctor] would find, also where [Open]
// refuses it.
func Examine(ctx context.Context, cfg Config) (once.Guarantees, []string, error) {
	client, target, cfg, err := reach(ctx, cfg)
	if err != nil {
		return once.Guarantees{}, nil, err
	}
	defer client.Close()
	return examine(ctx, client, target, cfg)
}

func examine(
	ctx context.Context, client *clientv3.Client, t Target, cfg Config,
) (once.Guarantees, []string, error) {
	c, err := inspect(ctx, client, t, cfg)
	if err != nil {
		return once.Guarantees{}, nil, err
	}
	findings := c.findings()
	report := func(err error) {
		for _, err := range split(err) {
			findings = append(findings, sentence(err))
		}
	}
	report(c.check())
	report(mayWrite(ctx, client, cfg))
	uncompacted, err := keepsHistory(ctx, client, cfg, muchHistory)
	if err == nil && uncompacted {
		findings = append(findings, fmt.Sprintf("Nothing was compacted in %d revisions, so that the quota will be used "+
			"up; set --auto-compaction-retention, to 10m for example.", muchHistory))
	}
	return c.guarantees(), findings, nil
}

// keepsHistory reports whether the store has come that far and still has its first revisions.
func keepsHistory(ctx context.Context, client *clientv3.Client, cfg Config, many int64) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, cfg.Timeout)
	defer cancel()
	now, err := client.Get(ctx, cfg.Prefix, clientv3.WithKeysOnly())
	if err != nil || now.Header.Revision < many {
		return false, err
	}
	_, err = client.Get(ctx, cfg.Prefix, clientv3.WithKeysOnly(), clientv3.WithRev(2))
	if errors.Is(err, rpctypes.ErrCompacted) {
		return false, nil
	}
	return err == nil, err
}

func (c cluster) findings() []string {
	var list []string
	report := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	for _, m := range c.members {
		switch {
		case m.err != nil:
			report("Server %s does not answer (%v); start it, or leave it out of the DSN.", m.addr, m.err)
			continue
		case m.syncs == syncsNo:
			report("Server %s does not sync its log to the disk: a loss of power loses what was acknowledged; "+
				"start it without --unsafe-no-fsync.", m.addr)
		}
		if m.quota > 0 && m.size > m.quota/5*4 {
			report("Server %s: the database has %d MiB of a quota of %d MiB, %d MiB of them in use; compact and "+
				"defragment it, or raise --quota-backend-bytes. When it is used up nothing can be claimed or completed.",
				m.addr, m.size>>20, m.quota>>20, m.used>>20)
		}
	}
	for _, a := range c.alarms {
		switch a {
		case etcdserverpb.AlarmType_NOSPACE:
			report("The cluster has used up its quota and takes no more writes; compact and defragment it, or raise " +
				"--quota-backend-bytes, and disarm the alarm (etcdctl alarm disarm).")
		case etcdserverpb.AlarmType_CORRUPT:
			report("A member's data differs from the others'; replace that member.")
		}
	}
	switch {
	case c.voters == 1:
		report("The cluster has one member: while that is down nothing can be claimed; use three.")
	case c.voters > 1 && c.voters%2 == 0:
		report("The cluster has %d members, of which no more may fail than of %d; add or remove one.", c.voters, c.voters-1)
	}
	if c.voters > 1 && len(c.members) == 1 {
		report("The DSN names one of %d members; name them all, so that it may fail.", c.voters)
	}
	return list
}

// sentence returns the error's text as one.
func sentence(err error) string {
	text := strings.TrimPrefix(err.Error(), "onceetcd: ")
	return strings.ToUpper(text[:1]) + text[1:] + "."
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
