package oncenats_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oncehq/once"
	"github.com/oncehq/once/store/oncenats"
)

// stream returns a client of JetStream.
func stream(t testing.TB, n *natsServer) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(n.ClientURL())
	ok(t, err)
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	ok(t, err)
	return js
}

func TestOutcomesThatAreTooLargeAreRefusedUpFront(t *testing.T) {
	t.Parallel()
	n := startMigrated(t)
	longest := once.Key{Scope: strings.Repeat("\xff", once.MaxScope), ID: strings.Repeat("\xff", once.MaxID)}
	for _, cfg := range []oncenats.Config{{DSN: n.dsn()}, {DSN: n.dsn(), MaxOutcome: 1000}} {
		s := open(t, cfg)
		most := s.MaxOutcome(longest)
		if cfg.MaxOutcome > 0 && most != cfg.MaxOutcome {
			t.Errorf("the largest outcome has %d bytes, want %d", most, cfg.MaxOutcome)
		}
		c := claimOn(longest)
		wins(t, s, c)
		for _, out := range []once.Outcome{
			{Data: make([]byte, most+1)},
			{Type: string(make([]byte, 256))},
		} {
			if err := s.Complete(t.Context(), c.Key, c.Owner, out, time.Hour); !errors.Is(err, once.ErrTooLarge) {
				t.Errorf("got error %v, want ErrTooLarge", err)
			}
		}
		largest := once.Outcome{Type: string(bytes.Repeat([]byte{0xff}, 255)), Data: make([]byte, most)}
		ok(t, s.Complete(t.Context(), c.Key, c.Owner, largest, time.Hour))
		if rec, err := s.Load(t.Context(), longest); err != nil || !rec.Outcome.Equal(largest) {
			t.Errorf("load: got %v, error %v", rec.State, err)
		}
		ok(t, s.Forget(t.Context(), longest, c.Owner))
	}
}

// In a cluster the answer to a question goes through another server than the one that has the
// record, and is larger than what clients may send.
func TestLargestOutcomeIsReadThroughEveryServer(t *testing.T) {
	t.Parallel()
	all := startCluster(t, 3)
	s := open(t, oncenats.Config{DSN: clusterDSN(all)})
	c := newClaim()
	wins(t, s, c)
	largest := once.Outcome{Data: bytes.Repeat([]byte("x"), s.MaxOutcome(c.Key))}
	ok(t, s.Complete(t.Context(), c.Key, c.Owner, largest, time.Hour))
	for _, n := range all {
		rec, err := open(t, oncenats.Config{DSN: n.dsn()}).Load(t.Context(), c.Key)
		if err != nil || !rec.Outcome.Equal(largest) {
			t.Errorf("through %s: got %v, error %v", n.Name(), rec.State, err)
		}
	}
}

// What is over goes away by itself: done records, released claims, and under Rerun records in doubt.
func TestTheServerRemovesWhatIsOver(t *testing.T) {
	t.Parallel()
	n := startMigrated(t)
	s := open(t, oncenats.Config{DSN: n.dsn()})
	keep, short, released, forgotten := newClaim(), newClaim(), newClaim(), newClaim()
	forgotten.Lease, forgotten.Forget = time.Second, time.Second
	for _, c := range []once.Claim{keep, short, released, forgotten} {
		wins(t, s, c)
	}
	ok(t, s.Complete(t.Context(), short.Key, short.Owner, result, time.Second))
	ok(t, s.Release(t.Context(), released.Key, released.Owner))
	ok(t, s.Renew(t.Context(), keep.Key, keep.Owner, 0)) // in doubt, and never forgotten
	js := stream(t, n)
	eventually(t, "one message is left", func() bool {
		info, err := js.Stream(t.Context(), oncenats.DefaultStream)
		return err == nil && info.CachedInfo().State.Msgs == 1
	})
	if rec, err := s.Load(t.Context(), keep.Key); err != nil || rec.State != once.InDoubt {
		t.Errorf("the claim that is kept: got %v, error %v", rec.State, err)
	}
}

func TestDamagedRecordsAreUnreadable(t *testing.T) {
	t.Parallel()
	n := startMigrated(t)
	s := open(t, oncenats.Config{DSN: n.dsn()})
	js := stream(t, n)
	for i, header := range []string{
		"", "!", "X", "C", "C" + strings.Repeat("\x00", 16), "D" + strings.Repeat("\xff", 200),
		"C" + strings.Repeat("\x00", 22) + "\x01a\x01b", // another key's
	} {
		c := claimOn(once.Key{Scope: "test", ID: fmt.Sprint(i)})
		m := nats.NewMsg(subject(c.Key))
		m.Header.Set("Once-Record", base64.RawURLEncoding.EncodeToString([]byte(header)))
		if header == "!" {
			m.Header.Set("Once-Record", header)
		}
		ok(t, second(js.PublishMsg(t.Context(), m)))
		for verb, err := range map[string]error{
			"claim": second(s.Claim(t.Context(), c)),
			"load":  second(s.Load(t.Context(), c.Key)),
		} {
			if !errors.Is(err, once.ErrUnreadable) {
				t.Errorf("%s of %q: got error %v, want ErrUnreadable", verb, header, err)
			}
		}
	}
}

// subject is where the record of the key is, as the package's documentation says.
func subject(k once.Key) string {
	scope, key := once.FingerprintOf([]byte(k.Scope)), k.Digest()
	return "once.ONCE." + base64.RawURLEncoding.EncodeToString(scope[:6]) + "." + base64.RawURLEncoding.EncodeToString(key[:])
}

func TestGuaranteesFollowTheSettings(t *testing.T) {
	t.Parallel()
	monitored := func(o *server.Options) { o.HTTPHost, o.HTTPPort = "127.0.0.1", server.RANDOM_PORT }
	always := func(o *server.Options) { o.SyncAlways = true }
	memory := func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage }
	async := func(c *jetstream.StreamConfig) { c.PersistMode = jetstream.AsyncPersistMode }
	for _, c := range []struct {
		name     string
		options  []func(*server.Options)
		monitor  bool
		change   func(*jetstream.StreamConfig)
		weakness string
		finding  string
	}{
		{"not known", []func(*server.Options){always}, false, nil, "a loss of power", "It is not known"},
		{"default", []func(*server.Options){monitored}, true, nil, "a loss of power", "every 2m0s"},
		{"always", []func(*server.Options){monitored, always}, true, nil, "", ""},
		{"memory", []func(*server.Options){monitored, always}, true, memory, "the end of the store's process", "storage memory"},
		{"async", []func(*server.Options){monitored}, true, async, "the end of the store's process", "persist_mode async"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			n := startServer(t, c.options...)
			cfg := oncenats.Config{DSN: n.dsn()}
			if c.monitor {
				cfg.DSN += "?monitor=http://" + n.MonitorAddr().String()
			}
			if c.change != nil {
				config := schema(t, cfg.DSN)
				c.change(&config)
				ok(t, second(stream(t, n).CreateStream(t.Context(), config)))
			} else {
				migrate(t, cfg)
			}
			s := open(t, cfg)
			if got := s.Guarantees().Weakness(); got != c.weakness {
				t.Errorf("the weakness is %q, want %q", got, c.weakness)
			}
			findings, err := s.Doctor(t.Context())
			if err != nil || c.finding == "" && len(findings) > 0 || !strings.Contains(strings.Join(findings, " "), c.finding) {
				t.Errorf("findings %q, error %v", findings, err)
			}
			if _, err := once.New(once.Config{Store: s, InDoubt: once.Hold}); (err == nil) != (c.weakness == "") {
				t.Errorf("a guard with the policy Hold: error %v", err)
			}
		})
	}
}

// What another server says of itself proves nothing.
func TestMonitoringOfAnotherServerIsNotBelieved(t *testing.T) {
	t.Parallel()
	always := func(o *server.Options) { o.HTTPHost, o.HTTPPort, o.SyncAlways = "127.0.0.1", server.RANDOM_PORT, true }
	n, other := startMigrated(t), startServer(t, always)
	s := open(t, oncenats.Config{DSN: n.dsn() + "?monitor=http://" + other.MonitorAddr().String()})
	if g := s.Guarantees(); g.Power != once.Lost {
		t.Errorf("got %+v", g)
	}
}

func TestGuaranteesOfACluster(t *testing.T) {
	t.Parallel()
	all := startCluster(t, 3, func(o *server.Options) {
		o.HTTPHost, o.HTTPPort, o.SyncAlways = "127.0.0.1", server.RANDOM_PORT, true
	})
	var monitors []string
	for _, n := range all {
		monitors = append(monitors, "http://"+n.MonitorAddr().String())
	}
	s := open(t, oncenats.Config{DSN: clusterDSN(all), Monitor: monitors})
	if g := s.Guarantees(); g.Weakness() != "" || g.Failover != once.Survives {
		t.Errorf("got %+v", g)
	}
	s = open(t, oncenats.Config{DSN: clusterDSN(all), Monitor: monitors[:2]})
	g := s.Guarantees()
	if g.Power != once.Lost || !slices.ContainsFunc(g.Notes, func(n string) bool { return strings.Contains(n, "Server n2") }) {
		t.Errorf("one server was not asked: got %+v", g)
	}
	info, err := stream(t, all[0]).Stream(t.Context(), oncenats.DefaultStream)
	ok(t, err)
	for _, n := range all {
		if n.Name() != info.CachedInfo().Cluster.Leader {
			n.stop()
			break
		}
	}
	eventually(t, "the doctor misses a server", func() bool {
		findings, err := s.Doctor(t.Context())
		return err == nil && slices.ContainsFunc(findings, func(f string) bool { return strings.Contains(f, "does not follow") })
	})
}
