package oncedisk

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncetest"
)

func openTestIDs(t *testing.T, cfg IDsConfig) *IDs {
	t.Helper()
	s, err := OpenIDs(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestIDContract(t *testing.T) {
	t.Parallel()
	var cfg IDsConfig
	var last *IDs
	oncetest.TestIDStore(t, oncetest.IDOptions{
		Open: func(t *testing.T) once.IDStore {
			cfg = IDsConfig{Dir: filepath.Join(t.TempDir(), "ids"), Window: time.Hour}
			last = openTestIDs(t, cfg)
			return last
		},
		OpenAgain: func(t *testing.T) once.IDStore {
			if err := last.Close(); err != nil {
				t.Fatal(err)
			}
			return openTestIDs(t, cfg)
		},
	})
}

// on opens a store of ids on the volume, for a bubble.
func idsOn(t *testing.T, v volume, cfg IDsConfig) *IDs {
	t.Helper()
	cfg.Dir = "ids"
	if err := cfg.check(); err != nil {
		t.Fatal(err)
	}
	s, err := openIDs(v, cfg, 2*page)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func claimOne(t *testing.T, s once.IDStore, id string) once.IDState {
	t.Helper()
	o := once.NewOwner()
	states, err := s.ClaimIDs(context.Background(), "s", o, []string{id})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.ReleaseIDs(context.Background(), "s", o, []string{id}); err != nil {
		t.Fatal(err)
	}
	return states[0]
}

func completeSome(t *testing.T, s once.IDStore, format string, n int) []string {
	t.Helper()
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf(format, i)
	}
	if err := s.CompleteIDs(context.Background(), "s", once.NewOwner(), ids); err != nil {
		t.Fatal(err)
	}
	return ids
}

func wantIDs(t *testing.T, s once.IDStore, ids []string, want once.IDState, when string) {
	t.Helper()
	o := once.NewOwner()
	states, err := s.ClaimIDs(context.Background(), "s", o, ids)
	if err != nil {
		t.Fatalf("%s: %v", when, err)
	}
	if err := s.ReleaseIDs(context.Background(), "s", o, ids); err != nil {
		t.Fatal(err)
	}
	for i, state := range states {
		if state != want {
			t.Fatalf("%s: %s is %v, want %v", when, ids[i], state, want)
		}
	}
}

// Ids answer for the window, and are forgotten at most one bucket later; with their files.
func TestIDsAreForgottenByTheBucket(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		s := idsOn(t, m, IDsConfig{Window: 8 * time.Hour})
		type batch struct {
			ids []string
			at  time.Time
		}
		var batches []batch
		for n := range 36 {
			batches = append(batches, batch{completeSome(t, s, fmt.Sprint(n, "-%d"), 300/slowdown), time.Now()})
			time.Sleep(20 * time.Minute)
			if n == 20 { // another process goes on
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				s = idsOn(t, m, IDsConfig{Window: 8 * time.Hour})
			}
			for _, b := range batches {
				switch age := time.Since(b.at); {
				case age < 8*time.Hour:
					wantIDs(t, s, b.ids, once.IDDone, fmt.Sprint("after ", age))
				case age > 9*time.Hour+time.Minute:
					wantIDs(t, s, b.ids[:10], once.IDClaimed, fmt.Sprint("after ", age))
				}
			}
		}
		full := s.Stats()
		if full.Buckets < 8 || full.Buckets > 10 {
			t.Errorf("%d buckets, want about 9", full.Buckets)
		}
		time.Sleep(10 * time.Hour)
		synctest.Wait()
		wantIDs(t, s, []string{"39-1"}, once.IDClaimed, "when the window is over")
		if left := s.Stats(); left.IDs != 0 || left.Buckets != 0 || left.Disk != 0 {
			t.Errorf("left when the window is over: %+v", left)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		for name := range m.names {
			if isIDFile(name, idLogSuffix) || isIDFile(name, idArchiveSuffix) {
				t.Errorf("%s is left", name)
			}
		}
	})
}

// The filter must never say that an id is new which is not, and seldom fail to say so of one that
// is.
func TestIDFilter(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	random := func() (d id) {
		for i := range d {
			d[i] = byte(rnd.Uint32())
		}
		return d
	}
	const n = 100_000
	f := newIDFilter(n)
	in := make([]id, n)
	for i := range in {
		in[i] = random()
		f.add(in[i])
	}
	f = decodeIDFilter(f.encode(nil))
	for _, d := range in {
		if f.isNew(d) {
			t.Fatal("the filter takes one of its ids for new")
		}
	}
	unsure := 0
	for range n {
		if !f.isNew(random()) {
			unsure++
		}
	}
	if unsure > n/400 {
		t.Errorf("the filter is not sure of %d of %d new ids", unsure, n)
	}
	t.Logf("not sure of 1 in %d", n/max(unsure, 1))
}

// Archives must find ids also where many pages begin alike.
func TestIDArchiveFindsNeighbours(t *testing.T) {
	t.Parallel()
	var table idTable
	var in, out []id
	for i := range 3000 {
		d := id{1, 2, 3, 4, 5, 6, 7, byte(i / 1000)}
		d[14], d[15] = byte(i>>8), byte(i)
		if i%3 == 0 {
			out = append(out, d)
		} else {
			in = append(in, d)
			table.add(d)
		}
	}
	f, err := newMemory().Create("x")
	if err != nil {
		t.Fatal(err)
	}
	h := idHeader{idPeriod{1, 2}, int64(len(in))}
	if _, err := writeIDArchive(f, h, &table); err != nil {
		t.Fatal(err)
	}
	a, err := openIDArchive(f, "x")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range in {
		if ok, err := a.has(d); err != nil || !ok {
			t.Fatalf("%x is not found: %v", d, err)
		}
	}
	for i := range a.filter { // sure of nothing
		a.filter[i] = idBlock{^uint32(0), ^uint32(0), ^uint32(0), ^uint32(0), ^uint32(0), ^uint32(0), ^uint32(0), ^uint32(0)}
	}
	for _, d := range append(out, id{}, id{0xff}) {
		if ok, err := a.has(d); err != nil || ok {
			t.Fatalf("%x is found: %v", d, err)
		}
	}
}

func TestIDsRefuse(t *testing.T) {
	t.Parallel()
	_, err := OpenIDs(IDsConfig{Buckets: -1})
	for _, field := range []string{"Dir", "Window", "Buckets"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("the error does not name %s: %v", field, err)
		}
	}
	dir := t.TempDir()
	records, err := Open(Config{Dir: filepath.Join(dir, "records")})
	if err != nil {
		t.Fatal(err)
	}
	records.Close()
	if _, err := OpenIDs(IDsConfig{Dir: filepath.Join(dir, "records"), Window: time.Hour}); err == nil {
		t.Error("a directory of records was taken for one of ids")
	}
	s := openTestIDs(t, IDsConfig{Dir: filepath.Join(dir, "ids"), Window: time.Hour})
	if _, err := OpenIDs(s.cfg); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second store in one directory: error %v", err)
	}
	s.Close()
	if _, err := Open(Config{Dir: filepath.Join(dir, "ids")}); err == nil {
		t.Error("a directory of ids was taken for one of records")
	}
	if _, err := s.ClaimIDs(t.Context(), "s", once.NewOwner(), []string{"a"}); !errors.Is(err, once.ErrClosed) {
		t.Errorf("a closed store: error %v", err)
	}
	if err := s.CompleteIDs(t.Context(), "s", once.NewOwner(), []string{"a"}); !errors.Is(err, once.ErrClosed) {
		t.Errorf("a closed store: error %v", err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "ids", idFormat.file))
	if err != nil {
		t.Fatal(err)
	}
	os.WriteFile(filepath.Join(dir, "ids", idFormat.file), idFormat.text(2, s.seed), 0o600)
	if _, err := OpenIDs(s.cfg); err == nil || !strings.Contains(err.Error(), "format 2") {
		t.Errorf("an unknown format: error %v", err)
	}
	os.WriteFile(filepath.Join(dir, "ids", idFormat.file), text, 0o600)
}
