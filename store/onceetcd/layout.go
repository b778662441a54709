package onceetcd

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/oncehq/once"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// A record is up to four keys, whose names differ in their ends only. What each says is in the
// package documentation. The letters are in the order in which a range yields the keys.
const (
	claimKey   = "c" // who owns the operation; there as long as the record
	flightKey  = "f" // there while the operation is in flight
	outcomeKey = "o" // there when it is done
	afterKeys  = "p"
)

// What the values of these keys hold. All begin with the version of the layout. Numbers are
// big-endian; durations are in nanoseconds.
//
//	claim    version, owner 16, fingerprint 32, forget 8, attempt 4, fence 8, created 8
//	flight   version, lasts 8, excess 8
//	outcome  version, lasts 8, excess 8, flags 1, length of the type 1, type, data
//
// The fence is zero in a first attempt: then it is the revision in which the key was created.
// Lasts is the lease or retention that was asked for, and excess by how much longer the etcd lease
// was going to last that the key is attached to.
const (
	version = 1

	offOwner       = 1
	offFingerprint = offOwner + 16
	offForget      = offFingerprint + 32
	offAttempt     = offForget + 8
	offFence       = offAttempt + 4
	offCreated     = offFence + 8
	claimSize      = offCreated + 8

	offLasts    = 1
	offExcess   = offLasts + 8
	flightSize  = offExcess + 8
	offFlags    = flightSize
	offTypeLen  = offFlags + 1
	outcomeSize = offTypeLen + 1

	failed byte = 1 << 0
	apart  byte = 1 << 1 // the data is in a key of its own
)

// inlineData is the size up to which an outcome's data is kept in the outcome's own key. More is
// kept apart, so that whoever lists records need not be sent it.
const inlineData = 4 << 10

var errDamaged = fmt.Errorf("onceetcd: the value has not the form of a record: %w", once.ErrUnreadable)

// names are the names of a record's keys.
type names struct{ claim, flight, outcome, data, end string }

// namesOf returns the names of the record's keys. The lengths keep records apart, whatever bytes
// their keys have: no name begins with another record's.
func namesOf(prefix string, k once.Key) names {
	rest := scopeName(k.Scope) + strconv.Itoa(len(k.ID)) + ":" + k.ID + "/"
	base := prefix + "r/" + rest
	return names{
		claim:   base + claimKey,
		flight:  base + flightKey,
		outcome: base + outcomeKey,
		end:     base + afterKeys,
		data:    prefix + "d/" + rest,
	}
}

func scopeName(scope string) string { return strconv.Itoa(len(scope)) + ":" + scope }

// parseName is the inverse of namesOf for what follows the prefix and "r/". It reports false if
// that is not of this form.
func parseName(name string) (k once.Key, kind string, ok bool) {
	take := func() (s string) {
		digits, rest, found := strings.Cut(name, ":")
		n, err := strconv.Atoi(digits)
		if ok = ok && found && err == nil && n > 0 && n <= len(rest) && strconv.Itoa(n) == digits; ok {
			s, name = rest[:n], rest[n:]
		}
		return s
	}
	ok = true
	k.Scope, k.ID = take(), take()
	kind, slash := strings.CutPrefix(name, "/")
	return k, kind, ok && slash && len(kind) == 1 && k.Check() == nil
}

// A record is what a record's keys hold.
type record struct {
	once.Record
	revision int64 // in which the claim's key was written last
	seenAt   int64 // the revision of the store in which the record was read
	forget   time.Duration
	lease    clientv3.LeaseID // that the claim's key is attached to; 0: none
	end      ending           // of the lease or of the retention
	apart    bool             // the outcome's data is in a key of its own
}

// An ending is what is known of when a key ends.
type ending struct {
	lease         clientv3.LeaseID // that the key is attached to; 0: none
	lasts, excess time.Duration
}

// decode reads a record from its keys. The zero State means that there is none.
func decode(k once.Key, kvs []*mvccpb.KeyValue) (record, error) {
	rec := record{Record: once.Record{Key: k}}
	for _, kv := range kvs {
		ok := len(kv.Value) > 0 && kv.Value[0] == version
		switch string(kv.Key[len(kv.Key)-1:]) {
		case claimKey:
			if ok = ok && len(kv.Value) == claimSize; ok {
				rec.readClaim(kv)
			}
		case flightKey:
			if ok = ok && len(kv.Value) == flightSize; ok {
				rec.State, rec.end = once.InFlight, readEnding(kv)
			}
		case outcomeKey:
			ok = ok && rec.readOutcome(kv)
		}
		if !ok {
			return rec, errDamaged
		}
	}
	switch {
	case rec.Attempt > 0, rec.State == 0:
		return rec, nil
	case rec.State == once.InFlight:
		// The claim was forgotten just before its lease was renewed, which was in vain.
		return record{Record: once.Record{Key: k}}, nil
	}
	return rec, errDamaged // there is an outcome, but no claim
}

func (r *record) readClaim(kv *mvccpb.KeyValue) {
	v := kv.Value
	r.State = once.InDoubt // unless another key says otherwise
	r.Owner = once.Owner(v[offOwner:])
	r.Fingerprint = once.Fingerprint(v[offFingerprint:])
	r.Attempt = int(binary.BigEndian.Uint32(v[offAttempt:]))
	r.Fence = binary.BigEndian.Uint64(v[offFence:])
	if r.Fence == 0 {
		r.Fence = uint64(kv.CreateRevision)
	}
	r.Created = time.UnixMicro(int64(binary.BigEndian.Uint64(v[offCreated:])))
	r.forget = time.Duration(binary.BigEndian.Uint64(v[offForget:]))
	r.revision = kv.ModRevision
	r.lease = clientv3.LeaseID(kv.Lease)
}

func (r *record) readOutcome(kv *mvccpb.KeyValue) bool {
	v := kv.Value
	if len(v) < outcomeSize || len(v) < outcomeSize+int(v[offTypeLen]) {
		return false
	}
	r.State, r.end = once.Done, readEnding(kv)
	data := outcomeSize + int(v[offTypeLen])
	r.Outcome = once.Outcome{
		Failed: v[offFlags]&failed != 0,
		Type:   string(v[outcomeSize:data]),
		Data:   v[data:],
	}
	r.apart = v[offFlags]&apart != 0
	return true
}

func readEnding(kv *mvccpb.KeyValue) ending {
	return ending{
		lease:  clientv3.LeaseID(kv.Lease),
		lasts:  time.Duration(binary.BigEndian.Uint64(kv.Value[offLasts:])),
		excess: time.Duration(binary.BigEndian.Uint64(kv.Value[offExcess:])),
	}
}

// encodeClaim returns the value of a claim's key. The owner is in front, so that it can be
// compared: see ownedBy.
func encodeClaim(r *record) string {
	b := make([]byte, 0, claimSize)
	b = append(append(b, version), r.Owner[:]...)
	b = append(b, r.Fingerprint[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(r.forget))
	b = binary.BigEndian.AppendUint32(b, uint32(r.Attempt))
	b = binary.BigEndian.AppendUint64(b, r.Fence)
	b = binary.BigEndian.AppendUint64(b, uint64(r.Created.UnixMicro()))
	return string(b)
}

func encodeFlight(e ending) string {
	return string(appendEnding(make([]byte, 0, flightSize), e))
}

func appendEnding(b []byte, e ending) []byte {
	b = append(b, version)
	b = binary.BigEndian.AppendUint64(b, uint64(e.lasts))
	return binary.BigEndian.AppendUint64(b, uint64(e.excess))
}

// encodeOutcome returns the value of an outcome's key, and that of the key for its data if it
// has one.
func encodeOutcome(out once.Outcome, e ending) (value, data string) {
	var flags byte
	if out.Failed {
		flags |= failed
	}
	inline := out.Data
	if len(out.Data) > inlineData {
		flags, inline, data = flags|apart, nil, string(out.Data)
	}
	b := make([]byte, 0, outcomeSize+len(out.Type)+len(inline))
	b = append(appendEnding(b, e), flags, byte(len(out.Type)))
	b = append(b, out.Type...)
	return string(append(b, inline...)), data
}

// ownedBy are the conditions under which o may change the operation: it owns the claim, and there
// is no outcome. Values are compared as a whole, but those that begin with the version and the
// owner are exactly those between the two.
func (n names) ownedBy(o once.Owner) []clientv3.Cmp {
	return append(n.claimedBy(o), clientv3.Compare(clientv3.CreateRevision(n.outcome), "=", 0))
}

func (n names) claimedBy(o once.Owner) []clientv3.Cmp {
	first := append([]byte{version}, o[:]...)
	return []clientv3.Cmp{
		clientv3.Compare(clientv3.Value(n.claim), ">", string(first)),
		clientv3.Compare(clientv3.Value(n.claim), "<", clientv3.GetPrefixRangeEnd(string(first))),
	}
}

// get reads the record's keys, and that for its data.
func (n names) get() []clientv3.Op {
	return []clientv3.Op{clientv3.OpGet(n.claim, clientv3.WithRange(n.end)), clientv3.OpGet(n.data)}
}

// remove removes the record's keys, but that for its data.
func (n names) remove() clientv3.Op { return clientv3.OpDelete(n.claim, clientv3.WithRange(n.end)) }
