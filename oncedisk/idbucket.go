package oncedisk

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// isTemp reports whether the name is that of a file that was never finished.
func isTemp(name string) bool {
	base, ok := strings.CutSuffix(name, tempSuffix)
	return ok && (base == idFormat.file || isIDFile(base, idLogSuffix) || isIDFile(base, idArchiveSuffix))
}

// load reads the buckets. Of one that was archived when the store was closed or killed, the log may
// be there as well; it is not needed any more.
func (s *IDs) load(names []string) error {
	slices.Sort(names)
	var latest instant
	for _, name := range names {
		switch {
		case isTemp(name):
			if err := s.vol.Remove(name); err != nil {
				return err
			}
		case isIDFile(name, idArchiveSuffix):
			f, err := s.vol.Open(name, true)
			if err != nil {
				return err
			}
			a, err := openIDArchive(f, s.vol.Path(name))
			if err != nil {
				return errors.Join(err, f.Close())
			}
			s.addArchive(a)
			latest = max(latest, a.end) // it was over when it was archived
		}
	}
	for _, name := range names {
		archived := strings.TrimSuffix(name, idLogSuffix) + idArchiveSuffix
		switch {
		case !isIDFile(name, idLogSuffix):
		case slices.Contains(names, archived):
			if err := s.vol.Remove(name); err != nil {
				return err
			}
		default:
			b, err := s.openBucket(name)
			if err != nil {
				return err
			}
			s.young = append(s.young, b)
			latest = max(latest, b.start)
		}
	}
	for i, b := range s.young {
		if b.full = i < len(s.young)-1; b.full {
			latest = max(latest, b.end)
		}
	}
	s.clock = newClock(latest, 0)
	s.tidySoon()
	return nil
}

// openBucket reads the log of a bucket.
func (s *IDs) openBucket(name string) (*idBucket, error) {
	f, err := s.vol.Open(name, true)
	if err != nil {
		return nil, err
	}
	path := s.vol.Path(name)
	h, err := readIDHeader(f, path)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	b := &idBucket{idPeriod: h.idPeriod}
	b.log = &idLog{f: f, path: path, salt: s.seed.salt(uint64(h.start))}
	if err := b.log.replay(func(d id) { b.table.add(d) }); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	// What a process that was killed had not flushed yet is done from now on.
	if err := b.log.mend(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	b.disk = b.log.size
	return b, nil
}

// makeBucket makes the bucket that takes ids from now on.
func (s *IDs) makeBucket(now instant) (*idBucket, error) {
	b := &idBucket{}
	b.start, b.end = now, now.plus(max(s.cfg.Window/time.Duration(s.cfg.Buckets), 1))
	name := b.name(idLogSuffix)
	f, err := createIDFile(s.vol, name, func(f file) error {
		_, err := f.WriteAt(idHeader{idPeriod: b.idPeriod}.encode(), 0)
		return err
	})
	if err != nil {
		return nil, err
	}
	b.log = &idLog{
		f: f, path: s.vol.Path(name), salt: s.seed.salt(uint64(b.start)),
		end: idHeaderSize, size: idHeaderSize,
	}
	b.disk = b.log.size
	return b, nil
}

// addArchive makes the archive known. The mutex must be held, or nobody know the store yet.
func (s *IDs) addArchive(a *idArchive) {
	list := append(slices.Clone(*s.archive.Load()), a)
	s.archive.Store(&list)
}

func (s *IDs) tidySoon() {
	select {
	case s.tidy <- struct{}{}:
	default:
	}
}

// keepRetry is how long a disk that was full is left alone.
const keepRetry = time.Second

// keepAlways archives buckets that are full, and removes those that are over. An archive that could
// not be written is put off, each time for twice as long: it takes much writing to find out.
func (s *IDs) keepAlways() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	retry := keepRetry
	for {
		select {
		case <-s.closing:
			return
		case <-s.tidy:
		case <-timer.C:
		}
		next, err := s.keep(s.clock.now())
		wait := time.Duration(next - s.clock.now())
		if err != nil {
			s.cfg.Log.Error("oncedisk: ids are kept in memory and in logs, since an archive cannot be written",
				"dir", s.cfg.Dir, "err", err)
			wait, retry = retry, min(2*retry, sweepRetryMost)
		} else {
			retry = keepRetry
		}
		timer.Reset(max(wait, time.Millisecond))
	}
}

// keep does what is to be done by now, and returns when there will be more.
func (s *IDs) keep(now instant) (next instant, err error) {
	next = now.plus(time.Hour)
	for _, a := range *s.archive.Load() {
		if a.over(now, s.cfg.Window) {
			s.dropArchive(a)
		} else {
			next = min(next, a.end.plus(s.cfg.Window))
		}
	}
	s.mu.Lock()
	young := slices.Clone(s.young)
	s.mu.Unlock()
	for _, b := range young {
		s.mu.Lock()
		full := b.full
		s.mu.Unlock()
		switch {
		case !full:
		case b.over(now, s.cfg.Window) || b.table.count == 0:
			s.dropBucket(b, nil)
		default:
			a, err := s.archiveBucket(b)
			if err != nil {
				return next, err
			}
			s.dropBucket(b, a)
			next = min(next, a.end.plus(s.cfg.Window))
		}
	}
	return next, nil
}

// archiveBucket writes the archive of a bucket that is full: its table does not change any more.
func (s *IDs) archiveBucket(b *idBucket) (*idArchive, error) {
	name := b.name(idArchiveSuffix)
	var a *idArchive
	_, err := createIDFile(s.vol, name, func(f file) (err error) {
		a, err = writeIDArchive(f, idHeader{b.idPeriod, b.table.count}, &b.table)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("oncedisk: %w", err)
	}
	a.path = s.vol.Path(name)
	return a, nil
}

// dropBucket forgets a bucket that is full, for an archive of it if that is not nil.
func (s *IDs) dropBucket(b *idBucket, a *idArchive) {
	s.mu.Lock()
	if a != nil {
		s.addArchive(a)
	}
	s.young = slices.DeleteFunc(slices.Clone(s.young), func(y *idBucket) bool { return y == b })
	s.mu.Unlock()
	b.log.f.Close()
	s.removeFile(b.name(idLogSuffix))
}

// dropArchive forgets a bucket that is over.
func (s *IDs) dropArchive(a *idArchive) {
	s.mu.Lock()
	list := slices.DeleteFunc(slices.Clone(*s.archive.Load()), func(x *idArchive) bool { return x == a })
	s.archive.Store(&list)
	s.mu.Unlock()
	a.gone.Store(true)
	// Questions may still be reading from the file, so it is closed when nobody has it any more.
	// Its space is given back now, if its name is surely gone: an empty archive would be damage.
	if s.removeFile(a.name(idArchiveSuffix)) && s.vol.Sync() == nil {
		a.f.Truncate(0)
	}
}

// removeFile reports whether the file is removed. If not, that is left to the next process.
func (s *IDs) removeFile(name string) bool {
	err := s.vol.Remove(name)
	if err != nil {
		s.cfg.Log.Error("oncedisk: a file of ids that are over was not removed", "file", s.vol.Path(name), "err", err)
	}
	return err == nil
}
