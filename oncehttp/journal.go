package oncehttp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"net/http"
	"time"

	"github.com/oncehq/once"
)

// Defaults of [JournalConfig].
const (
	DefaultWindow      = 24 * time.Hour
	DefaultJournalBody = 1 << 20
)

// intentScope is appended to the scope of a journal for the records of what is to be sent.
const intentScope = "\x00intent"

// intentRetention is how long a request that is not done is kept: in effect for ever. What is
// left of it tells, by the store's clock, when the request was recorded.
const intentRetention = 10 * 365 * 24 * time.Hour

// A JournalConfig says how a [Journal] works. It is copied by [NewJournal].
type JournalConfig struct {
	// Store keeps requests and responses. It must be a [once.Lister] and a [once.Forgetter], and
	// survive the end of the process. Required.
	Store once.Store

	// Scope names the journal among all that the store keeps. Required.
	Scope string

	// Transport sends the requests. Required.
	Transport *Transport

	// Sign adds credentials to a request whenever it is sent; they are not recorded.
	// Defaults to nothing.
	Sign func(*http.Request) error

	// Window is how long after it was recorded a request may be sent again: as long as the
	// service is sure to know its key. After that nobody can tell what happened, and the request
	// is not sent any more. Defaults to [DefaultWindow].
	Window time.Duration

	// Retention is how long a response is kept after the request is done. It must not be less
	// than Window. Defaults to Window.
	Retention time.Duration

	// Lease is how soon another process may go on with a request after the crash of the one that
	// was sending it. [Journal.Do] and [Journal.Resume] wait for that, twice as long at most.
	// Defaults to [once.DefaultLease].
	Lease time.Duration

	// MaxBody is the largest body of a request, and of a response that is kept, in bytes.
	// Defaults to [DefaultJournalBody].
	MaxBody int64

	// Observe is told of everything that happens to the records. Defaults to nothing.
	Observe func(context.Context, once.Event)

	// DangerouslyTrustStore allows a store that may forget with the end of its process, or does
	// not say. Then so may the journal. Defaults to false.
	DangerouslyTrustStore bool
}

// A Journal makes requests that survive the client. A request and its key are recorded before it
// is sent for the first time; after a crash the same request goes out again, with the same key,
// until its response is recorded too. It may be used by many goroutines at once, and by as many
// processes as the store can serve.
//
//	journal, err := oncehttp.NewJournal(oncehttp.JournalConfig{Store: store, Scope: "payouts", Transport: transport})
//	…
//	res, err := journal.Do(ctx, "payout-"+id, req)
//
// and when the process starts:
//
//	for id, err := range journal.Pending(ctx) {
//		…
//		res, err := journal.Resume(ctx, id)
//	}
//
// A response settles the operation if its status is below 500 and the table of [Transport] would
// not try again, but for 401 and 407, which ask for other credentials; and whatever its status if
// it is marked as a replay. After anything else the request stays pending.
type Journal struct {
	cfg       JournalConfig
	guard     *once.Guard
	lister    once.Lister
	forgetter once.Forgetter
	client    *http.Client
}

// NewJournal returns a journal, or everything that is wrong with cfg.
func NewJournal(cfg JournalConfig) (*Journal, error) {
	if cfg.Window == 0 {
		cfg.Window = DefaultWindow
	}
	if cfg.Retention == 0 {
		cfg.Retention = cfg.Window
	}
	if cfg.Lease == 0 {
		cfg.Lease = once.DefaultLease
	}
	if cfg.MaxBody == 0 {
		cfg.MaxBody = DefaultJournalBody
	}
	if err := cfg.check(); err != nil {
		return nil, err
	}
	g, err := once.New(once.Config{
		Store: cfg.Store,
		// Sending again with the same key is what the service allows. Of what may be forgotten in
		// doubt the request remains, and with it the key.
		InDoubt:     once.Rerun,
		MaxAttempts: math.MaxInt,
		Lease:       cfg.Lease,
		Retention:   cfg.Retention,
		Wait:        2 * cfg.Lease, // until the lease of a process that crashed is over
		Observe:     cfg.Observe,
	})
	if err != nil {
		return nil, err
	}
	j := &Journal{cfg: cfg, guard: g, client: &http.Client{Transport: cfg.Transport}}
	j.lister, _ = cfg.Store.(once.Lister)
	j.forgetter, _ = cfg.Store.(once.Forgetter)
	return j, nil
}

func (cfg JournalConfig) check() error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("oncehttp: journal: "+format, args...))
	}
	_, lists := cfg.Store.(once.Lister)
	_, forgets := cfg.Store.(once.Forgetter)
	switch g, says := cfg.Store.(once.Guarantor); {
	case cfg.Store == nil:
		bad("Store is missing; use for example oncedisk.Open")
	case !lists || !forgets:
		bad("Store %T can not list and forget records; use another one", cfg.Store)
	case !cfg.DangerouslyTrustStore && (!says || g.Guarantees().Crash != once.Survives):
		bad("Store may forget when the process ends, and the journal with it; use a durable store, or set DangerouslyTrustStore")
	}
	if cfg.Transport == nil {
		bad("Transport is missing; make one with NewTransport")
	}
	if cfg.Scope == "" || len(cfg.Scope) > once.MaxScope-len(intentScope) {
		bad("Scope has %d bytes; use 1 to %d", len(cfg.Scope), once.MaxScope-len(intentScope))
	}
	if cfg.Window < 0 || cfg.Window > intentRetention/2 {
		bad("Window is %v; use how long the service is sure to know a key, at most %v", cfg.Window, intentRetention/2)
	}
	if cfg.Retention < cfg.Window {
		bad("Retention is %v and Window %v; it must not be less, or what is done could be sent again", cfg.Retention, cfg.Window)
	}
	if cfg.Lease < 0 {
		bad("Lease is %v; it must not be negative", cfg.Lease)
	}
	if cfg.MaxBody < 0 || cfg.MaxBody > math.MaxInt32 {
		bad("MaxBody is %d; it must be positive and less than 2 GiB, for bodies are held in memory", cfg.MaxBody)
	}
	return errors.Join(errs...)
}

// ErrWindow: the request was recorded longer ago than [JournalConfig.Window]. The service may have
// forgotten its key, so that sending it again could repeat its effect. Somebody has to find out
// what happened, and to call [Journal.Drop].
var ErrWindow = errors.New("oncehttp: request is too old to be sent again")

// A PendingError says that a request is recorded but not done. Resume goes on with it.
type PendingError struct {
	ID     string // not in the error's text
	Status int    // of a response that does not settle the operation; 0: there was none
	Err    error  // if there was none
}

func (e *PendingError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("oncehttp: request is still pending: response was %d %s", e.Status, http.StatusText(e.Status))
	}
	return "oncehttp: request is still pending: " + e.Err.Error()
}

func (e *PendingError) Unwrap() error { return e.Err }

// Do sends the request once, under the id that the caller has for the operation: the number of
// an order, say. If it was done before the recorded response is returned; if it was recorded
// but not done, that request is sent with its key, as by [Journal.Resume]. A request under the
// same id that differs in method, URL, content type or body is refused with [once.ErrMismatch].
//
// The response is recorded by the time it is returned. Its trailers are not kept, nor is a body
// that is larger than MaxBody: then only the first caller can read it, and those after get
// [ErrNotKept] from the body.
//
// The error is a [*PendingError] if the request is recorded and not done; around [ErrWindow] it
// says that the request will not be sent again. Any other error means that it was not sent by
// this call.
//
// The request must not have credentials (they would be recorded; use Sign) nor a safe method.
// Its key is the one that is recorded; the first time that in its header or by [WithKey], else a
// new one. Do closes the body.
func (j *Journal) Do(ctx context.Context, id string, req *http.Request) (*http.Response, error) {
	in, err := j.newIntent(req)
	if err != nil {
		return nil, err
	}
	return j.run(ctx, id, in.fp, in)
}

// Resume goes on with a request that is pending, after a crash or a [*PendingError]. If it was
// done meanwhile it returns the recorded response. Errors are those of [Journal.Do], and
// [once.ErrNotFound] if nothing is recorded under the id.
//
// It waits for whoever is sending the request. A process that crashed counts as sending until its
// lease is over, so that Resume is silent for up to [JournalConfig.Lease] right after a crash.
func (j *Journal) Resume(ctx context.Context, id string) (*http.Response, error) {
	rec, err := j.cfg.Store.Load(ctx, j.intentKey(id))
	if errors.Is(err, once.ErrNotFound) {
		rec, err = j.cfg.Store.Load(ctx, j.key(id))
		if err == nil && rec.State != once.Done {
			err = once.ErrNotFound // claimed, but nothing was recorded nor sent
		}
	}
	if err != nil {
		return nil, &once.KeyError{Key: j.key(id), Err: err}
	}
	return j.run(ctx, id, rec.Fingerprint, nil)
}

// Pending yields the ids of requests that are recorded and not done, in no particular order;
// also of those that somebody is just sending. The iteration ends after the first error.
func (j *Journal) Pending(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		filter := once.Filter{Scope: j.cfg.Scope + intentScope, State: once.Done}
		for rec, err := range j.lister.List(ctx, filter) {
			if err != nil {
				yield("", err)
				return
			}
			id := rec.Key.ID
			done, err := j.cfg.Store.Load(ctx, j.key(id))
			switch {
			case err == nil && done.State == once.Done:
				j.forget(ctx, rec) // a crash came between
				continue
			case err != nil && !errors.Is(err, once.ErrNotFound):
				yield("", err)
				return
			}
			if !yield(id, nil) {
				return
			}
		}
	}
}

// Drop forgets a request that is pending, without sending it again: the caller has found out
// what became of it, or does not want it any more. It waits for whoever is sending it just now.
// Do under the same id is a new operation after that.
func (j *Journal) Drop(ctx context.Context, id string) error {
	rec, err := j.cfg.Store.Load(ctx, j.intentKey(id))
	if err != nil {
		return &once.KeyError{Key: j.key(id), Err: err}
	}
	a, err := j.guard.Begin(ctx, j.key(id), rec.Fingerprint) // so that nobody sends it meanwhile
	if err != nil {
		return err
	}
	forgotten := j.forget(ctx, rec)
	if _, done := a.Replay(); !done {
		err = a.CompleteFor(once.Outcome{}, 0) // which keeps nothing
	}
	if forgotten != nil {
		return &once.KeyError{Key: j.key(id), Err: forgotten}
	}
	return err
}

func (j *Journal) key(id string) once.Key { return once.Key{Scope: j.cfg.Scope, ID: id} }
func (j *Journal) intentKey(id string) once.Key {
	return once.Key{Scope: j.cfg.Scope + intentScope, ID: id}
}

func (j *Journal) forget(ctx context.Context, rec once.Record) error {
	return j.forgetter.Forget(ctx, rec.Key, rec.Owner)
}

// readUpTo reads a body of at most limit bytes.
func readUpTo(body io.Reader, limit int64) (read []byte, whole bool, err error) {
	read, err = io.ReadAll(io.LimitReader(body, limit+1))
	return read, int64(len(read)) <= limit, err
}
