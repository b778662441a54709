package oncedisk

import (
	"math/rand/v2"
	"testing"
)

// countingFile counts what is read from it.
type countingFile struct {
	file
	read int64
}

func (f *countingFile) ReadAt(b []byte, offset int64) (int, error) {
	n, err := f.file.ReadAt(b, offset)
	f.read += int64(n)
	return n, err
}

// A batch that was not finished may be megabytes of anything, and is searched for what would make
// it damage. That must not take much longer than to read it.
func TestUnfinishedBatchesAreReadAboutOnce(t *testing.T) {
	t.Parallel()
	const size, unfinished = 4 << 20, 128 << 10
	f, err := newMemory().Create("segment")
	if err != nil {
		t.Fatal(err)
	}
	seg := &segment{number: 1, use: useLog, size: size, f: f, end: segmentHeader}
	b := make([]byte, size)
	copy(b, seg.header())
	dice := rand.New(rand.NewPCG(1, 9))
	for i := range unfinished {
		b[segmentHeader+i] = byte(1 + dice.IntN(255))
	}
	if _, err := f.WriteAt(b, 0); err != nil {
		t.Fatal(err)
	}
	counted := &countingFile{file: f}
	seg.f = counted
	sc := &scanning{seg: seg}
	found, err := sc.run(func(int64, *entry, int64) error { return nil })
	if err != nil || !found.dirty || found.end != segmentHeader {
		t.Errorf("the scan found %+v, error %v", found, err)
	}
	if counted.read > 10*size {
		t.Errorf("%d bytes were read of a file of %d", counted.read, size)
	}
}
