package oncedisk

import (
	"encoding/binary"
	"hash/crc32"
	"io"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
)

// An idArchive is the file of a bucket that takes no more ids. After the header it has all ids
// in order, in pages that each end with a checksum; then the index: the start of each page, and
// the filter. The index is kept in memory, the ids are not: most questions end at the filter,
// and the others cost one page.
type idArchive struct {
	idHeader
	f      file
	path   string
	starts []uint64 // head of each page's first id
	filter idFilter
	gone   atomic.Bool // the bucket is over, and the file may be gone
}

const idsPerPage = (page - 4) / idSize

func idPages(count int64) int64 { return (count + idsPerPage - 1) / idsPerPage }

// writeIDArchive writes what an archive has, and returns it but for its file.
func writeIDArchive(f file, h idHeader, t *idTable) (*idArchive, error) {
	a := &idArchive{idHeader: h, f: f, filter: newIDFilter(h.count)}
	w := archiveWriter{f: f, at: idHeaderSize}
	var shard []id
	for first := range t.shards {
		shard = t.sorted(first, shard)
		for _, d := range shard {
			a.filter.add(d)
			if w.ids == 0 {
				a.starts = append(a.starts, d.head())
			}
			w.add(d)
		}
	}
	w.endPage()
	w.flush()
	index := make([]byte, 0, 8*len(a.starts)+idBlockSize*len(a.filter)+4)
	for _, start := range a.starts {
		index = binary.LittleEndian.AppendUint64(index, start)
	}
	index = a.filter.encode(index)
	index = binary.LittleEndian.AppendUint32(index, crc32.Checksum(index, castagnoli))
	w.buf = index
	w.flush()
	if w.err == nil {
		_, w.err = f.WriteAt(h.encode(), 0)
	}
	return a, w.err
}

// An archiveWriter writes pages of ids, many at once.
type archiveWriter struct {
	f   file
	at  int64
	buf []byte
	ids int // in the page that is being filled
	err error
}

func (w *archiveWriter) add(d id) {
	w.buf = append(w.buf, d[:]...)
	if w.ids++; w.ids == idsPerPage {
		w.endPage()
	}
}

func (w *archiveWriter) endPage() {
	if w.ids == 0 {
		return
	}
	w.buf = append(w.buf, make([]byte, (idsPerPage-w.ids)*idSize+page-4-idsPerPage*idSize)...)
	w.buf = binary.LittleEndian.AppendUint32(w.buf, crc32.Checksum(w.buf[len(w.buf)-page+4:], castagnoli))
	w.ids = 0
	if len(w.buf) >= 64*page {
		w.flush()
	}
}

func (w *archiveWriter) flush() {
	if w.err == nil {
		_, w.err = w.f.WriteAt(w.buf, w.at)
	}
	w.at += int64(len(w.buf))
	w.buf = w.buf[:0]
}

// openIDArchive reads the header and the index of an archive.
func openIDArchive(f file, path string) (*idArchive, error) {
	h, err := readIDHeader(f, path)
	if err != nil {
		return nil, err
	}
	a := &idArchive{idHeader: h, f: f, path: path}
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	pages := idPages(h.count)
	blocks := (h.count + idsPerBlock - 1) / idsPerBlock
	from := idHeaderSize + pages*page
	length := 8*pages + idBlockSize*blocks + 4
	if size != from+length {
		return nil, &DamageError{File: path, Offset: min(size, from), Reason: "the archive is not as long as it should be"}
	}
	b := make([]byte, length)
	if _, err := f.ReadAt(b, from); err != nil && err != io.EOF {
		return nil, err
	}
	if crc32.Checksum(b[:length-4], castagnoli) != binary.LittleEndian.Uint32(b[length-4:]) {
		return nil, &DamageError{File: path, Offset: from, Reason: "the index is damaged"}
	}
	a.starts = make([]uint64, pages)
	for i := range a.starts {
		a.starts[i] = binary.LittleEndian.Uint64(b[8*i:])
	}
	a.filter = decodeIDFilter(b[8*pages : length-4])
	return a, nil
}

var idPageBuffers = sync.Pool{New: func() any { return new([page]byte) }}

// has reports whether the id is in the archive.
func (a *idArchive) has(d id) (bool, error) {
	if a.filter.isNew(d) {
		return false, nil
	}
	head := d.head()
	// The last page that starts at or before the id, and those before it that start alike.
	at := sort.Search(len(a.starts), func(i int) bool { return a.starts[i] > head }) - 1
	for ; at >= 0; at-- {
		found, err := a.pageHas(int64(at), d)
		if found || err != nil || a.starts[at] < head {
			return found, err
		}
	}
	return false, nil
}

// pageHas looks for the id in one page.
func (a *idArchive) pageHas(n int64, d id) (bool, error) {
	b := idPageBuffers.Get().(*[page]byte)
	defer idPageBuffers.Put(b)
	offset := idHeaderSize + n*page
	_, err := a.f.ReadAt(b[:], offset)
	switch {
	case a.gone.Load():
		return false, nil // whatever was read, the bucket is over
	case err != nil:
		return false, err
	case crc32.Checksum(b[:page-4], castagnoli) != binary.LittleEndian.Uint32(b[page-4:]):
		return false, &DamageError{File: a.path, Offset: offset, Reason: "a page is damaged"}
	}
	ids := int(min(idsPerPage, a.count-n*idsPerPage))
	at := sort.Search(ids, func(i int) bool { return compareIDs(id(b[i*idSize:(i+1)*idSize]), d) >= 0 })
	return at < ids && slices.Equal(b[at*idSize:(at+1)*idSize], d[:]), nil
}

// memory returns about how many bytes of memory the archive takes.
func (a *idArchive) memory() int64 { return int64(8*len(a.starts) + idBlockSize*len(a.filter)) }

// disk returns how long the file is.
func (a *idArchive) disk() int64 { return idHeaderSize + idPages(a.count)*page + a.memory() + 4 }
