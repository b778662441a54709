package check

import (
	"encoding/binary"
	"errors"
	"math/bits"

	"github.com/oncehq/once"
)

// A digest is a 128-bit hash of a state. Two states with the same digest are taken to be the same
// state. Of n states some two collide by chance with probability n²/2¹²⁹: for a thousand million
// states less than one in 10²⁰.
type digest struct{ a, b uint64 }

// add mixes a word into the digest: two lanes of multiply-and-fold with different constants, the
// construction of wyhash (github.com/wangyi-fudan/wyhash).
func (d *digest) add(x uint64) {
	hi, lo := bits.Mul64(d.a^x^0xa0761d6478bd642f, 0xe7037ed1a0b428db)
	d.a = hi ^ lo ^ d.b
	hi, lo = bits.Mul64(d.b^x^0x8ebc6af09c88c6e3, 0x589965cc75374cc3)
	d.b = hi ^ lo ^ bits.RotateLeft64(d.a, 23)
}

func (d *digest) addString(s string) {
	d.add(uint64(len(s)))
	for len(s) > 0 {
		var word [8]byte
		s = s[copy(word[:], s):]
		d.add(binary.LittleEndian.Uint64(word[:]))
	}
}

func (d *digest) addBool(b bool) {
	if b {
		d.add(1)
	} else {
		d.add(0)
	}
}

func (d *digest) addDigest(o digest) {
	d.add(o.a)
	d.add(o.b)
}

func (d *digest) addOutcome(o outcome) {
	d.addBool(o.failed)
	d.addString(o.mediaType)
	d.addString(o.data)
}

// addEntry mixes an entry in. Instants count from now, since nothing depends on anything else.
func (d *digest) addEntry(w *world, e *entry, now instant) {
	d.add(uint64(e.phase) | e.given<<8)
	if e.phase == absent {
		return
	}
	d.add(uint64(w.owners.id(e.owner)) | uint64(e.attempt)<<8 | e.fence<<32)
	left := now.until(e.ends)
	if e.forget == 0 {
		left = max(left, 0) // it does not matter for how long it has been in doubt
	}
	d.add(uint64(left))
	d.add(uint64(e.forget))
	d.addFingerprint(e.fingerprint)
	if e.phase == done {
		d.addOutcome(e.outcome)
	}
}

func (d *digest) addFingerprint(fp once.Fingerprint) {
	d.add(binary.LittleEndian.Uint64(fp[:8]))
	d.add(binary.LittleEndian.Uint64(fp[8:16]))
}

// addReply mixes in what a process learns from a reply. It is a program whose next step depends
// on nothing but what it was told, so that the digest of that stands for its state.
func (d *digest) addReply(w *world, r *request) {
	d.add(uint64(r.caller.index))
	d.add(uint64(r.verb) | uint64(r.ending)<<8 | errorCode(r.err)<<16 | uint64(r.rec.State)<<24 |
		uint64(w.owners.id(r.rec.Owner))<<32 | uint64(r.rec.Attempt)<<40)
	if r.rec.State != 0 {
		d.add(r.rec.Fence)
		d.add(uint64(r.rec.Lease))
		d.add(uint64(r.rec.Retention))
		d.addFingerprint(r.rec.Fingerprint)
		d.addOutcome(outcomeOf(r.rec.Outcome))
	}
}

// digest returns the digest of all that the rest of the history, and the verdict on it, depend on.
func (w *world) digest() digest {
	var d digest
	now := w.clock()
	for i := range w.entries {
		d.addEntry(w, &w.entries[i], now)
		if w.sc.mutant.lag {
			d.addEntry(w, &w.durable[i], now)
		}
		d.addLedger(w, &w.ledgers[i])
	}
	for _, c := range w.callers {
		d.addCaller(w, c)
	}
	d.addLate(w)
	for _, n := range [...]int{
		w.left.misfortunes, w.left.faults, w.left.late, w.left.crashes, w.left.expiries,
		w.left.retirements, w.left.hangUps, w.left.operators, w.left.partings, w.left.powerCuts,
		w.left.endings,
		w.left.renewals, w.left.passes,
	} {
		d.add(uint64(n))
	}
	return d
}

func (d *digest) addLedger(w *world, l *ledger) {
	d.add(uint64(l.generation) | uint64(l.effects(l.generation))<<16 | l.fence<<32)
	for _, g := range l.grants {
		id := w.owners.id(g.owner)
		if c := int(id>>8) - 1; c < len(w.callers) && w.callers[c].process.lives() {
			d.add(uint64(id) | uint64(g.number)<<16 | uint64(g.generation)<<32 | uint64(g.effects)<<40 |
				uint64(l.effects(g.generation))<<48)
		}
	}
}

// addCaller mixes in a caller. One that will never do anything again is like any other such.
func (d *digest) addCaller(w *world, c *caller) {
	if c.started && !c.process.lives() {
		d.add(1)
		return
	}
	d.addBool(c.started)
	d.addBool(c.hungUp)
	d.addBool(c.process.cut)
	d.addBool(c.touched != w.touches)
	d.addDigest(c.process.trace)
	for _, a := range c.asking {
		d.add(uint64(a.key) | uint64(w.owners.id(a.holds.owner))<<16)
		d.addBool(a.busy)
		d.addBool(a.doubt)
		d.addBool(a.differs)
		d.addBool(a.failed)
		d.add(uint64(len(a.may)))
		for _, v := range a.may {
			d.addString(v)
		}
	}
}

// addLate mixes in the requests under way. Their order does not matter.
func (d *digest) addLate(w *world) {
	var all digest
	for _, r := range w.late {
		var one digest
		one.add(uint64(r.verb) | uint64(r.key)<<8 | uint64(w.owners.id(r.owner))<<16)
		one.add(uint64(r.lasting))
		one.addOutcome(r.outcome)
		one.addFingerprint(r.claim.Fingerprint)
		all.a += one.a
		all.b += one.b
	}
	d.addDigest(all)
}

func errorCode(err error) uint64 {
	if err == nil {
		return 0
	}
	for i, known := range [...]error{
		errUnknown, once.ErrLost, once.ErrMismatch, once.ErrNotFound, once.ErrInFlight,
		once.ErrInDoubt, once.ErrFull, once.ErrTooLarge, once.ErrRolledBack, once.ErrClosed,
	} {
		if errors.Is(err, known) {
			return uint64(i) + 1
		}
	}
	return 255
}

// owners gives owners, which are random, names that are the same in every history: the caller
// that made the claim, and how many claims it had made before.
type owners struct {
	nonces []once.Owner
	names  []ownerID
}

// An ownerID is 256·(1 + caller) + the number of the caller's owner. Zero: none.
type ownerID uint16

// nobody is the id of an owner that no caller has claimed with.
const nobody ownerID = 1<<16 - 1

func (o *owners) id(nonce once.Owner) ownerID {
	if nonce == (once.Owner{}) {
		return 0
	}
	for i := range o.nonces {
		if o.nonces[i] == nonce {
			return o.names[i]
		}
	}
	return nobody
}

// name returns the owner's id, and gives it one if a claim by this caller is its first.
func (o *owners) name(nonce once.Owner, c *caller) ownerID {
	if id := o.id(nonce); id != nobody {
		return id
	}
	id := ownerID((1+c.index)<<8 | c.owners&0xff)
	c.owners++
	o.nonces = append(o.nonces, nonce)
	o.names = append(o.names, id)
	return id
}
