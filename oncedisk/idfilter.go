package oncedisk

import (
	"encoding/binary"
	"math/bits"
)

// An idFilter says of most ids that are not in a set that they are new. It never says so of one
// that is in it, and of those it cannot tell it says nothing: about 1 in 700.
//
// It is a split block Bloom filter, with 16 bits for each id in blocks of a half cache line, so
// that a question costs at most one miss (F. Putze, P. Sanders and J. Singler, "Cache-, Hash- and
// Space-Efficient Bloom Filters", 2007; the constants are those of the Parquet format). The ids
// are digests: their bits serve as the hash.
type idFilter []idBlock

type idBlock [8]uint32

const (
	idBlockSize = 32
	idsPerBlock = idBlockSize * 8 / 16
)

var idSalts = [8]uint32{
	0x47b6137b, 0x44974d91, 0x8824ad5b, 0xa2b7289d, 0x705495c7, 0x2df1424b, 0x9efc4947, 0x5c6bfb31,
}

func newIDFilter(count int64) idFilter { return make(idFilter, (count+idsPerBlock-1)/idsPerBlock) }

// block returns the block of an id, chosen by its tail: the heads of neighbours are alike.
func (f idFilter) block(tail uint64) *idBlock {
	n, _ := bits.Mul64(tail, uint64(len(f)))
	return &f[n]
}

func (f idFilter) add(d id) {
	tail := d.tail()
	b, key := f.block(tail), uint32(tail)
	for i := range b {
		b[i] |= 1 << (key * idSalts[i] >> 27)
	}
}

// isNew reports whether the id is certainly not in the set.
func (f idFilter) isNew(d id) bool {
	if len(f) == 0 {
		return true
	}
	tail := d.tail()
	b, key := f.block(tail), uint32(tail)
	for i := range b {
		if b[i]&(1<<(key*idSalts[i]>>27)) == 0 {
			return true
		}
	}
	return false
}

func (f idFilter) encode(b []byte) []byte {
	for i := range f {
		for _, word := range f[i] {
			b = binary.LittleEndian.AppendUint32(b, word)
		}
	}
	return b
}

func decodeIDFilter(b []byte) idFilter {
	f := make(idFilter, len(b)/idBlockSize)
	for i := range f {
		for j := range f[i] {
			f[i][j] = binary.LittleEndian.Uint32(b[i*idBlockSize+j*4:])
		}
	}
	return f
}
