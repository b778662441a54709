package oncedisk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/oncehq/once"
)

// A Report says what is in a store's directory.
type Report struct {
	Segments int
	Bytes    int64 // of all files
	Entries  int   // in the segments, dead ones included

	// Records by state. Those that are over but not yet deleted are counted apart.
	InFlight, InDoubt, Done, Over int

	// Unfinished is whether the log ends with a batch that was being written when the process
	// or the machine stopped. It was not acknowledged, and opening the store removes it.
	Unfinished bool

	// Rescans are the segments without a valid hint. Opening the store scans them, which takes
	// longer but loses nothing.
	Rescans int

	// Damage lists the stretches of acknowledged data that cannot be read. A record whose
	// latest entry is in one may be missing, or be shown in an earlier state.
	Damage []*DamageError
}

// Err returns the damage as an error, or nil if there is none.
func (r Report) Err() error {
	var errs []error
	for _, d := range r.Damage {
		errs = append(errs, d)
	}
	return errors.Join(errs...)
}

// Check reads all of a store that no process has open, and reports what is in it. It changes
// nothing in the directory. The error says why the store could not be checked; damage is not an
// error but part of the report.
func Check(dir string) (Report, error) {
	v, err := openDirectory(dir, false)
	if err != nil {
		return Report{}, fmt.Errorf("oncedisk: cannot open the directory: %w", err)
	}
	return check(v)
}

func check(v volume) (Report, error) {
	sv, err := openSurvey(v)
	if err != nil {
		return Report{}, err
	}
	defer sv.close()
	if err := sv.run(); err != nil {
		return Report{}, err
	}
	err = sv.count(func(reading) error { return nil })
	return sv.report, err
}

// Salvage makes a new store in newDir, which must be empty or not exist, of every record of the
// store in dir that can be read. It changes nothing in dir. The report is that of [Check].
//
// Where a record's latest entry is damaged, an earlier one counts: an operation that was done may
// be in doubt. Where all of its entries are damaged, the operation is absent and may happen again.
func Salvage(dir, newDir string) (Report, error) {
	from, err := openDirectory(dir, false)
	if err != nil {
		return Report{}, fmt.Errorf("oncedisk: cannot open the directory: %w", err)
	}
	to, err := openDirectory(newDir, true)
	if err != nil {
		return Report{}, fmt.Errorf("oncedisk: cannot make the new directory: %w", err)
	}
	return salvage(from, to, Config{Dir: newDir, SegmentSize: DefaultSegmentSize})
}

func salvage(from, to volume, cfg Config) (Report, error) {
	sv, err := openSurvey(from)
	if err != nil {
		return Report{}, err
	}
	defer sv.close()
	if err := sv.run(); err != nil {
		return Report{}, err
	}
	err = sv.copyTo(to, cfg)
	return sv.report, err
}

// A survey replays a store without changing it, past whatever is damaged.
type survey struct {
	store  *Store // has no log
	lock   io.Closer
	list   []*segment
	replay *replay
	report Report
}

func openSurvey(v volume) (*survey, error) {
	seed, err := recordFormat.read(v)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("oncedisk: %s is missing; this is not a store's directory: %w", v.Path(recordFormat.file), err)
	}
	if err != nil {
		return nil, err
	}
	sv := &survey{store: &Store{vol: v, seed: seed, hashKey: seed.hash}}
	sv.replay = &replay{store: sv.store}
	sv.lock, err = takeLock(v, false)
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // a backup may lack the lock file
		return nil, err
	}
	return sv, nil
}

func (sv *survey) close() {
	for _, seg := range sv.list {
		seg.f.Close()
	}
	if sv.lock != nil {
		sv.lock.Close()
	}
}

func (sv *survey) lost(d *DamageError) { sv.report.Damage = append(sv.report.Damage, d) }

// run reads everything.
func (sv *survey) run() error {
	if err := sv.open(); err != nil {
		return err
	}
	sv.store.segments = newSegments(sv.list)
	tails := make(map[*segment]tail)
	for _, seg := range sv.list {
		t, err := sv.scan(seg)
		if err != nil {
			return err
		}
		tails[seg] = t
		sv.report.Unfinished = sv.report.Unfinished || t.dirty && !t.sealed
	}
	if _, err := lastUsed(sv.store.vol, sv.list, tails); err != nil {
		d, ok := errors.AsType[*DamageError](err)
		if !ok {
			return err
		}
		sv.lost(d)
	}
	for _, g := range sv.replay.gone {
		sv.store.shard(g.hash).table.remove(g.hash, g.loc)
	}
	return nil
}

// open opens the segments, and adds up the files.
func (sv *survey) open() error {
	v := sv.store.vol
	names, err := v.Names()
	if err != nil {
		return err
	}
	for _, name := range names {
		f, err := v.Open(name, false)
		if err != nil {
			return err
		}
		size, err := f.Size()
		f.Close()
		if err != nil {
			return err
		}
		sv.report.Bytes += size
		number, ok := parseNumber(name, segmentSuffix)
		if !ok {
			continue
		}
		sv.report.Segments++
		seg, err := openSegment(v, number, sv.store.seed, false)
		if d, ok := errors.AsType[*DamageError](err); ok {
			sv.lost(d)
			continue
		}
		if err != nil {
			return err
		}
		sv.list = append(sv.list, seg)
	}
	return nil
}

func (sv *survey) scan(seg *segment) (tail, error) {
	sv.replay.reach(seg.created, seg.stamp)
	t, err := sv.store.scanRefsPast(seg, sv.lost, func(r ref, e *entry) error {
		sv.report.Entries++
		sv.replay.reach(e.at, e.stamp)
		return sv.replay.put(seg, &r, e.claim)
	})
	if err != nil {
		return t, err
	}
	if !t.sealed {
		err = whole(sv.store.vol, seg)
		if d, ok := errors.AsType[*DamageError](err); ok {
			sv.lost(d)
			err = nil
		}
		return t, err
	}
	h, err := readHint(sv.store.vol, seg)
	if h == nil || !sv.replay.fits(seg, h) {
		sv.report.Rescans++
	}
	return t, err
}

// count calls f with every record, and counts them.
func (sv *survey) count(f func(r reading) error) error {
	now := newClock(sv.replay.latest, 0).now()
	for i := range sv.store.shards {
		for _, at := range sv.store.shards[i].table.slots {
			if at.loc == 0 {
				continue
			}
			r, err := sv.replay.read(at.loc)
			if err != nil {
				return err
			}
			sv.tell(&r.entry, now)
			if err := f(r); err != nil {
				return err
			}
			r.free()
		}
	}
	return nil
}

func (sv *survey) tell(e *entry, now instant) {
	switch {
	case e.over(now):
		sv.report.Over++
	case e.state(now) == once.InFlight:
		sv.report.InFlight++
	case e.state(now) == once.InDoubt:
		sv.report.InDoubt++
	default:
		sv.report.Done++
	}
}

// copyTo writes every record to a new store.
func (sv *survey) copyTo(to volume, cfg Config) (err error) {
	names, err := to.Names()
	if err != nil {
		return err
	}
	if len(names) > 0 {
		return fmt.Errorf("oncedisk: %s is not empty; name a new directory", to.Path("."))
	}
	for _, seg := range sv.list {
		cfg.SegmentSize = max(cfg.SegmentSize, seg.size)
	}
	if err := cfg.check(); err != nil {
		return err
	}
	s, err := open(to, cfg, origin{latest: sv.replay.latest, stamp: sv.replay.stamp})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	var last ticket
	err = sv.count(func(r reading) error {
		if last, err = s.adopt(&r.entry); err != nil {
			return err
		}
		if s.log.backlog() {
			<-last.done
		}
		return nil
	})
	if last.batch != nil {
		<-last.done
		err = errors.Join(err, last.err)
	}
	return err
}

// adopt appends a record as it is, and puts it into the index. Nobody else may use the store.
func (s *Store) adopt(e *entry) (ticket, error) {
	e.first, e.claim = 0, 0
	hash, buf := s.hashKey(e.key), e.encode(nil)
	t, err := s.log.append(context.Background(), note{e, buf, hash, int64(len(buf))}, nil)
	if err != nil {
		return ticket{}, err
	}
	sh := s.shard(hash)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.table.insert(hash, t.loc)
	t.seg.add(e, t.size)
	t.seg.pending.Add(-1)
	return t, nil
}
