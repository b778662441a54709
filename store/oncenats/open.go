package oncenats

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/oncehq/once"
)

// A Store is a [once.Store] in a stream of NATS JetStream. Its methods may be called by many
// goroutines at once.
type Store struct {
	target     Target
	cfg        Config
	wire       *wire
	clock      clock
	held       held
	getRequest string        // subject of the question how a record stands
	stream     stream        // as it was when the store was opened
	servers    servers       // the same
	firstPause time.Duration // of a wait
	closed     atomic.Bool
}

var (
	_ once.Store     = (*Store)(nil)
	_ once.Lister    = (*Store)(nil)
	_ once.Waiter    = (*Store)(nil)
	_ once.Batcher   = (*Store)(nil)
	_ once.Forgetter = (*Store)(nil)
	_ once.Guarantor = (*Store)(nil)
)

// Open connects to the servers and checks that the stream is fit to keep records, and that the
// user may use it. It creates nothing; [Migrate] does. The context's deadline bounds that. The
// caller must close the store.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	s, err := reach(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if s.stream, err = s.describe(ctx); err == nil {
		err = errors.Join(s.stream.check(s.target)...)
	}
	if err == nil {
		err = s.probe(ctx)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	s.servers = askServers(ctx, s.cfg.Monitor)
	return s, nil
}

// reach checks and completes the config, and connects.
func reach(ctx context.Context, cfg Config) (*Store, error) {
	target, err := ParseDSN(cfg.DSN)
	cfg = cfg.merge(target.config)
	if err := errors.Join(err, cfg.check()); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	if cfg.TLS == nil {
		if cfg.TLS, err = target.tlsConfig(); err != nil {
			return nil, err
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	w, err := newWire(ctx, target, cfg)
	if err != nil {
		return nil, err
	}
	return &Store{
		target:     target,
		cfg:        cfg,
		wire:       w,
		clock:      clock{wire: w, request: target.api("STREAM.INFO." + target.Stream), share: shareFor},
		held:       held{m: make(map[once.Key]*entry)},
		firstPause: firstPause,
		getRequest: target.api("STREAM.MSG.GET." + target.Stream),
	}, nil
}

// probe does what every claim does, in a way that changes nothing: it writes a record that the
// server must refuse. So the user's permissions are known before the first claim. A server that is
// full still tells what it has.
func (s *Store) probe(ctx context.Context) error {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	subject := s.target.subject(once.Key{Scope: "once", ID: "probe"})
	f := s.look(subject, s.clock.ask())
	f.write = s.write(subject, &entry{kind: removed}, impossible)
	_, _, err := s.written(ctx, f.write)
	if err = explain("open", err); err != nil && !errors.Is(err, once.ErrFull) {
		return err
	}
	_, err = s.seen(ctx, f)
	return explain("open", err)
}

// impossible is a sequence number that no message will ever have.
const impossible = 1<<63 - 1

// MaxOutcome returns how many bytes an outcome of the operation can have. They share a message
// with the key.
func (s *Store) MaxOutcome(k once.Key) int {
	most := s.wire.nc.MaxPayload()
	if n := int64(s.stream.Config.MaxMsgSize); n > 0 {
		most = min(most, n)
	}
	const fixed = 640 // more than what a record has beside key and outcome, with a type of 255 bytes
	most -= fixed + int64(len(k.Scope)+len(k.ID))*4/3
	if n := int64(s.cfg.MaxOutcome); n > 0 {
		most = min(most, n)
	}
	return int(max(most, 0))
}

// Close ends the connection and the waits. Verbs that follow return [once.ErrClosed].
func (s *Store) Close() error {
	if !s.closed.Swap(true) {
		s.wire.close()
	}
	return nil
}
