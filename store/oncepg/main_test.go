package oncepg_test

import (
	"flag"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/store/oncepg"
)

// shared is the server of all tests that leave it as it is. Each has a schema of its own there.
var shared struct {
	once   sync.Once
	server *servers.PostgresServer
	err    error
}

func TestMain(m *testing.M) {
	if work := os.Getenv("ONCEPG_CHILD"); work != "" {
		os.Exit(child(work))
	}
	os.Setenv("TMPDIR", servers.Memory())
	flag.Parse()
	flag.Set("test.parallel", "12") // most of the time they wait
	code := m.Run()
	if shared.server != nil {
		shared.server.Close()
	}
	os.Exit(code)
}

func startShared() { shared.server, shared.err = servers.StartPostgres("max_connections = 200") }

func sharedDSN(t testing.TB) string {
	t.Helper()
	shared.once.Do(startShared)
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.server.DSN
}

// config returns that of a new schema on the shared server.
func config(t testing.TB) oncepg.Config {
	t.Helper()
	return oncepg.Config{DSN: sharedDSN(t), Schema: schemaName(t), Sweep: -1}
}

func schemaName(t testing.TB) string {
	name := strings.ToLower(t.Name()[:min(len(t.Name()), 25)])
	return strings.NewReplacer("/", "_", " ", "_").Replace(name) + "_" + once.NewOwner().String()[:8]
}

// migrated makes the schema.
func migrated(t testing.TB, cfg oncepg.Config) oncepg.Config {
	t.Helper()
	if err := oncepg.Migrate(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	return cfg
}

// open opens a store, which is closed when the test ends.
func open(t testing.TB, cfg oncepg.Config) *oncepg.Store {
	t.Helper()
	s, err := oncepg.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

const long = time.Hour

func newClaim(id string) once.Claim {
	return once.Claim{
		Key: once.Key{Scope: "test", ID: id}, Owner: once.NewOwner(), Lease: long,
		Fingerprint: once.FingerprintOf([]byte(id)),
	}
}

func outcome(text string) once.Outcome { return once.Outcome{Type: "text/plain", Data: []byte(text)} }

// wins makes the claim, which must win.
func wins(t testing.TB, s once.Store, c once.Claim) once.Record {
	t.Helper()
	rec, err := s.Claim(t.Context(), c)
	if err != nil {
		t.Fatalf("claim: %v", err)
	}
	if !rec.Won(c) {
		t.Fatalf("the claim did not win: the record is %v of attempt %d", rec.State, rec.Attempt)
	}
	return rec
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually fails the test unless the condition holds before long.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not after 30 s: %s", what)
		}
	}
}

// openTransactional is open for a transactional store.
func openTransactional(t testing.TB, cfg oncepg.Config) *oncepg.Transactional {
	t.Helper()
	s, err := oncepg.OpenTransactional(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}
