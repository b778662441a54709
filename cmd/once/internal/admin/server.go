package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/oncehq/once"
)

// maxCommand bounds a request's body: an outcome and its framing.
const maxCommand = 64 << 20

// Serve answers on the Unix socket until ctx is done. A socket that a crash left behind is
// replaced; so the caller must have the store open, which nobody else can have then.
func Serve(ctx context.Context, path string, r Records) error {
	l, err := listen(path)
	if err != nil {
		return fmt.Errorf("admin socket: %w", err)
	}
	defer os.Remove(path)
	srv := &http.Server{
		Handler:           Handler(r),
		ReadHeaderTimeout: 10 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	stop := context.AfterFunc(ctx, func() { srv.Close() })
	defer stop()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("admin socket: %w", err)
	}
	return nil
}

// listen makes the socket. It is bound in a directory that nobody else can enter and moved to its
// place when its mode is right: there is no moment at which others could connect.
func listen(path string) (net.Listener, error) {
	private, err := os.MkdirTemp(filepath.Dir(path), ".s")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(private)
	bound := filepath.Join(private, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: bound, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("%w; a socket's path has at most about 100 bytes", err)
	}
	l.SetUnlinkOnClose(false)
	err = os.Chmod(bound, 0o600)
	if err == nil {
		err = os.Rename(bound, path)
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// Handler answers what a [Client] asks. It asks nobody who they are: whoever can reach it can
// read every response and settle every operation.
func Handler(r Records) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /records", func(w http.ResponseWriter, req *http.Request) { list(w, req, r) })
	verb := func(name string, do func(context.Context, command) (any, error)) {
		mux.HandleFunc("POST /"+name, func(w http.ResponseWriter, req *http.Request) {
			var c command
			if err := json.NewDecoder(http.MaxBytesReader(w, req.Body, maxCommand)).Decode(&c); err != nil {
				reply(w, http.StatusBadRequest, fromError(err))
				return
			}
			out, err := do(req.Context(), c)
			if err != nil {
				reply(w, http.StatusUnprocessableEntity, fromError(err))
				return
			}
			reply(w, http.StatusOK, out)
		})
	}
	verb("load", func(ctx context.Context, c command) (any, error) {
		rec, err := r.Load(ctx, c.key())
		return fromRecord(rec), err
	})
	verb("complete", func(ctx context.Context, c command) (any, error) {
		out := once.Outcome{Failed: c.Failed, Type: c.Type, Data: c.Data}
		return struct{}{}, r.Complete(ctx, c.key(), c.Owner, out, c.Retention)
	})
	verb("release", func(ctx context.Context, c command) (any, error) {
		return struct{}{}, r.Release(ctx, c.key(), c.Owner)
	})
	verb("forget", func(ctx context.Context, c command) (any, error) {
		return struct{}{}, r.Forget(ctx, c.key(), c.Owner)
	})
	return mux
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body) // an error means that the client is gone
}

func list(w http.ResponseWriter, req *http.Request, r Records) {
	q := req.URL.Query()
	var f once.Filter
	var err error
	f.Scope = q.Get("scope")
	if s := q.Get("state"); s != "" {
		f.State, err = once.ParseState(s)
	}
	if s := q.Get("older"); s != "" && err == nil {
		f.OlderThan, err = time.ParseDuration(s)
	}
	if err != nil {
		reply(w, http.StatusBadRequest, fromError(err))
		return
	}
	w.Header().Set("Content-Type", "application/jsonl")
	enc := json.NewEncoder(w)
	for rec, err := range r.List(req.Context(), f) {
		if err != nil {
			end := fromError(err)
			enc.Encode(line{End: &end})
			return
		}
		rec := fromRecord(rec)
		if enc.Encode(line{Record: &rec}) != nil {
			return
		}
	}
	enc.Encode(line{End: &failure{}})
}
