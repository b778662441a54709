package main

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"time"
)

// authenticated lets those through who know their password.
func authenticated(next http.Handler) http.Handler {
	passwords := map[string]string{"alice": "a1", "bob": "b1"} // yours are elsewhere, and hashed
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		if want, ok := passwords[user]; !ok || password != want {
			w.Header().Set("WWW-Authenticate", `Basic realm="charges"`)
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}

// serve serves until ctx is done, and then lets the requests finish that are under way.
func serve(ctx context.Context, l net.Listener, handler http.Handler) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return server.Shutdown(grace)
}
