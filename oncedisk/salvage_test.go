package oncedisk

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/oncehq/once"
)

// A scratched volume cannot read one page of one file, as a disk with a bad sector.
type scratched struct {
	volume
	name string
	page int64
}

func (v scratched) Open(name string, writable bool) (file, error) {
	f, err := v.volume.Open(name, writable)
	if err == nil && name == v.name {
		f = scratchedFile{f, v.page * page}
	}
	return f, err
}

type scratchedFile struct {
	file
	from int64
}

func (f scratchedFile) ReadAt(b []byte, offset int64) (int, error) {
	if offset >= f.from+page || offset+int64(len(b)) <= f.from {
		return f.file.ReadAt(b, offset)
	}
	n, err := f.file.ReadAt(b[:max(0, f.from-offset)], offset)
	if err != nil && !errors.Is(err, io.EOF) {
		return n, err
	}
	return n, syscall.EIO
}

// What is to be saved lies on a disk that fails: a sector that cannot be read costs what is in it.
func TestSalvageReadsPastBadSectors(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8 / min(slowdown, 3)) {
		synctest.Test(t, func(t *testing.T) {
			h, m := newHistory(t, seed), newMemory()
			h.steady = true
			s := quiet().on(t, m, nil)
			for range 300 {
				if err := h.run(s); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			dice := rand.New(rand.NewPCG(seed, 13))
			list := s.segments.list()
			var bad *segment
			for bad == nil || bad.end < 3*page {
				bad = list[dice.IntN(len(list))]
			}
			v := scratched{m, segmentName(bad.number), dice.Int64N(bad.end/page - 1)}
			if seed == 0 {
				v.page = 0 // with the header
			}
			to := newMemory()
			report, err := salvage(v, to, quiet())
			if err != nil {
				t.Fatalf("page %d of %s cannot be read: %v", v.page, v.name, err)
			}
			if len(report.Damage) == 0 {
				t.Error("it is not reported as damage")
			}
			saved := quiet().on(t, to, nil)
			whole, wrong := 0, 0
			for k, b := range h.known {
				rec, err := saved.Load(context.Background(), k)
				switch {
				case b.differs(rec, err) == nil:
					whole++
				case rec.State == once.Done:
					wrong++
				}
			}
			if v.page > 0 && whole < len(h.known)*3/4 || wrong > 0 {
				t.Errorf("of %d records %d are whole, and %d done that should not be", len(h.known), whole, wrong)
			}
		})
	}
}
