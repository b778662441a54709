package callkey

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"sync/atomic"
	"time"
)

// A Source makes new keys: UUIDs of version 7 (RFC 9562 section 5.7), from which a server can
// tell how old a retry is. Each is greater than those before it. The zero value is ready for use
// by any number of goroutines at once.
type Source struct {
	last atomic.Uint64 // the time of the latest key: 48 bits of milliseconds, 12 bits of their fraction
}

// New returns a new key. The fraction of the millisecond is where RFC 9562 section 6.2 has it
// in its method 3. While the clock stands still or goes back, it is counted on.
func (s *Source) New() string {
	now := time.Now()
	at := uint64(now.UnixMilli())<<12 | uint64(now.Nanosecond()%1e6)<<12/1e6
	for {
		last := s.last.Load()
		at = max(at, last+1)
		if s.last.CompareAndSwap(last, at) {
			break
		}
	}
	var u [16]byte
	rand.Read(u[8:]) // never fails, see crypto/rand
	binary.BigEndian.PutUint64(u[:8], at>>12<<16|0x7000|at&0xfff)
	u[8] = u[8]&0x3f | 0x80
	text := make([]byte, 0, 36)
	for i, part := range [][]byte{u[0:4], u[4:6], u[6:8], u[8:10], u[10:16]} {
		if i > 0 {
			text = append(text, '-')
		}
		text = hex.AppendEncode(text, part)
	}
	return string(text)
}
