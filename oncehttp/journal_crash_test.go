package oncehttp_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncedisk"
	"github.com/oncehq/once/oncehttp"
	"github.com/oncehq/once/oncemem"
)

const (
	crashURL = "ONCE_TEST_JOURNAL_URL"
	crashDir = "ONCE_TEST_JOURNAL_DIR"
	payouts  = 3
)

// TestJournalProcess is no test: it is the client that TestJournalSurvivesKill kills. It goes on
// with what is pending, then makes sure that all payouts are made, and prints their answers.
func TestJournalProcess(t *testing.T) {
	url := os.Getenv(crashURL)
	if url == "" {
		t.Skip("this is run by TestJournalSurvivesKill")
	}
	store, err := oncedisk.Open(oncedisk.Config{Dir: os.Getenv(crashDir), SegmentSize: oncedisk.MinSegmentSize})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	base := new(http.Transport)
	defer base.CloseIdleConnections()
	tr, err := oncehttp.NewTransport(oncehttp.TransportConfig{Base: base})
	if err != nil {
		t.Fatal(err)
	}
	j, err := oncehttp.NewJournal(oncehttp.JournalConfig{
		Store: store, Scope: "payouts", Transport: tr, Lease: 300 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	for id, err := range j.Pending(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if err := settle(func() (*http.Response, error) { return j.Resume(t.Context(), id) }, "resumed "+id); err != nil {
			t.Fatal(err)
		}
	}
	for i := range payouts {
		id := fmt.Sprintf("payout-%d", i)
		err := settle(func() (*http.Response, error) {
			req, err := http.NewRequestWithContext(t.Context(), "POST", url, strings.NewReader(id))
			if err != nil {
				return nil, err
			}
			return j.Do(t.Context(), id, req)
		}, "done "+id)
		if err != nil {
			t.Fatal(err)
		}
	}
}

// settle tries until the request is not pending any more: on a busy machine a lease may be lost.
func settle(send func() (*http.Response, error), what string) error {
	for {
		res, err := send()
		if _, pending := errors.AsType[*oncehttp.PendingError](err); pending {
			continue
		}
		if err != nil {
			return err
		}
		body, err := io.ReadAll(res.Body)
		fmt.Printf("%s: %d %s\n", what, res.StatusCode, body)
		return err
	}
}

// A client is killed at each of the two moments that matter, again and again: when its request
// has arrived and when it took effect. Each next process goes on with the same keys. In the end
// every payout was made once.
func TestJournalSurvivesKill(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	t.Parallel()
	service := newPayoutService(t)
	srv := httptest.NewServer(service)
	defer srv.Close()
	dir := filepath.Join(t.TempDir(), "journal")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	kills := 0
	for {
		var out bytes.Buffer
		cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestJournalProcess$", "-test.v")
		cmd.Env = append(os.Environ(), crashURL+"="+srv.URL, crashDir+"="+dir)
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		service.victim(cmd.Process)
		if err := cmd.Wait(); err == nil {
			wantPayouts(t, service, out.String())
			break
		} else if !service.killed() {
			t.Fatalf("client ended by itself: %v\n%s", err, out.String())
		}
		kills++
	}
	if kills <= payouts || kills > 2*payouts {
		t.Errorf("client was killed %d times, want about twice for each of %d payouts", kills, payouts)
	}
}

func wantPayouts(t *testing.T, service *payoutService, output string) {
	t.Helper()
	for i := range payouts {
		id := fmt.Sprintf("payout-%d", i)
		if want := fmt.Sprintf("done %s: 201 made %s\n", id, id); !strings.Contains(output, want) {
			t.Errorf("last client did not print %q:\n%s", want, output)
		}
		if n := service.effects[id]; n != 1 {
			t.Errorf("%s was made %d times", id, n)
		}
	}
	if n := len(service.keys); n != payouts {
		t.Errorf("%d keys were used for %d payouts", n, payouts)
	}
}

// A payoutService makes payouts, guarded by the middleware. It kills the client when the first
// request for a payout arrives, and again when the payout was made.
type payoutService struct {
	guarded http.Handler

	mu      sync.Mutex // guards the rest
	client  *os.Process
	shot    bool           // at this client
	effects map[string]int // by payout
	keys    map[string]bool
	arrived map[string]int
}

func newPayoutService(t *testing.T) *payoutService {
	g, err := once.New(once.Config{Store: new(oncemem.Store), InDoubt: once.Hold, DangerouslyTrustStore: true, Wait: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	m, err := oncehttp.New(oncehttp.Config{Guard: g, DangerouslyShareKeys: true, Required: true})
	if err != nil {
		t.Fatal(err)
	}
	s := &payoutService{effects: make(map[string]int), keys: make(map[string]bool), arrived: make(map[string]int)}
	s.guarded = m.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		s.mu.Lock()
		s.effects[string(id)]++
		s.kill()
		s.mu.Unlock()
		w.WriteHeader(201)
		fmt.Fprintf(w, "made %s", id)
	}))
	return s
}

func (s *payoutService) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	r.Body = io.NopCloser(bytes.NewReader(id))
	s.mu.Lock()
	s.keys[r.Header.Get("Idempotency-Key")] = true
	s.arrived[string(id)]++
	lost := s.arrived[string(id)] == 1
	if lost {
		s.kill()
	}
	s.mu.Unlock()
	if lost {
		panic(http.ErrAbortHandler) // the request had no effect
	}
	s.guarded.ServeHTTP(w, r)
}

// kill kills the client. The mutex must be held.
func (s *payoutService) kill() {
	s.shot = true
	s.client.Kill()
}

func (s *payoutService) victim(p *os.Process) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.client, s.shot = p, false
}

func (s *payoutService) killed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shot
}
