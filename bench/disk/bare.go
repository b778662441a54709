package main

import (
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
)

// A bare is the least that a durable log can be: records are copied into a batch under a mutex,
// one committer writes the batch and flushes it, and everybody in the batch goes on. It keeps what
// it writes, in segments that are filled with zeros beforehand, as a store must. It has no
// checksums, no index, no keys and no way to read anything back: it is what the disk allows.
type bare struct {
	dir  string
	size int64

	mu    sync.Mutex
	batch *bareBatch
	idle  bool
	done  bool

	wake    chan struct{}
	next    chan *os.File
	closing chan struct{}
	stopped sync.WaitGroup
}

type bareBatch struct {
	buf  []byte
	done chan struct{}
}

func openBare(dir string, size int64) (*bare, error) {
	b := &bare{dir: dir, size: size, wake: make(chan struct{}, 1), next: make(chan *os.File),
		closing: make(chan struct{})}
	b.batch = &bareBatch{done: make(chan struct{})}
	first, err := b.prepare(0)
	if err != nil {
		return nil, err
	}
	b.stopped.Go(b.prepareAlways)
	b.stopped.Go(func() { b.commitAlways(first) })
	return b, nil
}

// append returns when the record is durable.
func (b *bare) append(record []byte) {
	b.mu.Lock()
	batch := b.batch
	batch.buf = append(batch.buf, record...)
	if b.idle {
		b.idle = false
		b.wake <- struct{}{}
	}
	b.mu.Unlock()
	<-batch.done
}

func (b *bare) commitAlways(f *os.File) {
	var offset int64
	var spare []byte
	for {
		b.mu.Lock()
		for len(b.batch.buf) == 0 {
			if b.done {
				b.mu.Unlock()
				f.Close()
				return
			}
			b.idle = true
			b.mu.Unlock()
			<-b.wake
			b.mu.Lock()
		}
		batch := b.batch
		b.batch = &bareBatch{buf: spare[:0], done: make(chan struct{})}
		b.mu.Unlock()
		if offset+int64(len(batch.buf)) > b.size {
			f.Close()
			f, offset = <-b.next, 0
		}
		n, err := f.WriteAt(batch.buf, offset)
		must(err)
		must(syscall.Fdatasync(int(f.Fd())))
		offset += int64(n)
		spare = batch.buf
		close(batch.done)
	}
}

func (b *bare) prepareAlways() {
	for n := 1; ; n++ {
		f, err := b.prepare(n)
		must(err)
		select {
		case b.next <- f:
		case <-b.closing:
			f.Close()
			return
		}
	}
}

func (b *bare) close() {
	b.mu.Lock()
	b.done = true
	if b.idle {
		b.idle = false
		b.wake <- struct{}{}
	}
	b.mu.Unlock()
	close(b.closing)
	b.stopped.Wait()
}

// prepare fills a segment with zeros, in pieces.
func (b *bare) prepare(n int) (*os.File, error) {
	f, err := os.Create(filepath.Join(b.dir, strconv.Itoa(n)))
	if err != nil {
		return nil, err
	}
	piece := make([]byte, 1<<20)
	for at := int64(0); at < b.size; at += int64(len(piece)) {
		if _, err := f.WriteAt(piece, at); err != nil {
			return nil, err
		}
		if err := syscall.Fdatasync(int(f.Fd())); err != nil {
			return nil, err
		}
	}
	return f, f.Sync()
}
