package oncetest

import (
	"time"

	"github.com/oncehq/once"
)

var mismatching = []property{
	{"a fingerprint that does not match must get ErrMismatch and the zero Record", mismatchRefused, 0},
	{"a fingerprint that does not match must get no takeover", mismatchTakeover, leases},
	{"a fingerprint that does not match is refused to the owner as well", mismatchOwner, leases},
	{"the zero fingerprint is not compared", fingerprintZero, 0},
	{"a takeover does not change the fingerprint", fingerprintKept, leases},
	{"fingerprints that differ in one bit do not match", fingerprintBits, 0},
}

// mismatches makes a claim for something else, which must be refused.
func (x *trial) mismatches(c once.Claim) {
	x.Helper()
	rec, err := x.store.Claim(x.ctx, c)
	x.fails(once.ErrMismatch, err, "claim with another fingerprint")
	if zero := (once.Record{}); rec.Key != zero.Key || rec.Owner != zero.Owner || rec.State != 0 ||
		rec.Fingerprint != zero.Fingerprint || !rec.Outcome.Equal(zero.Outcome) || rec.Fence != 0 ||
		rec.Attempt != 0 || rec.Lease != 0 || rec.Retention != 0 || !rec.Created.IsZero() {
		x.Errorf("a claim with another fingerprint was shown %s, want the zero Record", describe(rec))
	}
}

// elsewise returns a claim on the same key for something else.
func (x *trial) elsewise(c once.Claim) once.Claim {
	other := x.claimOn(c.Key)
	other.Fingerprint = once.FingerprintOf([]byte("something else"))
	return other
}

func mismatchRefused(x *trial) {
	for _, s := range x.standing() {
		c := x.record(s)
		x.untouched(c.Key, func() { x.mismatches(x.elsewise(c)) })
	}
}

func mismatchTakeover(x *trial) {
	c := x.record(once.InDoubt)
	x.untouched(c.Key, func() {
		other := x.elsewise(c)
		other.Takeover, other.Forget, other.Lease = 100, time.Nanosecond, 2*long
		x.mismatches(other)
	})
}

func mismatchOwner(x *trial) {
	for _, s := range x.standing() {
		c := x.record(s)
		x.untouched(c.Key, func() {
			other := x.elsewise(c)
			other.Owner = c.Owner
			x.mismatches(other)
		})
	}
}

func fingerprintZero(x *trial) {
	for _, s := range x.standing() {
		c := x.record(s)
		x.untouched(c.Key, func() {
			any := x.claimOn(c.Key)
			any.Fingerprint = once.Fingerprint{}
			if got := x.stands(any); got.State != s || got.Fingerprint != c.Fingerprint {
				x.Errorf("a claim without a fingerprint was shown %s, want it %v", describe(got), s)
			}
		})
	}
	c := x.newClaim()
	c.Fingerprint = once.Fingerprint{}
	x.winsAnew(c)
	x.completes(c, x.outcome(), long)
	x.untouched(c.Key, func() {
		if got := x.stands(x.elsewise(c)); got.State != once.Done {
			x.Errorf("a claim on a record without a fingerprint was shown %s, want it done", describe(got))
		}
	})
}

func fingerprintKept(x *trial) {
	c := x.record(once.InDoubt)
	any := x.claimOn(c.Key)
	any.Fingerprint, any.Takeover = once.Fingerprint{}, 2
	x.wins(any)
	x.untouched(c.Key, func() {
		x.mismatches(x.elsewise(c))
		if got := x.stands(x.claimOn(c.Key)); got.Fingerprint != c.Fingerprint {
			x.Error("the takeover changed the fingerprint")
		}
	})
}

func fingerprintBits(x *trial) {
	c := x.record(once.Done)
	x.untouched(c.Key, func() {
		for _, i := range []int{0, 7, 8, 15, 16, 31} {
			other := x.claimOn(c.Key)
			other.Fingerprint = c.Fingerprint
			other.Fingerprint[i] ^= 0x80
			x.mismatches(other)
		}
	})
}
