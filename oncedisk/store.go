package oncedisk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/oncehq/once"
)

// Defaults and bounds of a [Config].
const (
	DefaultSegmentSize = 64 << 20
	MinSegmentSize     = 64 << 10
	MaxSegmentSize     = 1 << 30
	DefaultMaxOutcome  = 8 << 20
)

// Config says where a store is, and bounds it.
type Config struct {
	// Dir is the store's directory. Open makes it if it does not exist, but not its parent: with
	// a path that is mistyped, or a disk that is not mounted, a program would find itself with
	// an empty store, and run again what was done. Make the parent when the program is
	// installed. No other file may be in Dir. Required.
	Dir string

	// SegmentSize is the size of the log's files in bytes, a multiple of 4096. Two of them are
	// on the disk even if the store is empty. Defaults to DefaultSegmentSize.
	SegmentSize int64

	// MaxOutcome bounds the data of one outcome in bytes; larger ones get [once.ErrTooLarge].
	// It is at most a quarter of SegmentSize. Defaults to DefaultMaxOutcome, or to that quarter.
	MaxOutcome int

	// Log is told what goes wrong in the background. Defaults to slog.Default().
	Log *slog.Logger
}

// check reports everything that is wrong with c, and fills in the defaults.
func (c *Config) check() error {
	if c.SegmentSize == 0 {
		c.SegmentSize = DefaultSegmentSize
	}
	if c.MaxOutcome == 0 {
		c.MaxOutcome = int(min(DefaultMaxOutcome, c.SegmentSize/4))
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	var errs []error
	if c.Dir == "" {
		errs = append(errs, errors.New("oncedisk: Dir is empty; name the store's directory"))
	}
	if c.SegmentSize < MinSegmentSize || c.SegmentSize > MaxSegmentSize || c.SegmentSize%page != 0 {
		errs = append(errs, fmt.Errorf("oncedisk: SegmentSize is %d; it must be a multiple of %d from %d to %d",
			c.SegmentSize, page, MinSegmentSize, MaxSegmentSize))
	}
	if c.MaxOutcome < 0 || int64(c.MaxOutcome) > c.SegmentSize/4 {
		errs = append(errs, fmt.Errorf("oncedisk: MaxOutcome is %d; it must be from 1 to a quarter of SegmentSize, %d",
			c.MaxOutcome, c.SegmentSize/4))
	}
	return errors.Join(errs...)
}

// A Store is a [once.Store] in a directory that only this process uses. Use [Open] to get one.
type Store struct {
	cfg      Config
	vol      volume
	lock     io.Closer
	seed     seed
	clock    *clock
	segments *segments
	log      *log
	carry    map[bucket]*carrier // used by sweep only
	sweeping sync.Mutex          // held during a sweep
	alarm    *alarm

	closing    chan struct{} // closed when Close is called
	once       sync.Once
	closed     error
	background sync.WaitGroup

	hashKey func(once.Key) uint64 // the seed's, but for tests of collisions
	shards  [shardCount]shard
}

var (
	_ once.Store     = (*Store)(nil)
	_ once.Lister    = (*Store)(nil)
	_ once.Sweeper   = (*Store)(nil)
	_ once.Waiter    = (*Store)(nil)
	_ once.Batcher   = (*Store)(nil)
	_ once.Forgetter = (*Store)(nil)
	_ once.Guarantor = (*Store)(nil)
	_ io.Closer      = (*Store)(nil)
)

// Open opens the store in a directory, or makes one there if the directory is empty or does not
// exist. It fails if another process has the store open, if the format is unknown, and with a
// [*DamageError] if what was acknowledged is not there; then see [Check] and [Salvage].
func Open(cfg Config) (*Store, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	v, err := openDirectory(cfg.Dir, true)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("oncedisk: %s, which Dir is to be made in, does not exist; correct Dir, "+
				"or make that one first, by os.MkdirAll or mkdir -p: %w", filepath.Dir(filepath.Clean(cfg.Dir)), err)
		}
		return nil, fmt.Errorf("oncedisk: cannot open the directory: %w", err)
	}
	return open(v, cfg, origin{})
}

// An origin is what a store starts from, beside its directory.
type origin struct {
	latest instant               // the store's clock is not before it
	stamp  uint64                // the store's stamps are larger
	hash   func(once.Key) uint64 // defaults to the seed's
}

// open is Open on any volume.
func open(v volume, cfg Config, from origin) (_ *Store, err error) {
	s := &Store{cfg: cfg, vol: v, closing: make(chan struct{}), carry: make(map[bucket]*carrier)}
	if s.seed, s.lock, err = enter(v); err != nil {
		return nil, err
	}
	s.hashKey = s.seed.hash
	if from.hash != nil {
		s.hashKey = from.hash
	}
	s.alarm = newAlarm()
	if err := s.recover(from); err != nil {
		return nil, errors.Join(err, s.closeFiles())
	}
	s.background.Go(s.log.run)
	s.background.Go(s.prepare)
	s.background.Go(s.sweepAlways)
	return s, nil
}

// enter locks the directory and reads its format; an empty directory is made a store.
func enter(v volume) (seed, io.Closer, error) {
	names, err := v.Names()
	if err != nil {
		return seed{}, nil, fmt.Errorf("oncedisk: cannot read the directory: %w", err)
	}
	if err := checkNames(v, names); err != nil {
		return seed{}, nil, err
	}
	lock, err := takeLock(v, true)
	if err != nil {
		return seed{}, nil, err
	}
	key, err := recordFormat.read(v)
	if errors.Is(err, fs.ErrNotExist) {
		key, err = recordFormat.create(v)
	}
	if err != nil {
		return seed{}, nil, errors.Join(err, lock.Close())
	}
	return key, lock, nil
}

func takeLock(v volume, exclusive bool) (io.Closer, error) {
	lock, err := v.Lock(exclusive)
	if errors.Is(err, errLocked) {
		return nil, fmt.Errorf("oncedisk: %s is in use by another process; "+
			"stop that, or give each process a directory of its own", v.Path("."))
	}
	if err != nil {
		return nil, fmt.Errorf("oncedisk: cannot lock the directory: %w", err)
	}
	return lock, nil
}

// Guarantees says that what was acknowledged survives the process and the machine's power, if the
// disk keeps what it said was written.
func (s *Store) Guarantees() once.Guarantees {
	return once.Guarantees{
		Store:    "disk",
		Crash:    once.Survives,
		Power:    once.Survives,
		Failover: once.NotApplicable,
		Notes: []string{
			"Every verb is flushed with fdatasync before it is acknowledged; the disk must honour flushes.",
			"The directory is one machine's and one process's; use a shared store for more than one.",
		},
	}
}

// Close makes what was begun durable and gives the directory free. Verbs that follow return
// [once.ErrClosed], and waits end.
func (s *Store) Close() error {
	s.once.Do(func() {
		close(s.closing)
		err := s.log.close()
		s.background.Wait()
		s.sweeping.Lock()
		defer s.sweeping.Unlock()
		if err == nil {
			err = s.leave()
		}
		s.closed = errors.Join(err, s.closeFiles())
	})
	return s.closed
}

func (s *Store) closeFiles() error {
	var errs []error
	if s.segments != nil {
		for _, seg := range s.segments.list() {
			errs = append(errs, seg.f.Close())
		}
	}
	return errors.Join(append(errs, s.lock.Close())...)
}

func (s *Store) stopping() bool {
	select {
	case <-s.closing:
		return true
	default:
		return false
	}
}

// pause waits, and reports whether the store is still open then.
func (s *Store) pause(d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-s.closing:
		return false
	}
}

// usable reports why no verb can be carried out, or nil.
func (s *Store) usable(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.stopping() {
		return once.ErrClosed
	}
	return s.log.failed()
}

func (s *Store) shard(hash uint64) *shard { return &s.shards[hash%shardCount] }

// fail ends the store, unless it is still being opened: then the error ends that.
func (s *Store) fail(err error) error {
	if s.log == nil {
		return err
	}
	return s.log.fail(err)
}

// complain tells the log what went wrong where no caller is to be told.
func (s *Store) complain(what string, err error) {
	s.cfg.Log.Error("oncedisk: "+what, "dir", s.cfg.Dir, "err", err)
}
