package gateway

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/oncehq/once"
)

// probeTime is how long the store may take to answer when it is asked if it is well.
const probeTime = 2 * time.Second

// Health returns the handler of /healthz, which says that the process lives, and /readyz, which
// says that it can guard requests: it is not stopping, and its store answers.
//
// Whether the service is well is not part of it. If it is not, that is better told to clients,
// whose keys are released, than hidden behind an absent gateway.
func (g *Gateway) Health() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		report(w, http.StatusOK, map[string]string{"status": "ok"})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if g.draining.Load() {
			report(w, http.StatusServiceUnavailable, map[string]string{"status": "draining"})
			return
		}
		if err := g.probe(r.Context()); err != nil {
			g.log.Error("store is not well", "error", err)
			report(w, http.StatusServiceUnavailable, map[string]string{"status": "store unavailable"})
			return
		}
		report(w, http.StatusOK, map[string]string{"status": "ok"})
	})
	return mux
}

// probe asks the store for a record that is not there.
func (g *Gateway) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	_, err := g.store.Load(ctx, once.Key{Scope: "once readyz", ID: rand.Text()})
	if errors.Is(err, once.ErrNotFound) {
		return nil
	}
	return err
}

func report(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body) // an error means that the client is gone
}
