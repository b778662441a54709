//go:build linux

package powercut

import (
	"math/rand/v2"
	"slices"
)

const (
	pageSize   = 4096
	sectorSize = 512 // what a disk writes whole or not at all
)

type page [pageSize]byte

// A content is that of a file. A page that is nil is all zeros, and so is what the last page has
// beyond the size.
type content struct {
	size  int64
	pages []*page
}

// A file has the content that programs see, and the one that is safe. A page that both share
// never changes again.
type file struct{ now, safe content }

func pagesOf(size int64) int { return int((size + pageSize - 1) / pageSize) }

func (c *content) page(i int) *page {
	if i < len(c.pages) {
		return c.pages[i]
	}
	return nil
}

func (c *content) read(buf []byte, off int64) int {
	if off >= c.size {
		return 0
	}
	buf = buf[:min(int64(len(buf)), c.size-off)]
	for done := 0; done < len(buf); {
		at := off + int64(done)
		part := buf[done:min(len(buf), done+pageSize-int(at%pageSize))]
		if p := c.page(int(at / pageSize)); p != nil {
			copy(part, p[at%pageSize:])
		} else {
			clear(part)
		}
		done += len(part)
	}
	return len(buf)
}

// own returns a page of the present content that may be changed.
func (f *file) own(i int) *page {
	p := f.now.pages[i]
	switch {
	case p == nil:
		p = new(page)
	case p == f.safe.page(i):
		changed := *p
		p = &changed
	}
	f.now.pages[i] = p
	return p
}

func (f *file) write(data []byte, off int64) {
	if end := off + int64(len(data)); end > f.now.size {
		f.truncate(end)
	}
	for len(data) > 0 {
		n := copy(f.own(int(off / pageSize))[off%pageSize:], data)
		data, off = data[n:], off+int64(n)
	}
}

func (f *file) truncate(size int64) {
	if size < f.now.size {
		f.zero(size, f.now.size-size)
	}
	n := pagesOf(size)
	if n <= len(f.now.pages) {
		clear(f.now.pages[n:])
		f.now.pages = f.now.pages[:n]
	} else {
		f.now.pages = append(f.now.pages, make([]*page, n-len(f.now.pages))...)
	}
	f.now.size = size
}

// zero clears n bytes, as far as the file has them.
func (f *file) zero(off, n int64) {
	for end := min(off+n, f.now.size); off < end; {
		i := int(off / pageSize)
		part := min(end-off, pageSize-off%pageSize)
		switch {
		case part == pageSize:
			f.now.pages[i] = nil
		case f.now.pages[i] != nil:
			clear(f.own(i)[off%pageSize : off%pageSize+part])
		}
		off += part
	}
}

// sync makes the whole file safe.
func (f *file) sync() { f.safe = content{f.now.size, slices.Clone(f.now.pages)} }

// syncRange makes the pages safe that have bytes in the range, and the size if it must reach there.
func (f *file) syncRange(off, n int64) {
	first, end := int(off/pageSize), pagesOf(off+n)
	if len(f.safe.pages) < end {
		f.safe.pages = append(f.safe.pages, make([]*page, end-len(f.safe.pages))...)
	}
	copy(f.safe.pages[first:end], f.now.pages[first:end])
	f.safe.size = max(f.safe.size, off+n)
}

// kept returns the file as it is after a cut.
func (f *file) kept(chance *rand.Rand) file {
	c := f.safe
	if chance != nil {
		c = f.torn(chance)
	}
	c.pages = slices.Clone(c.pages[:min(len(c.pages), pagesOf(c.size))])
	c.pages = append(c.pages, make([]*page, pagesOf(c.size)-len(c.pages))...)
	if used := c.size % pageSize; used != 0 && c.pages[len(c.pages)-1] != nil {
		last := *c.pages[len(c.pages)-1]
		clear(last[used:])
		c.pages[len(c.pages)-1] = &last
	}
	return file{now: c, safe: content{c.size, slices.Clone(c.pages)}}
}

// torn returns the safe content together with some of what was written after it: of what was
// overwritten any pages or sectors, of what was appended the beginning.
func (f *file) torn(chance *rand.Rand) content {
	size := f.safe.size
	switch grown := f.now.size - f.safe.size; {
	case grown > 0:
		size += chance.Int64N(grown + 1)
	case grown < 0 && chance.IntN(2) == 0:
		size = f.now.size
	}
	c := content{size, make([]*page, pagesOf(size))}
	for i := range c.pages {
		was, is := f.safe.page(i), f.now.page(i)
		if was == is {
			c.pages[i] = was
			continue
		}
		c.pages[i] = f.tornPage(i, size, chance)
	}
	return c
}

func (f *file) tornPage(i int, size int64, chance *rand.Rand) *page {
	var p, is page
	if was := f.safe.page(i); was != nil {
		p = *was
	}
	if now := f.now.page(i); now != nil {
		is = *now
	}
	fate := chance.IntN(4)
	for s := 0; s < pageSize; s += sectorSize {
		appended := size > f.safe.size && int64(i)*pageSize+int64(s)+sectorSize > f.safe.size
		if appended || fate == 0 || fate == 1 && chance.IntN(2) == 0 {
			copy(p[s:s+sectorSize], is[s:])
		}
	}
	return &p
}
