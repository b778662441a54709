package oncenats

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/oncehq/once"
)

// A record is the last message of its subject. What the message says besides the outcome is in one
// header, so that records can be listed without their outcomes: base64url of
//
//	kind         1  'C' claimed, 'D' done, 'F' done: failed, 'R' removed
//	owner       16
//	fingerprint     0 if it is zero; else 1, and 32 bytes
//	attempt         uvarint
//	fence           uvarint; 0: the sequence number of this message
//	created         uvarint: server's clock, in µs since 1970
//	term            uvarint: the lease, if claimed, else the retention, in µs; the largest
//	                number is for ever
//	forget          uvarint: Claim.Forget in the same way; 0: never
//	scope           length as uvarint, and the bytes
//	id              the same
//	type            the rest: the outcome's
//
// A term begins at the message's timestamp, which the server sets. The outcome's data is the
// message's payload. Of a message that says that the record was removed only the kind is there.
const (
	headerRecord = "Once-Record"

	claimed    = 'C'
	done       = 'D'
	doneFailed = 'F'
	removed    = 'R'

	maxType = 255
	forever = math.MaxUint64
)

// An entry is a record as it is stored.
type entry struct {
	kind    byte
	rec     once.Record   // without State, Lease and Retention, which depend on the time
	term    time.Duration // of the lease or the retention, from at on
	forget  time.Duration
	seq     uint64 // of the message
	at      time.Time
	payload []byte
}

var errDamaged = fmt.Errorf("oncenats: the message has not the form of a record: %w", once.ErrUnreadable)

// subject returns the name of the record: digests of its scope and of its key, in an alphabet that
// has a meaning nowhere in subjects. The first makes it possible to list one scope; where two
// scopes share it, the whole key, which is in the record, tells them apart.
func (t Target) subject(k once.Key) string {
	digest := k.Digest()
	return t.subjects() + scopeToken(k.Scope) + "." + base64.RawURLEncoding.EncodeToString(digest[:])
}

func scopeToken(scope string) string {
	digest := once.FingerprintOf([]byte(scope))
	return base64.RawURLEncoding.EncodeToString(digest[:6])
}

// encode returns the value of the header.
func (e *entry) encode() string {
	if e.kind == removed {
		return base64.RawURLEncoding.EncodeToString([]byte{removed})
	}
	var stack [1024]byte
	b := append(stack[:0], e.kind)
	b = append(b, e.rec.Owner[:]...)
	if fp := e.rec.Fingerprint; fp == (once.Fingerprint{}) {
		b = append(b, 0)
	} else {
		b = append(append(b, 1), fp[:]...)
	}
	b = binary.AppendUvarint(b, uint64(e.rec.Attempt))
	b = binary.AppendUvarint(b, e.rec.Fence)
	b = binary.AppendUvarint(b, uint64(e.rec.Created.UnixMicro()))
	b = binary.AppendUvarint(b, micros(e.term))
	b = binary.AppendUvarint(b, micros(e.forget))
	for _, part := range []string{e.rec.Key.Scope, e.rec.Key.ID} {
		b = binary.AppendUvarint(b, uint64(len(part)))
		b = append(b, part...)
	}
	b = append(b, e.rec.Outcome.Type...)
	return base64.RawURLEncoding.EncodeToString(b)
}

// micros returns d in whole microseconds, rounded up.
func micros(d time.Duration) uint64 {
	if d == once.Forever {
		return forever
	}
	n := uint64(max(d, 0) / time.Microsecond)
	if d%time.Microsecond > 0 {
		n++
	}
	return n
}

// decode reads a message of which the header says this.
func decode(header string, seq uint64, at time.Time, payload []byte) (*entry, error) {
	b, err := base64.RawURLEncoding.DecodeString(header)
	if err != nil || len(b) == 0 {
		return nil, errDamaged
	}
	e := &entry{kind: b[0], seq: seq, at: at, payload: payload}
	if e.kind == removed {
		return e, nil
	}
	if e.kind != claimed && e.kind != done && e.kind != doneFailed {
		return nil, errDamaged
	}
	r := reader{rest: b[1:]}
	copy(e.rec.Owner[:], r.bytes(uint64(len(e.rec.Owner))))
	if r.uvarint() == 1 {
		copy(e.rec.Fingerprint[:], r.bytes(uint64(len(e.rec.Fingerprint))))
	}
	e.rec.Attempt = int(r.uvarint())
	e.rec.Fence = r.uvarint()
	if e.rec.Fence == 0 {
		e.rec.Fence = seq
	}
	e.rec.Created = time.UnixMicro(int64(r.uvarint()))
	e.term = r.duration()
	e.forget = r.duration()
	e.rec.Key.Scope = string(r.bytes(r.uvarint()))
	e.rec.Key.ID = string(r.bytes(r.uvarint()))
	if r.short || e.rec.Key.Check() != nil {
		return nil, errDamaged
	}
	if e.kind != claimed {
		e.rec.Outcome = once.Outcome{Failed: e.kind == doneFailed, Type: string(r.rest), Data: payload}
	}
	return e, nil
}

// A reader takes a record's header apart.
type reader struct {
	rest  []byte
	short bool // there was less than was asked for
}

func (r *reader) bytes(n uint64) []byte {
	if uint64(len(r.rest)) < n {
		r.short, r.rest = true, nil
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.short, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *reader) duration() time.Duration {
	v := r.uvarint()
	if v > uint64(once.Forever/time.Microsecond) {
		return once.Forever
	}
	return time.Duration(v) * time.Microsecond
}

// record returns what the entry says at this moment by the server's clock, or false if it is
// over, which is as good as absent.
func (e *entry) record(now time.Time) (once.Record, bool) {
	rec, left := e.rec, e.left(now)
	switch {
	case e.kind == removed:
		return once.Record{}, false
	case e.kind != claimed:
		rec.State, rec.Retention = once.Done, left
		return rec, left > 0
	case left > 0:
		rec.State = once.InFlight
	default:
		rec.State = once.InDoubt
	}
	rec.Lease = left
	return rec, true
}

// left returns what is left of the term; it is negative if the term is over.
func (e *entry) left(now time.Time) time.Duration {
	if e.term == once.Forever {
		return once.Forever
	}
	return e.term - max(now.Sub(e.at), 0)
}

// ttl returns how long the server has to keep the message, in seconds, or 0 for ever. It is never
// shorter than the record may be needed. What is over the server may keep a little longer; nobody
// takes it for anything else.
func (e *entry) ttl() int64 {
	const removal = 1 // the shortest there is
	keep := e.term
	switch e.kind {
	case removed:
		return removal
	case claimed:
		if e.forget == 0 || e.forget == once.Forever || keep > once.Forever-e.forget {
			return 0
		}
		keep += e.forget
	}
	if keep > longest {
		return 0
	}
	return int64(keep/time.Second) + 2
}

// longest is how long the server is told to keep a message at most: its own arithmetic is in
// nanoseconds since 1970.
const longest = 100 * 365 * 24 * time.Hour
