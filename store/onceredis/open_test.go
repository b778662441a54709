package onceredis_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/store/onceredis"
)

func TestOpenRefusesServersThatAreNotFit(t *testing.T) {
	t.Parallel()
	master := servers.Redis(t)
	down := servers.Redis(t)
	down.Kill()
	for name, c := range map[string]struct{ dsn, want string }{
		"is not there": {dsn(down), "is the server running"},
		"is a replica": {
			dsn(servers.Redis(t, "replicaof "+strings.Replace(master.Addr, ":", " ", 1))), "read-only replica; connect to its master",
		},
		"evicts":               {dsn(servers.Redis(t, "maxmemory-policy volatile-lru")), "set maxmemory-policy to noeviction"},
		"is in a cluster":      {dsn(servers.Redis(t, "cluster-enabled yes")), "write redis+cluster://"},
		"is no cluster":        {"redis+cluster://" + master.Addr, "write redis://"},
		"is no sentinel":       {"redis+sentinel://" + master.Addr + "/once", "cannot connect"},
		"wants a password":     {dsn(servers.Redis(t, "requirepass secret")), "put the password into the DSN"},
		"wants another one":    {"redis://:wrong-s3cret@" + servers.Redis(t, "requirepass secret").Addr, "password in the DSN is wrong"},
		"has no such database": {dsn(master) + "/999", "cannot connect"},
	} {
		s, err := onceredis.Open(t.Context(), onceredis.Config{DSN: c.dsn})
		if err == nil {
			s.Close()
			t.Errorf("a server that %s: opened", name)
		} else if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("a server that %s: got error %q, want %q in it", name, err, c.want)
		}
	}
}

func TestExamineLooksAlsoAtServersThatOpenRefuses(t *testing.T) {
	t.Parallel()
	r := servers.Redis(t, "maxmemory-policy volatile-lru", "appendfsync always")
	g, findings, err := onceredis.Examine(t.Context(), onceredis.Config{DSN: dsn(r)})
	if err != nil || g.Power != once.Survives || !strings.Contains(strings.Join(findings, "\n"), "set maxmemory-policy to noeviction") {
		t.Errorf("got %+v, findings %q, error %v", g, findings, err)
	}
	if _, _, err := onceredis.Examine(t.Context(), onceredis.Config{DSN: "redis://" + r.Addr + "/999"}); err == nil {
		t.Error("a database that is not there was examined")
	}
}

func TestOpenDoesNotWaitBeyondTheContext(t *testing.T) {
	t.Parallel()
	r := servers.Redis(t)
	r.Pause()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := onceredis.Open(ctx, onceredis.Config{DSN: dsn(r), DialTimeout: time.Hour})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got error %v, want the context's", err)
	}
}

func TestOpenReportsEveryProblemOfTheConfig(t *testing.T) {
	t.Parallel()
	_, err := onceredis.Open(t.Context(), onceredis.Config{
		Prefix: "{}", MinReplicas: -1, MaxOutcome: -1, MaxConns: -1,
		MinReplicasTimeout: -1, MaxFlushDelay: -1, DialTimeout: -1, Timeout: -1,
	})
	if err == nil {
		t.Fatal("opened")
	}
	for _, want := range []string{
		"DSN", "Prefix", "MinReplicas is", "MaxOutcome", "MaxConns", "MinReplicasTimeout", "MaxFlushDelay", "DialTimeout", " Timeout",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in the error %q", want, err)
		}
	}
}

func TestVersionsBefore62AreRefused(t *testing.T) {
	t.Parallel()
	for info, fit := range map[string]bool{
		"redis_version:6.0.16": false,
		"redis_version:6.1.9":  false,
		"redis_version:5.0.14": false,
		"redis_version:6.2.0":  true,
		"redis_version:7.0.15": true,
		"redis_version:8.0.2":  true,
		"redis_version:10.0.0": true,
		"server_name:valkey\r\nredis_version:7.2.4\r\nvalkey_version:8.1.1": true,
	} {
		err := onceredis.CheckVersion(info)
		if fit != (err == nil) || !fit && !strings.Contains(err.Error(), "6.2 or newer") {
			t.Errorf("%q: got error %v", info, err)
		}
	}
}

func TestTLSAndUser(t *testing.T) {
	t.Parallel()
	r := servers.RedisTLS(t, "user once on >p@ss/w0rd ~* &* +@all")
	const user = "once:p%40ss%2Fw0rd@"
	s := open(t, onceredis.Config{DSN: "rediss://" + user + r.TLSAddr + "?tls_ca=" + r.CA})
	wins(t, s, newClaim())
	if _, err := onceredis.Open(t.Context(), onceredis.Config{DSN: "rediss://" + user + r.TLSAddr}); err == nil {
		t.Error("a certificate of an unknown authority was accepted")
	}
	if _, err := onceredis.Open(t.Context(), onceredis.Config{DSN: "redis://" + user + r.TLSAddr}); err == nil {
		t.Error("connected without TLS to a port that has it")
	}
}

// The rights that the package documentation names are enough.
func TestRightsOfADedicatedUserAreEnough(t *testing.T) {
	t.Parallel()
	r := servers.Redis(t, "user default on nopass ~* &* +@all",
		"user once on >secret ~once{}:* &once{}:* -@all +evalsha +eval +getex +set +del +setrange +pttl +time "+
			"+publish +spublish +subscribe +ssubscribe +unsubscribe +sunsubscribe +ping +hello +client +info "+
			"+scan +getrange +config|get +wait +cluster")
	s := open(t, onceredis.Config{DSN: "redis://once:secret@" + r.Addr})
	warm(t, s)
	c := newClaim()
	wins(t, s, c)
	ended := waiting(t, r, s, c)
	ok(t, s.Complete(t.Context(), c.Key, c.Owner, result, time.Hour))
	ok(t, <-ended)
	for _, err := range s.List(t.Context(), listAll) {
		ok(t, err)
	}
	findings, err := s.Doctor(t.Context())
	ok(t, err)
	if strings.Contains(strings.Join(findings, "\n"), "CONFIG GET is refused") {
		t.Errorf("the doctor could not see the settings: %q", findings)
	}
}
