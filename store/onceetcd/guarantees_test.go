package onceetcd_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/store/onceetcd"
	clientv3 "go.etcd.io/etcd/client/v3"
)

func TestGuaranteesAndFindingsFollowTheCluster(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		members         []*servers.EtcdServer
		power, failover once.Survival
		finding         string
	}{
		"one member":    {[]*servers.EtcdServer{servers.Etcd(t, etcd)}, once.Survives, once.NotApplicable, "has one member"},
		"three members": {servers.EtcdCluster(t, etcd), once.Survives, once.Survives, ""},
		"without sync": {[]*servers.EtcdServer{servers.Etcd(t, etcd, "--unsafe-no-fsync")},
			once.Lost, once.NotApplicable, "start it without --unsafe-no-fsync"},
	} {
		s := open(t, onceetcd.Config{DSN: dsn(tt.members...)})
		g := s.Guarantees()
		if g.Crash != once.Survives || g.Power != tt.power || g.Failover != tt.failover || !g.Shared ||
			!strings.HasPrefix(g.Store, "etcd 3.") {
			t.Errorf("%s: got %+v", name, g)
		}
		_, err := once.New(once.Config{Store: s, InDoubt: once.Hold})
		if trusted := tt.power == once.Survives; trusted != (err == nil) {
			t.Errorf("%s: a guard with the policy Hold: got error %v", name, err)
		}
		findings, err := s.Doctor(t.Context())
		ok(t, err)
		if all := strings.Join(findings, "\n"); tt.finding == "" && all != "" || !strings.Contains(all, tt.finding) {
			t.Errorf("%s: the doctor says %q", name, findings)
		}
	}
}

// A server that does not sync its log syncs each of its files once all the same, every 64 MiB.
func TestManySyncsOfFilesAreNotSyncsOfTheLog(t *testing.T) {
	if *records <= fewRecords {
		t.Skip("writes a gigabyte: go test -run SyncsOfFiles . -args -records 10000")
	}
	e := servers.Etcd(t, etcd, "--unsafe-no-fsync", "--quota-backend-bytes=8589934592")
	client := raw(t, e)
	ballast := strings.Repeat("x", 1<<20)
	for range 1000 {
		ok(t, second(client.Put(t.Context(), "ballast", ballast)))
	}
	if g := open(t, onceetcd.Config{DSN: dsn(e)}).Guarantees(); g.Power != once.Lost {
		t.Errorf("with --unsafe-no-fsync: got %+v", g)
	}
}

func TestDoctorFindsMembersThatAreDown(t *testing.T) {
	t.Parallel()
	members := servers.EtcdCluster(t, etcd)
	s := open(t, onceetcd.Config{DSN: dsn(members...)})
	one := open(t, onceetcd.Config{DSN: dsn(members[0])})
	members[2].Kill()
	for _, tt := range []struct {
		s    *onceetcd.Store
		want string
	}{
		{s, "Server " + members[2].Addr + " does not answer"},
		{one, "names one of 3 members"},
	} {
		findings, err := tt.s.Doctor(t.Context())
		if err != nil || !strings.Contains(strings.Join(findings, "\n"), tt.want) {
			t.Errorf("got %q, error %v, want %q in it", findings, err, tt.want)
		}
	}
	members[0].Kill()
	if findings, err := one.Doctor(t.Context()); err == nil {
		t.Errorf("of a server that is gone: got %q", findings)
	}
}

// When the quota is used up nothing is claimed any more, but replays and releases go on.
func TestQuotaThatIsUsedUp(t *testing.T) {
	t.Parallel()
	e := servers.Etcd(t, etcd, fmt.Sprintf("--quota-backend-bytes=%d", 4<<20))
	s, client := open(t, onceetcd.Config{DSN: dsn(e)}), raw(t, e)
	done, flying := newClaim(), newClaim()
	for _, c := range []once.Claim{done, flying} {
		wins(t, s, c)
	}
	ok(t, s.Complete(t.Context(), done.Key, done.Owner, result, time.Hour))
	var err error
	for i := 0; err == nil && i < 100; i++ {
		_, err = client.Put(t.Context(), fmt.Sprint("ballast-", i), strings.Repeat("x", 512<<10))
	}
	rec, err := s.Claim(t.Context(), newClaim())
	if !errors.Is(err, once.ErrFull) || !strings.Contains(err.Error(), "used up its quota") {
		t.Errorf("claim: got the record %v, error %v, want ErrFull", rec.State, err)
	}
	if res := s.ClaimBatch(t.Context(), []once.Claim{newClaim(), claimOn(done.Key)}); !errors.Is(res[0].Err, once.ErrFull) ||
		res[1].Err != nil || res[1].Record.State != once.Done {
		t.Errorf("claims in a batch: got %v", res)
	}
	if rec, err := s.Claim(t.Context(), claimOn(done.Key)); err != nil || !bytes.Equal(rec.Outcome.Data, result.Data) {
		t.Errorf("replay: got %q, error %v", rec.Outcome.Data, err)
	}
	other := claimOn(done.Key)
	other.Fingerprint = once.Fingerprint{1}
	if _, err := s.Claim(t.Context(), other); !errors.Is(err, once.ErrMismatch) {
		t.Errorf("claim with another fingerprint: got error %v", err)
	}
	if err := s.Complete(t.Context(), flying.Key, flying.Owner, result, time.Hour); err == nil ||
		errors.Is(err, once.ErrFull) || errors.Is(err, once.ErrLost) || !strings.Contains(err.Error(), "etcdctl alarm disarm") {
		t.Errorf("complete: got error %v, want one that lets it be repeated", err)
	}
	_, findings, err := onceetcd.Examine(t.Context(), onceetcd.Config{DSN: dsn(e)})
	if all := strings.Join(findings, "\n"); err != nil || !strings.Contains(all, "has used up its quota") ||
		!strings.Contains(all, "of a quota of 4 MiB") {
		t.Errorf("the doctor says %q, error %v", findings, err)
	}
	ok(t, s.Release(t.Context(), flying.Key, flying.Owner))
	makeRoom(t, client, e)
	wins(t, s, newClaim())
}

// makeRoom does what an operator has to do.
func makeRoom(t *testing.T, client *clientv3.Client, e *servers.EtcdServer) {
	t.Helper()
	ctx := t.Context()
	r, err := client.Delete(ctx, "ballast", clientv3.WithPrefix())
	ok(t, err)
	ok(t, second(client.Compact(ctx, r.Header.Revision, clientv3.WithCompactPhysical())))
	ok(t, second(client.Defragment(ctx, "http://"+e.Addr)))
	ok(t, second(client.AlarmDisarm(ctx, &clientv3.AlarmMember{})))
}

func TestDoctorFindsHistoryThatIsNeverCompacted(t *testing.T) {
	t.Parallel()
	e := servers.Etcd(t, etcd, "--unsafe-no-fsync")
	client := raw(t, e)
	s := open(t, onceetcd.Config{DSN: dsn(e)})
	finds := func() bool {
		found, err := s.KeepsHistory(t.Context(), 50)
		ok(t, err)
		return found
	}
	if finds() {
		t.Error("found in a new cluster")
	}
	for range 60 {
		ok(t, second(client.Put(t.Context(), "x", "y")))
	}
	if !finds() {
		t.Error("not found after 60 revisions")
	}
	ok(t, second(client.Compact(t.Context(), 30)))
	if finds() {
		t.Error("found after it was compacted")
	}
}
