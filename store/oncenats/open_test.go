package oncenats_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"
	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/store/oncenats"
)

// refuses checks that Open fails and says this.
func refuses(t *testing.T, dsn string, say ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s, err := oncenats.Open(ctx, patient(oncenats.Config{DSN: dsn}))
	if err == nil {
		s.Close()
		t.Errorf("it was opened; want an error with %q", say)
		return
	}
	for _, words := range say {
		if !strings.Contains(err.Error(), words) {
			t.Errorf("got error %v, want it to say %q", err, words)
		}
	}
	for _, secret := range []string{"hunter2"} {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("the error tells a secret: %v", err)
		}
	}
}

func TestOpenSaysWhyItCannot(t *testing.T) {
	t.Parallel()
	t.Run("nobody listens", func(t *testing.T) {
		refuses(t, "nats://127.0.0.1:1", "is the server running there")
	})
	t.Run("no JetStream", func(t *testing.T) {
		n := startServer(t, func(o *server.Options) { o.JetStream = false })
		refuses(t, n.dsn(), "JetStream is not enabled")
	})
	t.Run("no stream", func(t *testing.T) {
		refuses(t, startServer(t).dsn(), "once migrate")
	})
	t.Run("password", func(t *testing.T) {
		n := startServer(t, func(o *server.Options) { o.Username, o.Password = "app", "secret" })
		refuses(t, "nats://app:hunter2@"+n.addr(), "are missing or wrong")
		refuses(t, n.dsn(), "are missing or wrong")
	})
	t.Run("no TLS there", func(t *testing.T) {
		refuses(t, "nats+tls://"+startServer(t).addr(), "write nats in the DSN")
	})
	t.Run("the context's end", func(t *testing.T) {
		p := servers.NewProxy(t, startServer(t).addr())
		p.Pause()
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := oncenats.Open(ctx, oncenats.Config{DSN: "nats://" + p.Addr}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got error %v", err)
		}
	})
}

// A server says what version it is when it greets. This one says it is older.
func TestOpenRefusesOldServers(t *testing.T) {
	t.Parallel()
	n := startMigrated(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ok(t, err)
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		up, err := net.Dial("tcp", n.addr())
		if err != nil {
			return
		}
		defer up.Close()
		go func() {
			defer c.Close()
			buf := make([]byte, 4096)
			for n, err := c.Read(buf); err == nil; n, err = c.Read(buf) {
				up.Write(buf[:n])
			}
		}()
		buf := make([]byte, 4096)
		for n, err := up.Read(buf); err == nil; n, err = up.Read(buf) {
			c.Write([]byte(strings.Replace(string(buf[:n]), `"version":"`+server.VERSION, `"version":"2.10.29`, 1)))
		}
	}()
	refuses(t, "nats://"+l.Addr().String(), "NATS 2.10.29", "2.11 or newer")
}

func TestOpenRefusesStreamsThatCouldDropClaims(t *testing.T) {
	t.Parallel()
	n := startServer(t)
	for name, bad := range map[string]struct {
		change func(*jetstream.StreamConfig)
		say    string
	}{
		"age":       {func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour }, "max_age"},
		"discard":   {func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardOld }, "discard old"},
		"queue":     {func(c *jetstream.StreamConfig) { c.Retention = jetstream.WorkQueuePolicy }, "retention"},
		"several":   {func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 2 }, "max_msgs_per_subject"},
		"ttl":       {func(c *jetstream.StreamConfig) { c.AllowMsgTTL = false }, "allow_msg_ttl"},
		"republish": {func(c *jetstream.StreamConfig) { c.RePublish = nil }, "republish"},
		"subjects":  {func(c *jetstream.StreamConfig) { c.Subjects = []string{"once.subjects.a.>"} }, "subjects"},
		"acks":      {func(c *jetstream.StreamConfig) { c.NoAck = true }, "no_ack"},
		"markers":   {func(c *jetstream.StreamConfig) { c.SubjectDeleteMarkerTTL = time.Hour }, "subject_delete_marker_ttl"},
		"transform": {func(c *jetstream.StreamConfig) {
			c.SubjectTransform = &jetstream.SubjectTransformConfig{Source: "once.transform.*.*", Destination: "once.transform.{{wildcard(2)}}.{{wildcard(1)}}"}
		}, "subject_transform"},
	} {
		dsn := n.dsn() + "/" + name
		c := schema(t, dsn)
		bad.change(&c)
		ok(t, second(stream(t, n).CreateStream(t.Context(), c)))
		refuses(t, dsn, bad.say)
		_, findings, err := oncenats.Examine(t.Context(), patient(oncenats.Config{DSN: dsn}))
		if err != nil || !strings.Contains(strings.Join(findings, " "), bad.say) {
			t.Errorf("%s: findings %q, error %v", name, findings, err)
		}
		if name == "queue" { // the server does not let it be changed
			continue
		}
		ok(t, oncenats.Migrate(t.Context(), patient(oncenats.Config{DSN: dsn})))
		wins(t, open(t, oncenats.Config{DSN: dsn}), newClaim())
	}
}

// Servers of NATS 2.11 each check by themselves whether the last message is the one that is expected, and
// each removes what is over by itself: one that is a moment late would leave out a claim that the
// others have.
func TestReplicasNeedServersThatAgree(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		version  string
		replicas int
		fit      bool
	}{
		{"2.11.17", 1, true}, {"2.11.17", 3, false}, {"2.12.0", 3, true}, {"2.15.3", 5, true}, {"3.0.0", 3, true},
	} {
		err := errors.Join(oncenats.CheckStream(c.version, c.replicas)...)
		if (err == nil) != c.fit || err != nil && !strings.Contains(err.Error(), "2.12 or newer") {
			t.Errorf("%d servers of version %s: got error %v", c.replicas, c.version, err)
		}
	}
}

func TestMigrateMakesWhatSchemaShows(t *testing.T) {
	t.Parallel()
	n := startServer(t)
	dsn := n.dsn() + "/shop?max_bytes=1000000"
	for range 2 {
		ok(t, oncenats.Migrate(t.Context(), patient(oncenats.Config{DSN: dsn})))
	}
	s, err := stream(t, n).Stream(t.Context(), "shop")
	ok(t, err)
	got, want := s.CachedInfo().Config, schema(t, dsn)
	if got.Name != want.Name || got.MaxBytes != 1000000 || want.MaxBytes != 1000000 || got.Discard != want.Discard ||
		got.MaxMsgsPerSubject != 1 || got.Storage != want.Storage || got.Replicas != want.Replicas {
		t.Errorf("the stream is %+v, the schema %+v", got, want)
	}
	// What is none of the store's business stays as it is.
	got.Compression = jetstream.S2Compression
	ok(t, second(stream(t, n).UpdateStream(t.Context(), got)))
	ok(t, oncenats.Migrate(t.Context(), patient(oncenats.Config{DSN: n.dsn() + "/shop"})))
	s, err = stream(t, n).Stream(t.Context(), "shop")
	ok(t, err)
	if c := s.CachedInfo().Config; c.MaxBytes != 1000000 || c.Compression != jetstream.S2Compression {
		t.Errorf("Migrate changed max_bytes to %d and compression to %v", c.MaxBytes, c.Compression)
	}
}

// schema returns what Schema shows.
func schema(t *testing.T, dsn string) (c jetstream.StreamConfig) {
	t.Helper()
	text, err := oncenats.Schema(oncenats.Config{DSN: dsn})
	ok(t, err)
	ok(t, json.Unmarshal([]byte(text), &c))
	return c
}

// permissions as the package's documentation has them.
var permissions = &server.Permissions{
	Publish: &server.SubjectPermission{Allow: []string{
		"once.ONCE.>", "$JS.API.STREAM.INFO.ONCE", "$JS.API.STREAM.MSG.GET.ONCE",
		"$JS.API.CONSUMER.CREATE.ONCE.>", "$JS.API.CONSUMER.DELETE.ONCE.>", "$JS.API.CONSUMER.INFO.ONCE.>",
		"$JS.API.CONSUMER.MSG.NEXT.ONCE.>",
	}},
	Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>", "once-told.ONCE.>"}},
}

func TestPermissions(t *testing.T) {
	t.Parallel()
	readOnly := &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: []string{"$JS.API.STREAM.INFO.ONCE", "$JS.API.STREAM.MSG.GET.ONCE"}},
		Subscribe: permissions.Subscribe,
	}
	n := startServer(t, func(o *server.Options) {
		o.Users = []*server.User{
			{Username: "admin", Password: "hunter2"},
			{Username: "app", Password: "hunter2", Permissions: permissions},
			{Username: "reader", Password: "hunter2", Permissions: readOnly},
		}
	})
	migrate(t, oncenats.Config{DSN: "nats://admin:hunter2@" + n.addr()})
	refuses(t, "nats://reader:hunter2@"+n.addr(), "lacks a permission")

	s := open(t, oncenats.Config{DSN: "nats://app:hunter2@" + n.addr()})
	c := newClaim()
	wins(t, s, c)
	count := 0
	for _, err := range s.List(t.Context(), once.Filter{}) {
		ok(t, err)
		count++
	}
	if count != 1 {
		t.Errorf("listed %d records, want 1", count)
	}
	waited := make(chan error, 1)
	go func() { waited <- s.Wait(t.Context(), c.Key, c.Owner) }()
	ok(t, s.Complete(t.Context(), c.Key, c.Owner, result, time.Hour))
	ok(t, <-waited)
}

func TestWaysToProveWhoOneIs(t *testing.T) {
	t.Parallel()
	t.Run("token", func(t *testing.T) {
		n := startServer(t, func(o *server.Options) { o.Authorization = "hunter2" })
		usable(t, n.dsn()+"?token=hunter2")
		refuses(t, n.dsn()+"?token=wrong", "are missing or wrong")
	})
	t.Run("nkey", func(t *testing.T) {
		pair, err := nkeys.CreateUser()
		ok(t, err)
		public, err := pair.PublicKey()
		ok(t, err)
		seed, err := pair.Seed()
		ok(t, err)
		file := filepath.Join(t.TempDir(), "seed")
		ok(t, os.WriteFile(file, seed, 0o600))
		n := startServer(t, func(o *server.Options) { o.Nkeys = []*server.NkeyUser{{Nkey: public}} })
		usable(t, n.dsn()+"?nkey="+file)
		refuses(t, n.dsn(), "are missing or wrong")
	})
	t.Run("TLS", func(t *testing.T) {
		ca, config := certificate(t)
		n := startServer(t, func(o *server.Options) { o.TLSConfig, o.TLS, o.TLSTimeout = config, true, 60 })
		usable(t, "nats+tls://"+n.addr()+"?tls_ca="+ca)
		refuses(t, "nats+tls://"+n.addr(), "certificate")
	})
}

func usable(t *testing.T, dsn string) {
	t.Helper()
	ok(t, oncenats.Migrate(t.Context(), patient(oncenats.Config{DSN: dsn})))
	wins(t, open(t, oncenats.Config{DSN: dsn}), newClaim())
}

// certificate makes one for this machine, and returns the file of who signed it: itself.
func certificate(t *testing.T) (ca string, config *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ok(t, err)
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		NotAfter:              time.Now().Add(time.Hour),
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	ok(t, err)
	ca = filepath.Join(t.TempDir(), "ca.pem")
	ok(t, os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	return ca, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}
