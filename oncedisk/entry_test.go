package oncedisk

import (
	"bytes"
	"encoding/binary"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/oncehq/once"
)

func entries() []entry {
	long := once.Key{Scope: strings.Repeat("s", once.MaxScope), ID: strings.Repeat("\xff", once.MaxID)}
	open := entry{
		kind: kindOpen, key: once.Key{Scope: "a", ID: "b"}, owner: once.Owner{1, 2, 3},
		created: 1_700_000_000_000_000_123, at: 1_700_000_001_000_000_456,
		stamp: 1_700_000_001_000_007, fence: 1_700_000_000_000_000, attempt: 3, first: 7,
		lease: 10 * time.Second, forget: once.Forever,
	}
	done := open
	done.kind, done.key, done.lease, done.forget = kindDone, long, 0, 0
	done.fingerprint = once.FingerprintOf([]byte("x"))
	done.retention = once.Forever
	done.outcome = once.Outcome{Failed: true, Type: strings.Repeat("t", 255), Data: make([]byte, 1000)}
	end := entry{kind: kindEnd, claim: 1<<30 - 8, at: 99, stamp: 12, retention: 1,
		outcome: once.Outcome{Data: []byte("paid")}}
	gone := entry{kind: kindGone, key: long, stamp: math.MaxUint64 >> 1, first: 1<<36 - 1, until: never}
	return []entry{open, done, end, gone, {kind: kindMark, at: 5}, {kind: kindSeal, at: never}}
}

func TestEntriesAreReadAsTheyWereWritten(t *testing.T) {
	t.Parallel()
	for _, e := range entries() {
		b := e.encode(nil)
		place(b, 77, 4096, true)
		got, n, err := decode(append(b, "what follows"...), 77, 4096)
		if err != nil || n != len(b) || n%8 != 0 {
			t.Fatalf("kind %d: %d of %d bytes were read, error %v", e.kind, n, len(b), err)
		}
		if len(got.outcome.Data) == 0 {
			got.outcome.Data = e.outcome.Data
		}
		if !reflect.DeepEqual(got, e) {
			t.Errorf("kind %d: got %+v, want %+v", e.kind, got, e)
		}
		if _, first := frame(b); !first {
			t.Error("the entry does not say that it starts a batch")
		}
	}
}

func TestEntriesAreValidInOnePlaceOnly(t *testing.T) {
	t.Parallel()
	for _, e := range entries() {
		b := e.encode(nil)
		place(b, 77, 4096, false)
		if _, _, err := decode(b, 78, 4096); err != errChecksum {
			t.Errorf("kind %d in another segment: error %v", e.kind, err)
		}
		if _, _, err := decode(b, 77, 4104); err != errChecksum {
			t.Errorf("kind %d at another offset: error %v", e.kind, err)
		}
		for i := range 8 * len(b) {
			c := bytes.Clone(b)
			c[i/8] ^= 1 << (i % 8)
			if _, _, err := decode(c, 77, 4096); err == nil {
				t.Fatalf("kind %d: bit %d was changed, and nobody noticed", e.kind, i)
			}
		}
	}
}

// Whatever bytes are decoded, it is refused or read, and what was read is written the same again.
func FuzzDecode(f *testing.F) {
	for _, e := range entries() {
		b := e.encode(nil)
		place(b, 1, 64, true)
		f.Add(b, true)
		f.Add(b, false)
	}
	f.Add([]byte{}, false)
	f.Add(make([]byte, 64), false)
	f.Fuzz(func(t *testing.T, b []byte, mend bool) {
		b = bytes.Clone(b)
		if mend && len(b) > entryHeader { // make the checksum right, to get at the body
			b = b[:len(b)&^7]
			if len(b) == entryHeader {
				return
			}
			binary.LittleEndian.PutUint32(b, uint32(len(b)-entryHeader))
			seal(b)
			place(b, 1, 64, true)
		}
		e, n, err := decode(b, 1, 64)
		if err != nil {
			return
		}
		if n > len(b) || n < entryHeader {
			t.Fatalf("%d bytes were read of %d", n, len(b))
		}
		again := e.encode(nil)
		place(again, 1, 64, true)
		twice, _, err := decode(again, 1, 64)
		if err != nil || !reflect.DeepEqual(e, twice) {
			t.Fatalf("%+v was read again as %+v, error %v", e, twice, err)
		}
	})
}

// What looks for entries behind a damaged one takes none for an entry that is larger.
func TestEntriesAreNoLargerThanTheirBound(t *testing.T) {
	t.Parallel()
	const far = instant(1) << 62
	e := entry{
		kind: kindDone, fingerprint: once.Fingerprint{1}, owner: once.NewOwner(),
		key:     once.Key{Scope: strings.Repeat("s", once.MaxScope), ID: strings.Repeat("i", once.MaxID)},
		created: -far, at: far - 1, stamp: 1 << 63, fence: 1, attempt: math.MaxInt, first: 1 << numberBits,
		retention: once.Forever, outcome: once.Outcome{Type: strings.Repeat("t", 255), Data: make([]byte, 5000)},
	}
	if n := len(e.encode(nil)) - len(e.outcome.Data); n > entryOverhead {
		t.Errorf("an entry has %d bytes beside its outcome, and its bound is %d", n, entryOverhead)
	}
}
