//go:build linux

package powercut_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/etcdmain"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/check/outage/powercut"
)

// short is how many cuts are enough to see a setting that is not what it should be.
const short = 2

var (
	cuts = flag.Int("powercuts", short, "how often the power of each store is cut; "+
		"more than the default also tries more settings")
	seed = flag.Uint64("seed", 0, "of the moments and of what survives by chance; 0: another one each time")
)

// A setting is a store with the settings of its server.
type setting struct {
	name string

	// durable says that nothing acknowledged may be lost. Otherwise something must be, or the
	// test would prove nothing.
	durable bool

	disk  powercut.Options
	start func(*testing.T) system
	rare  bool // not tried in short runs

	// hidden says that the store cannot know: etcd shows by how often it has synced whether it
	// does, and one that has just started has not.
	hidden bool
}

// lies is a disk on which nothing can be durable, and so shows that a store is tested at all.
var lies = powercut.Options{Lies: true}

func runAll(t *testing.T, settings ...setting) {
	for _, set := range settings {
		if !set.rare || *cuts > short {
			t.Run(set.name, func(t *testing.T) { run(t, set) })
		}
	}
}

// A system is a store with all that it needs.
type system interface {
	// start starts the server again.
	start(*testing.T)

	// kill ends the server, by force, if there is one.
	kill()

	// load puts the store under load until the context is done or the store killed, and notes what is
	// acknowledged.
	load(ctx context.Context, t *testing.T, round string, l *ledger) (wait func())

	// open opens the store to see what it has. It is closed by close.
	open(*testing.T) (s once.Store, close func() error)
}

// run cuts the power again and again.
func run(t *testing.T, set setting) {
	powercut.Require(t)
	dir := openDir(t)
	t.Setenv("TMPDIR", dir) // servers keep their files there
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	t.Logf("-seed %d", *seed)
	rnd := rand.New(rand.NewPCG(*seed, 0))
	sys := set.start(t)
	checkPromise(t, set, sys)
	sys.kill()
	if files, err := os.ReadDir(dir); err != nil || len(files) == 0 {
		t.Fatalf("the server has its files somewhere else: %v", err)
	}
	d := powercut.New(set.disk)
	if err := d.Fill(dir); err != nil {
		t.Fatal(err)
	}
	m := powercut.Mount(t, d, dir)
	sys.start(t)
	all := newLedger()
	acknowledged, lost := 0, 0
	n := *cuts
	if !set.durable {
		n = 10 // at most: that is enough to lose something
	}
	cut := 0
	for ; cut < n; cut++ {
		if !set.durable && lost > 0 && *cuts <= short {
			break
		}
		l := newLedger()
		d = loadAndCut(t, d, sys, l, cut, rnd, set.durable)
		m.Change(t, d)
		sys.start(t)
		acknowledged += l.acknowledged()
		lost += look(t, sys, l)
		for _, f := range l.facts {
			all.note(f)
		}
	}
	if set.durable {
		lost = max(lost, look(t, sys, all))
	}
	t.Logf("%d cuts, %d claims and outcomes acknowledged, %d lost", cut, acknowledged, lost)
	switch {
	case set.durable && lost > 0:
		t.Errorf("%d were lost of %d that were acknowledged", lost, acknowledged)
	case !set.durable && lost == 0:
		t.Errorf("nothing was lost of %d that were acknowledged: the cuts cut nothing", acknowledged)
	}
}

// checkPromise compares what the store says of itself with what is expected of it.
func checkPromise(t *testing.T, set setting, sys system) {
	t.Helper()
	s, done := sys.open(t)
	defer done()
	says := s.(once.Guarantor).Guarantees().Power
	if !set.disk.Lies && !set.hidden && (says == once.Survives) != set.durable {
		t.Fatalf("Guarantees say that what is acknowledged is %v when the power is cut", says)
	}
}

// loadAndCut returns the disk after the power was cut under load. Every other cut of a durable
// store keeps some of what was not safe.
func loadAndCut(
	t *testing.T, d *powercut.Disk, sys system, l *ledger, cut int, rnd *rand.Rand, durable bool,
) *powercut.Disk {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	wait := sys.load(ctx, t, fmt.Sprint(cut), l)
	enough := 20 + rnd.IntN(200)
	for deadline := time.Now().Add(time.Minute); l.acknowledged() < enough; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Errorf("only %d of %d acknowledgements in a minute", l.acknowledged(), enough)
			break
		}
	}
	var chance *rand.Rand
	switch {
	case !durable:
		// Between two syncs of those that sync every second.
		time.Sleep(time.Second / 2)
	case cut%2 == 1:
		chance = rnd
	}
	l.close()
	d = d.Cut(chance)
	sys.kill()
	stop()
	wait()
	return d
}

func look(t *testing.T, sys system, l *ledger) int {
	t.Helper()
	s, done := sys.open(t)
	defer done()
	return l.lost(t, s)
}

// openDir returns a folder that other users may use, as PostgreSQL's does: t.TempDir's is for the
// own one.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "once-powercut-")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func TestMain(m *testing.M) {
	dsn := os.Getenv(childDSN)
	if dsn == "" {
		os.Exit(m.Run())
	}
	if err := child(dsn); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// childDSN says in the environment of this test's own program what it is instead of the test.
const childDSN = "ONCE_POWERCUT_CHILD"

func child(dsn string) error {
	what, rest, _ := strings.Cut(dsn, ":")
	switch what {
	case "map":
		return writeMapped(rest)
	case "etcd":
		etcdmain.Main(os.Args)
		return nil
	case "nats":
		return new(nats).serve(rest)
	}
	return loadItself(dsn)
}
