package onceredis

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/oncehq/once"
	"github.com/redis/rueidis"
)

// A record is one string. What the scripts know of it as numbers, Lua's counting from 1, is this:
//
//	state        1  'C' claimed, 'D' done, 'F' done: failed
//	waited       1  '1' if somebody wants to be told of the claim's end, else '0'
//	fingerprint 32
//	owner       16
//	forget       8  Claim.Forget in µs; 0: never
//	attempt      4
//	fence        8
//	created      8  server's clock, in µs since 1970
//	ends         8  of the lease: server's clock, in µs since 1970
//	type         1  its length, and then the type; none when claimed
//	data            the rest
//
// All numbers are unsigned and big-endian. None is larger than 2^53-1, which is what Lua's
// numbers hold exactly, and stands for never.
const (
	offWaited      = 1
	offFingerprint = 2
	offOwner       = offFingerprint + 32
	offForget      = offOwner + 16
	offAttempt     = offForget + 8
	offFence       = offAttempt + 4
	offCreated     = offFence + 8
	offEnds        = offCreated + 8
	offType        = offEnds + 8
	minRecord      = offType + 1

	claimed    = 'C'
	done       = 'D'
	doneFailed = 'F'

	maxType = 255
	never   = 1<<53 - 1
)

// micros returns d in whole microseconds, rounded up.
func micros(d time.Duration) int64 {
	n := int64(max(d, 0) / time.Microsecond)
	if d%time.Microsecond > 0 {
		n++
	}
	return n
}

// millis returns d as the time to live of a key: in milliseconds, rounded up, at least 1; or 0,
// which is none, if d is Forever.
func millis(d time.Duration) int64 {
	if d == once.Forever {
		return 0
	}
	n := int64(max(d, 0) / time.Millisecond)
	if d%time.Millisecond > 0 || n == 0 {
		n++
	}
	return n
}

// claimTTL returns the time to live of a claim's key: none, or as long as it may be in flight and
// in doubt. A claim is never gone before that.
func claimTTL(lease, forget time.Duration) int64 {
	if forget <= 0 || forget > once.Forever-lease {
		return 0
	}
	return millis(lease + forget)
}

// appendHead appends the part of a new record that its claim decides.
func appendHead(b []byte, c once.Claim) []byte {
	b = append(b, claimed, '0')
	b = append(b, c.Fingerprint[:]...)
	b = append(b, c.Owner[:]...)
	forget := int64(0)
	if c.Forget < once.Forever {
		forget = micros(c.Forget)
	}
	return binary.BigEndian.AppendUint64(b, uint64(forget))
}

var errDamaged = fmt.Errorf("onceredis: the value has not the form of a record: %w", once.ErrUnreadable)

// decode reads a record, which keeps v. The clock is what the scripts return beside it: the key's
// time to live in ms if it is done, and else the server's time in µs.
func decode(k once.Key, v []byte, clock int64) (once.Record, error) {
	if len(v) < minRecord || len(v) < minRecord+int(v[offType]) {
		return once.Record{}, errDamaged
	}
	rec := once.Record{
		Key:         k,
		Fingerprint: once.Fingerprint(v[offFingerprint:]),
		Owner:       once.Owner(v[offOwner:]),
		Attempt:     int(binary.BigEndian.Uint32(v[offAttempt:])),
		Fence:       binary.BigEndian.Uint64(v[offFence:]),
		Created:     time.UnixMicro(int64(binary.BigEndian.Uint64(v[offCreated:]))),
	}
	switch v[0] {
	case claimed:
		rec.Lease = remaining(int64(binary.BigEndian.Uint64(v[offEnds:])), clock)
		rec.State = once.InFlight
		if rec.Lease <= 0 {
			rec.State = once.InDoubt
		}
		return rec, nil
	case done, doneFailed:
		rec.State = once.Done
		rec.Retention = once.Forever
		if clock >= 0 {
			// The server has rounded up: this much is left for sure.
			rec.Retention = time.Duration(max(clock-1, 0)) * time.Millisecond
		}
		end := minRecord + int(v[offType])
		rec.Outcome = once.Outcome{
			Failed: v[0] == doneFailed,
			Type:   rueidis.BinaryString(v[minRecord:end]), // shares v, as Data does
			Data:   v[end:],
		}
		return rec, nil
	}
	return once.Record{}, errDamaged
}

func remaining(ends, now int64) time.Duration {
	if ends >= never {
		return once.Forever
	}
	return time.Duration(ends-now) * time.Microsecond
}

// keyName returns the name of the record's key in Redis. The length of the scope keeps keys
// apart, whatever bytes they have.
//
// The braces are for Redis Cluster, which picks a key's slot by what is within the first pair,
// unless that is empty (Redis Cluster specification, "Hash tags"): callers who put braces into
// their ids cannot crowd one slot.
func keyName(prefix string, k once.Key) string {
	var b strings.Builder
	b.Grow(len(prefix) + len("{}:255::") + len(k.Scope) + len(k.ID))
	b.WriteString(prefix)
	b.WriteString("{}:")
	b.WriteString(strconv.Itoa(len(k.Scope)))
	b.WriteByte(':')
	b.WriteString(k.Scope)
	b.WriteByte(':')
	b.WriteString(k.ID)
	return b.String()
}

// parseName is the inverse of keyName. It reports false if the name is not of this form.
func parseName(prefix, name string) (once.Key, bool) {
	rest, found := strings.CutPrefix(name, prefix+"{}:")
	digits, rest, cut := strings.Cut(rest, ":")
	n, err := strconv.Atoi(digits)
	if !found || !cut || err != nil || n < 1 || n > once.MaxScope || len(rest) < n+2 || rest[n] != ':' {
		return once.Key{}, false
	}
	k := once.Key{Scope: rest[:n], ID: rest[n+1:]}
	return k, k.Check() == nil && keyName(prefix, k) == name
}

// pattern returns the glob-style pattern of SCAN for all records, or those of one scope.
func pattern(prefix, scope string) string {
	p := escapeGlob(prefix) + "{}:"
	if scope != "" {
		p += strconv.Itoa(len(scope)) + ":" + escapeGlob(scope) + ":"
	}
	return p + "*"
}

var globEscaper = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`, `^`, `\^`)

func escapeGlob(s string) string { return globEscaper.Replace(s) }

// takeoverLimit returns the claim's takeover as an attempt that fits the record.
func takeoverLimit(takeover int) int64 { return min(int64(takeover), math.MaxUint32-1) }
