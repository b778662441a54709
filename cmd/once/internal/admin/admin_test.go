package admin_test

import (
	"context"
	"errors"
	"iter"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/cmd/once/internal/admin"
	"github.com/oncehq/once/oncemem"
)

// dial serves the store on a socket and connects to it.
func dial(t *testing.T, s once.Store) *admin.Client {
	t.Helper()
	root, err := os.MkdirTemp("", "once") // t.TempDir is too long for a socket on some systems
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, "store")
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- admin.Serve(ctx, admin.SocketPath(dir), admin.Of(s)) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if left, _ := filepath.Glob(filepath.Join(root, "*")); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
		os.RemoveAll(root)
	})
	for {
		c, err := admin.Dial(t.Context(), dir)
		if err == nil {
			t.Cleanup(func() { c.Close() })
			info, err := os.Stat(admin.SocketPath(dir))
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("socket has mode %v, %v; want 0600", info.Mode(), err)
			}
			return c
		}
		select {
		case err := <-done:
			done <- err
			t.Fatal(err)
		case <-time.After(2 * time.Millisecond):
		}
	}
}

func claim(t *testing.T, s once.Store, scope, id string) once.Record {
	t.Helper()
	rec, err := s.Claim(t.Context(), once.Claim{Key: once.Key{Scope: scope, ID: id}, Owner: once.NewOwner(), Lease: time.Hour,
		Fingerprint: once.FingerprintOf([]byte(id))})
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

func TestSocketShowsWhatTheStoreShows(t *testing.T) {
	t.Parallel()
	s := new(oncemem.Store)
	c := dial(t, s)
	binary := claim(t, s, "a\x00\xff", "b\n\xfe")
	if err := s.Complete(t.Context(), binary.Key, binary.Owner, once.Outcome{Failed: true, Type: "x/y", Data: []byte{0, 255, 10}}, time.Hour); err != nil {
		t.Fatal(err)
	}
	want, err := s.Load(t.Context(), binary.Key)
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Load(t.Context(), binary.Key)
	if err != nil {
		t.Fatal(err)
	}
	got.Retention, want.Retention = 0, 0 // time goes on
	got.Created, want.Created = got.Created.UTC().Truncate(time.Second), want.Created.UTC().Truncate(time.Second)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	if _, err := c.Load(t.Context(), once.Key{Scope: "a", ID: "none"}); !errors.Is(err, once.ErrNotFound) {
		t.Errorf("got %v, want ErrNotFound", err)
	}
	if _, err := c.Load(t.Context(), once.Key{}); err == nil {
		t.Error("an empty key is accepted")
	}
}

func TestListIsFiltered(t *testing.T) {
	t.Parallel()
	s := new(oncemem.Store)
	c := dial(t, s)
	doubt := claim(t, s, "tenant a&b=c", "1")
	claim(t, s, "tenant a&b=c", "2")
	claim(t, s, "other", "3")
	if err := s.Renew(t.Context(), doubt.Key, doubt.Owner, 0); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		f    once.Filter
		want int
	}{
		{"all", once.Filter{}, 3},
		{"scope", once.Filter{Scope: "tenant a&b=c"}, 2},
		{"state", once.Filter{State: once.InDoubt}, 1},
		{"both", once.Filter{State: once.InFlight, Scope: "other"}, 1},
		{"age", once.Filter{OlderThan: time.Hour}, 0},
	} {
		n := 0
		for rec, err := range c.List(t.Context(), tt.f) {
			if err != nil {
				t.Fatal(err)
			}
			if tt.f.Scope != "" && rec.Key.Scope != tt.f.Scope {
				t.Errorf("%s: got %q", tt.name, rec.Key.Scope)
			}
			n++
		}
		if n != tt.want {
			t.Errorf("%s: got %d records, want %d", tt.name, n, tt.want)
		}
	}
	for range c.List(t.Context(), once.Filter{}) {
		break // must not block or panic
	}
}

func TestSocketSettlesRecords(t *testing.T) {
	t.Parallel()
	s := new(oncemem.Store)
	c := dial(t, s)
	ctx := t.Context()
	done, undone, gone := claim(t, s, "s", "done"), claim(t, s, "s", "undone"), claim(t, s, "s", "gone")
	out := once.Outcome{Type: "text/plain", Data: []byte("resolved")}
	if err := c.Complete(ctx, done.Key, once.NewOwner(), out, time.Hour); !errors.Is(err, once.ErrLost) {
		t.Errorf("complete by a stranger: got %v, want ErrLost", err)
	}
	if err := c.Complete(ctx, done.Key, done.Owner, out, time.Hour); err != nil {
		t.Fatal(err)
	}
	if rec, err := s.Load(ctx, done.Key); err != nil || !rec.Outcome.Equal(out) || rec.Retention <= 0 {
		t.Errorf("got %+v, %v", rec, err)
	}
	if err := c.Release(ctx, undone.Key, undone.Owner); err != nil {
		t.Fatal(err)
	}
	if err := c.Forget(ctx, gone.Key, gone.Owner); err != nil {
		t.Fatal(err)
	}
	for _, k := range []once.Key{undone.Key, gone.Key} {
		if rec, err := s.Load(ctx, k); !errors.Is(err, once.ErrNotFound) {
			t.Errorf("got %+v, %v; want ErrNotFound", rec, err)
		}
	}
}

// bare has none of the optional abilities, and fails to load.
type bare struct{ once.Store }

func (bare) Load(context.Context, once.Key) (once.Record, error) {
	return once.Record{}, errors.New("disk on fire")
}

// halfway fails in the middle of a list.
type halfway struct{ *oncemem.Store }

func (halfway) List(context.Context, once.Filter) iter.Seq2[once.Record, error] {
	return func(yield func(once.Record, error) bool) {
		if yield(once.Record{Key: once.Key{Scope: "s", ID: "1"}}, nil) {
			yield(once.Record{}, once.ErrUnreadable)
		}
	}
}

func TestErrorsCrossTheSocket(t *testing.T) {
	t.Parallel()
	c := dial(t, bare{new(oncemem.Store)})
	if _, err := c.Load(t.Context(), once.Key{Scope: "s", ID: "i"}); err == nil || err.Error() != "disk on fire" {
		t.Errorf("load: got %v", err)
	}
	if err := c.Forget(t.Context(), once.Key{Scope: "s", ID: "i"}, once.Owner{}); err == nil || !strings.Contains(err.Error(), "cannot forget") {
		t.Errorf("forget: got %v", err)
	}
	for _, err := range c.List(t.Context(), once.Filter{}) {
		if err == nil || !strings.Contains(err.Error(), "cannot list") {
			t.Errorf("list: got %v", err)
		}
	}
	n, c2 := 0, dial(t, halfway{new(oncemem.Store)})
	var last error
	for _, err := range c2.List(t.Context(), once.Filter{}) {
		n++
		last = err
	}
	if n != 2 || !errors.Is(last, once.ErrUnreadable) {
		t.Errorf("got %d items and %v at last", n, last)
	}
}

func TestStaleSocketIsReplaced(t *testing.T) {
	t.Parallel()
	root, err := os.MkdirTemp("", "once")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(root)
	dir := filepath.Join(root, "store")
	if err := os.WriteFile(admin.SocketPath(dir), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.Dial(t.Context(), dir); err == nil {
		t.Fatal("connected to nobody")
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- admin.Serve(ctx, admin.SocketPath(dir), admin.Of(new(oncemem.Store))) }()
	for deadline := time.Now().Add(20 * time.Second); ; {
		if c, err := admin.Dial(ctx, dir); err == nil {
			c.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("cannot connect")
		}
		time.Sleep(2 * time.Millisecond)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
