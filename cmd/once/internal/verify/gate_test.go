package verify

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// A gate makes requests overlap for the checks that want that, whatever the machine does meanwhile:
// an operation ends when its duplicates have been answered, or its client has hung up.
type gate struct {
	mu      sync.Mutex
	changed *sync.Cond
	byKey   map[string]*traffic
	waiting bool // duplicates wait for the operation, so that it must not wait for them
}

// traffic counts the requests with a key.
type traffic struct {
	arrived, held, answered int
	hungUp, patient         bool
}

func newGate() *gate {
	g := &gate{byKey: map[string]*traffic{}}
	g.changed = sync.NewCond(&g.mu)
	return g
}

func checkOf(r *http.Request) string {
	_, name, _ := strings.Cut(r.UserAgent(), "(")
	return strings.TrimSuffix(name, ")")
}

func (g *gate) traffic(r *http.Request) *traffic {
	key := checkOf(r) + strings.Trim(r.Header.Get("Idempotency-Key"), `"`)
	t := g.byKey[key]
	if t == nil {
		t = &traffic{patient: true}
		g.byKey[key] = t
	}
	return t
}

// front passes a request on, and its response back in one piece.
func (g *gate) front(w http.ResponseWriter, r *http.Request, next http.Handler) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	g.mu.Lock()
	t := g.traffic(r)
	t.arrived++
	g.changed.Broadcast()
	g.mu.Unlock()
	stop := context.AfterFunc(r.Context(), func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		t.hungUp = true
		g.changed.Broadcast()
	})
	buffer := httptest.NewRecorder()
	next.ServeHTTP(buffer, r)
	stop()
	w.Header().Set("Content-Length", fmt.Sprint(buffer.Body.Len()))
	write(w, buffer.Header(), buffer.Code, buffer.Body.Bytes())
	http.NewResponseController(w).Flush()
	g.mu.Lock()
	t.answered++
	g.changed.Broadcast()
	g.mu.Unlock()
}

// hold returns when the operation of a request may end.
func (g *gate) hold(r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	t := g.traffic(r)
	t.held++
	g.changed.Broadcast()
	timer := time.AfterFunc(20*time.Second, func() { // so that a failure is seen
		g.mu.Lock()
		defer g.mu.Unlock()
		t.patient = false
		g.changed.Broadcast()
	})
	defer timer.Stop()
	settled := func(n int) bool { return t.held+t.answered >= n }
	if checkOf(r) == "in-flight" {
		defer func() { // let the client see the answer to the other one first
			g.mu.Unlock()
			time.Sleep(50 * time.Millisecond)
			g.mu.Lock()
		}()
	}
	for t.patient {
		switch check := checkOf(r); {
		case check == "concurrent" && (t.arrived < concurrency || !g.waiting && !settled(concurrency)),
			check == "in-flight" && !settled(2),
			check == "hang-up" && !t.hungUp:
			g.changed.Wait()
		default:
			return
		}
	}
}

func (g *gate) hasHungUp(r *http.Request) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return checkOf(r) == "hang-up" && g.traffic(r).hungUp
}

func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}
