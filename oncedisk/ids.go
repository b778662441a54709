package oncedisk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oncehq/once"
)

// DefaultIDBuckets is how many buckets a window has if [IDsConfig.Buckets] is not set.
const DefaultIDBuckets = 8

// IDsConfig says where a store of ids is, and for how long it remembers.
type IDsConfig struct {
	// Dir is the store's directory. OpenIDs makes it if it does not exist, but not its parent.
	// No other file may be in it. Required.
	Dir string

	// Window is how long an id that is done is remembered at least. It may be changed: shortening
	// it forgets at once. Required.
	Window time.Duration

	// Buckets is into how many the window is cut. An id is forgotten together with its whole
	// bucket, and so remembered for up to Window/Buckets longer. The ids of the youngest bucket
	// are in memory; a question looks into the filter of each. Defaults to DefaultIDBuckets.
	Buckets int

	// Log is told what goes wrong in the background. Defaults to slog.Default().
	Log *slog.Logger
}

// maxIDBuckets keeps questions short.
const maxIDBuckets = 1000

// check reports everything that is wrong with c, and fills in the defaults.
func (c *IDsConfig) check() error {
	if c.Buckets == 0 {
		c.Buckets = DefaultIDBuckets
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	var errs []error
	if c.Dir == "" {
		errs = append(errs, errors.New("oncedisk: Dir is empty; name the store's directory"))
	}
	if c.Window <= 0 {
		errs = append(errs, fmt.Errorf("oncedisk: Window is %v; "+
			"say for how long copies can come, such as the broker's retention", c.Window))
	}
	if c.Buckets < 1 || c.Buckets > maxIDBuckets {
		errs = append(errs, fmt.Errorf("oncedisk: Buckets is %d; it must be from 1 to %d", c.Buckets, maxIDBuckets))
	}
	return errors.Join(errs...)
}

// IDs is a [once.IDStore] in a directory that only this process uses: about 18 bytes on the disk
// and 2 in memory for each id, beside the youngest bucket's, which are in memory. Use [OpenIDs] to
// get one.
//
// Claims are kept in memory alone. They have no lease: a claim ends when its owner completes or
// releases it, or with the process; what a process that was killed had claimed and not completed
// is new to the next. So every claim has to be ended, also if CompleteIDs has returned an error: by
// calling it again, or else others find the id in flight as long as the process runs. A completion
// is flushed before it is acknowledged, together with those that came meanwhile.
//
// When the disk is full, ClaimIDs returns [once.ErrFull] until there is room again. What is claimed
// by then is completed in the room that was set aside, for some 100,000 ids, unless a new bucket has
// to be begun; after that CompleteIDs fails, and may be called again when there is space.
type IDs struct {
	cfg   IDsConfig
	vol   volume
	lock  io.Closer
	seed  seed
	clock *clock
	step  int64 // by how much a log grows
	calls atomic.Uint64

	mu      sync.Mutex // guards what follows, is never held across I/O
	claims  map[id]idClaim
	young   []*idBucket // in memory, the oldest first
	groups  []*idGroup  // to be committed, the oldest first
	closed  bool
	archive atomic.Pointer[[]*idArchive] // changed with mu held, read without

	broken  atomic.Pointer[error] // the first failure: nothing is acknowledged after it
	full    atomic.Pointer[error] // why there is no room for more ids, if so: claims are refused
	wake    chan struct{}         // there are groups, or the store was closed
	tidy    chan struct{}         // there is a bucket to be archived
	closing chan struct{}
	once    sync.Once
	err     error // of Close

	background sync.WaitGroup
}

// An idBucket is a bucket whose ids are in memory, and in a log.
type idBucket struct {
	idPeriod
	table idTable // changed only by the committer, with mu held
	log   *idLog  // the committer's
	disk  int64   // how long the log is; set with mu held
	full  bool    // it takes no more ids; set with mu held
}

// An idClaim is who deals with an id.
type idClaim struct {
	owner once.Owner
	call  uint64 // the latest that claimed it
}

var (
	_ once.IDStore   = (*IDs)(nil)
	_ once.Guarantor = (*IDs)(nil)
	_ io.Closer      = (*IDs)(nil)
)

// OpenIDs opens the store of ids in a directory, or makes one there if the directory is empty or
// does not exist. It fails if another process has it open, if the format is unknown, and with a
// [*DamageError] if what was acknowledged is not there.
func OpenIDs(cfg IDsConfig) (*IDs, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	v, err := openDirectory(cfg.Dir, true)
	if err != nil {
		return nil, fmt.Errorf("oncedisk: cannot open the directory: %w", err)
	}
	return openIDs(v, cfg, 4<<20)
}

// openIDs is OpenIDs on any volume.
func openIDs(v volume, cfg IDsConfig, step int64) (*IDs, error) {
	// Before anything is written to a directory, the lock included, it must be the store's.
	names, err := v.Names()
	if err != nil {
		return nil, fmt.Errorf("oncedisk: cannot read the directory: %w", err)
	}
	if err := checkIDNames(v, names); err != nil {
		return nil, err
	}
	lock, err := takeLock(v, true)
	if err != nil {
		return nil, err
	}
	s := &IDs{
		cfg: cfg, vol: v, lock: lock, step: step,
		claims:  make(map[id]idClaim),
		wake:    make(chan struct{}, 1),
		tidy:    make(chan struct{}, 1),
		closing: make(chan struct{}),
	}
	s.archive.Store(new([]*idArchive))
	if err := s.recover(); err != nil {
		return nil, errors.Join(err, s.closeFiles())
	}
	s.background.Go(s.commitAlways)
	s.background.Go(s.keepAlways)
	return s, nil
}

// Guarantees says that what was acknowledged as done survives the process and the machine's power.
func (s *IDs) Guarantees() once.Guarantees {
	return once.Guarantees{
		Store:    "disk ids",
		Crash:    once.Survives,
		Power:    once.Survives,
		Failover: once.NotApplicable,
		Notes: []string{
			"This is said of ids that are done. A claim ends with the process: its id is dealt with again.",
			"The directory is one machine's and one process's; send all copies of an id to the same process.",
		},
	}
}

// IDStats are what a store of ids has.
type IDStats struct {
	IDs     int64 // that are done
	Claims  int64 // that are being dealt with
	Buckets int
	Disk    int64 // bytes of files
	Memory  int64 // bytes of tables, filters and claims, roughly
}

// Stats returns what the store has.
func (s *IDs) Stats() IDStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats := IDStats{Claims: int64(len(s.claims)), Memory: int64(len(s.claims)) * 64}
	for _, b := range s.young {
		stats.IDs += b.table.count
		stats.Memory += b.table.bytes()
		stats.Disk += b.disk
		stats.Buckets++
	}
	for _, a := range *s.archive.Load() {
		stats.IDs += a.count
		stats.Memory += a.memory()
		stats.Disk += a.disk()
		stats.Buckets++
	}
	return stats
}

// Close makes what was begun durable and gives the directory free. Calls that follow return
// [once.ErrClosed].
func (s *IDs) Close() error {
	s.once.Do(func() {
		s.mu.Lock()
		s.closed = true
		s.mu.Unlock()
		close(s.closing)
		s.background.Wait()
		var err error
		if failed := s.broken.Load(); failed != nil {
			err = *failed
		}
		s.err = errors.Join(err, s.closeFiles())
	})
	return s.err
}

func (s *IDs) closeFiles() error {
	var errs []error
	for _, b := range s.young {
		errs = append(errs, b.log.f.Close())
	}
	for _, a := range *s.archive.Load() {
		errs = append(errs, a.f.Close())
	}
	return errors.Join(append(errs, s.lock.Close())...)
}

// usable reports why nothing can be done, or nil. The mutex must be held.
func (s *IDs) usable(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.broken.Load(); err != nil {
		return *err
	}
	if s.closed {
		return once.ErrClosed
	}
	return nil
}

// recover reads what the directory has.
func (s *IDs) recover() error {
	names, err := s.vol.Names()
	if err != nil {
		return fmt.Errorf("oncedisk: cannot read the directory: %w", err)
	}
	if s.seed, err = s.identify(names); err != nil {
		return err
	}
	return s.load(names)
}

func isBucket(name string) bool {
	return isIDFile(name, idLogSuffix) || isIDFile(name, idArchiveSuffix)
}

// checkIDNames refuses a directory with files in it that are not the store's.
func checkIDNames(v volume, names []string) error {
	for _, name := range names {
		if !isBucket(name) && name != idFormat.file && name != lockName && !isTemp(name) {
			return fmt.Errorf("oncedisk: %s is not the store's; "+
				"give the ids a directory of their own", v.Path(name))
		}
	}
	return nil
}

// identify returns the seed of the directory, which is made one of ids if it is empty.
func (s *IDs) identify(names []string) (seed, error) {
	key, err := idFormat.read(s.vol)
	switch {
	case !errors.Is(err, fs.ErrNotExist):
		return key, err
	case slices.ContainsFunc(names, isBucket):
		return key, &DamageError{File: s.vol.Path(idFormat.file), Reason: "the file is missing"}
	}
	return idFormat.create(s.vol)
}
