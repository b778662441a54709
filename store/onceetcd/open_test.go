package onceetcd_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/store/onceetcd"
	clientv3 "go.etcd.io/etcd/client/v3"
)

func TestOpenRefusesServersThatAreNotFit(t *testing.T) {
	t.Parallel()
	down := servers.Etcd(t, etcd)
	down.Kill()
	secured := servers.EtcdTLS(t, etcd)
	lonely := servers.EtcdCluster(t, etcd)
	lonely[1].Kill()
	lonely[2].Kill()
	var wg sync.WaitGroup
	defer wg.Wait()
	for name, c := range map[string]struct{ dsn, want string }{
		"is not there":        {dsn(down), "is the server running there"},
		"has lost the others": {dsn(lonely[0]), "has the cluster a leader"},
		"wants TLS":           {"etcd://" + secured.TLSAddr, "with the same TLS"},
		"has no TLS":          {"etcds://" + secured.Addr, "with the same TLS"},
		"is of an unknown CA": {"etcds://" + secured.TLSAddr, "certificate"},
		"is not etcd":         {"etcd://" + silent(t), "is the server running there"},
	} {
		wg.Go(func() {
			s, err := onceetcd.Open(t.Context(), onceetcd.Config{DSN: c.dsn, Timeout: 3 * time.Second})
			if err == nil {
				s.Close()
				t.Errorf("a server that %s: opened", name)
			} else if !strings.Contains(err.Error(), c.want) {
				t.Errorf("a server that %s: got error %q, want %q in it", name, err, c.want)
			}
		})
	}
	s := open(t, onceetcd.Config{DSN: "etcds://" + secured.TLSAddr + "/shop?tls_ca=" + secured.CA})
	wins(t, s, newClaim())
}

// silent returns the address of a server that takes connections and says nothing.
func silent(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ok(t, err)
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

func TestOpenDoesNotWaitBeyondTheContext(t *testing.T) {
	t.Parallel()
	e := servers.Etcd(t, etcd)
	e.Pause()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	for _, user := range []string{"", "user:password@"} {
		_, err := onceetcd.Open(ctx, onceetcd.Config{DSN: "etcd://" + user + e.Addr, DialTimeout: time.Hour, Timeout: time.Hour})
		if err == nil || t.Context().Err() != nil {
			t.Errorf("got error %v, want the context's", err)
		}
	}
}

func TestOpenReportsEveryProblemOfTheConfig(t *testing.T) {
	t.Parallel()
	_, err := onceetcd.Open(t.Context(), onceetcd.Config{MaxOutcome: -1, DialTimeout: -1, Timeout: -1})
	if err == nil {
		t.Fatal("opened")
	}
	for _, want := range []string{"DSN", "MaxOutcome", "DialTimeout", " Timeout"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in the error %q", want, err)
		}
	}
}

// With authentication the rights that the package documentation names are enough, and less is not.
func TestRightsOfADedicatedUserAreEnough(t *testing.T) {
	t.Parallel()
	e := servers.Etcd(t, etcd, "--bcrypt-cost=4") // the least: passwords are checked often
	secure(t, raw(t, e))
	s := open(t, onceetcd.Config{DSN: "etcd://app:p%40ss@" + e.Addr + "/shop"})
	c, done := newClaim(), newClaim()
	c.Forget = time.Hour
	for _, c := range []once.Claim{c, done} {
		wins(t, s, c)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Wait(t.Context(), c.Key, c.Owner) }()
	ok(t, s.Renew(t.Context(), c.Key, c.Owner, 2*time.Hour))
	ok(t, s.Complete(t.Context(), done.Key, done.Owner, result, time.Hour))
	ok(t, s.Release(t.Context(), c.Key, c.Owner))
	ok(t, <-ended)
	ok(t, second(s.Load(t.Context(), done.Key)))
	for _, err := range s.List(t.Context(), once.Filter{}) {
		ok(t, err)
	}
	ok(t, s.Forget(t.Context(), done.Key, done.Owner))
	if findings, err := s.Doctor(t.Context()); err != nil || strings.Contains(strings.Join(findings, " "), "denied") {
		t.Errorf("the doctor finds %q, error %v", findings, err)
	}
	for name, c := range map[string]struct{ dsn, want string }{
		"nobody":         {"etcd://" + e.Addr + "/shop", "put user and password into the DSN"},
		"a wrong secret": {"etcd://app:s3cret@" + e.Addr + "/shop", "user or password in the DSN is wrong"},
		"other keys":     {"etcd://app:p%40ss@" + e.Addr + "/other", "may read and write the prefix"},
		"only reading":   {"etcd://reader:p%40ss@" + e.Addr + "/shop", "may read and write the prefix"},
	} {
		s, err := onceetcd.Open(t.Context(), onceetcd.Config{DSN: c.dsn, Timeout: 30 * time.Second})
		if err == nil {
			s.Close()
			t.Errorf("%s: opened", name)
		} else if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: got error %q, want %q in it", name, err, c.want)
		}
	}
}

// secure makes two users beside root, and turns authentication on.
func secure(t *testing.T, client *clientv3.Client) {
	t.Helper()
	ctx, end := t.Context(), clientv3.GetPrefixRangeEnd("shop/")
	for role, rights := range map[string]clientv3.PermissionType{
		"app": clientv3.PermissionType(clientv3.PermReadWrite), "reader": clientv3.PermissionType(clientv3.PermRead), "root": -1,
	} {
		ok(t, second(client.UserAdd(ctx, role, "p@ss")))
		ok(t, second(client.RoleAdd(ctx, role)))
		if rights >= 0 {
			ok(t, second(client.RoleGrantPermission(ctx, role, "shop/", end, rights)))
		}
		ok(t, second(client.UserGrantRole(ctx, role, role)))
	}
	ok(t, second(client.AuthEnable(ctx)))
}

func TestVersionsBefore34AreRefused(t *testing.T) {
	t.Parallel()
	for version, fit := range map[string]bool{
		"2.3.8": false, "3.3.27": false, "3.4.0": true, "3.5.21": true, "3.7.3": true, "4.0.0": true, "": false, "x": false,
	} {
		err := onceetcd.CheckVersion(version)
		if fit != (err == nil) || !fit && !strings.Contains(err.Error(), "3.4 or newer") {
			t.Errorf("%q: got error %v", version, err)
		}
	}
}

func TestOutcomesThatAreTooLargeAreRefused(t *testing.T) {
	t.Parallel()
	e := servers.Etcd(t, etcd)
	for _, most := range []int{0, 8 << 20} {
		s := open(t, onceetcd.Config{DSN: dsn(e), MaxOutcome: most})
		c := newClaim()
		wins(t, s, c)
		for _, out := range []once.Outcome{
			{Data: make([]byte, 7<<20)}, // above the client's limit, or the server's 1.5 MiB
			{Type: strings.Repeat("x", 256)},
		} {
			if err := s.Complete(t.Context(), c.Key, c.Owner, out, time.Hour); !errors.Is(err, once.ErrTooLarge) {
				t.Errorf("got error %v, want ErrTooLarge", err)
			}
		}
		ok(t, s.Complete(t.Context(), c.Key, c.Owner, once.Outcome{Data: make([]byte, 1<<20)}, time.Hour))
	}
}
