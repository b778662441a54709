package onceetcd

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// A cluster is what could be learned of the servers.
type cluster struct {
	members []member // those of the DSN
	voters  int      // all that there are; 0: not known
	alarms  []etcdserverpb.AlarmType
}

// A member is a server, or what went wrong when it was asked.
type member struct {
	addr         string
	endpoint     string
	err          error
	version      string
	leader       bool // it knows of one
	learner      bool
	size, quota  int64 // of the database in bytes; a quota of 0 is not known
	used         int64
	syncs        syncing
	minor, major int
}

// inspect asks each server. It is an error if none of them answers.
func inspect(ctx context.Context, client *clientv3.Client, t Target, cfg Config) (cluster, error) {
	ctx, cancel := context.WithTimeout(ctx, cfg.Timeout)
	defer cancel()
	c := cluster{members: make([]member, len(t.Addrs))}
	var wg sync.WaitGroup
	for i, endpoint := range client.Endpoints() {
		wg.Go(func() { c.members[i] = ask(ctx, client, t.Addrs[i], endpoint) })
	}
	wg.Wait()
	var errs []error
	for _, m := range c.members {
		errs = append(errs, m.err)
	}
	if answers := len(c.answered()); answers == 0 {
		err := errors.Join(errs...)
		return c, fmt.Errorf("onceetcd: cannot connect to %s: %w%s", t, err, advice(errs[0]))
	}
	// The rest is good to know and no more. A user may not be allowed to ask.
	if list, err := client.MemberList(ctx); err == nil {
		for _, m := range list.Members {
			if !m.IsLearner {
				c.voters++
			}
		}
	}
	if list, err := client.AlarmList(ctx); err == nil {
		for _, a := range list.Alarms {
			c.alarms = append(c.alarms, a.Alarm)
		}
	}
	c.findSyncs(ctx, client, cfg)
	return c, nil
}

// ask asks one server.
func ask(ctx context.Context, client *clientv3.Client, addr, endpoint string) member {
	m := member{addr: addr, endpoint: endpoint}
	status, err := client.Status(ctx, endpoint)
	if err != nil {
		m.err = err
		return m
	}
	m.setVersion(status.Version)
	m.leader, m.learner = status.Leader != 0, status.IsLearner
	m.size, m.used, m.quota = status.DbSize, status.DbSizeInUse, status.DbSizeQuota
	return m
}

// setVersion leaves the numbers at zero if the version has not the form of one.
func (m *member) setVersion(version string) {
	m.version = version
	fmt.Sscanf(version, "%d.%d", &m.major, &m.minor)
}

// answered returns the members that have answered.
func (c cluster) answered() []member {
	var list []member
	for _, m := range c.members {
		if m.err == nil {
			list = append(list, m)
		}
	}
	return list
}

// check reports why records cannot be kept.
func (c cluster) check() error {
	var errs []error
	leader := false
	for _, m := range c.answered() {
		if m.major < 3 || m.major == 3 && m.minor < 4 {
			errs = append(errs, fmt.Errorf("onceetcd: server %s is version %s; use 3.4 or newer", m.addr, m.version))
		}
		if m.learner {
			errs = append(errs, fmt.Errorf("onceetcd: server %s is a learner, which answers no requests; "+
				"leave it out of the DSN, or promote it", m.addr))
		}
		leader = leader || m.leader
	}
	if !leader {
		errs = append(errs, errors.New("onceetcd: the cluster has no leader; see that most of its members run "+
			"and reach each other"))
	}
	return errors.Join(errs...)
}

// mayWrite checks that the cluster answers, and that the user may read and write the prefix. The
// condition is never met, so that nothing is written, but rights are checked before it is.
func mayWrite(ctx context.Context, client *clientv3.Client, cfg Config) error {
	ctx, cancel := context.WithTimeout(ctx, cfg.Timeout)
	defer cancel()
	end := clientv3.GetPrefixRangeEnd(cfg.Prefix)
	_, err := client.Txn(ctx).
		If(clientv3.Compare(clientv3.Version(cfg.Prefix), "<", 0)).
		Then(clientv3.OpPut(cfg.Prefix, ""), clientv3.OpDelete(cfg.Prefix+"\x00", clientv3.WithRange(end))).
		Else(clientv3.OpGet(cfg.Prefix, clientv3.WithRange(end), clientv3.WithLimit(1), clientv3.WithKeysOnly())).
		Commit()
	if err != nil && !isNoSpace(err) {
		return fmt.Errorf("onceetcd: cannot read and write keys with the prefix %q: %w%s", cfg.Prefix, err, advice(err))
	}
	return nil
}
