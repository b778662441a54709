package once

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// Limits of a [Key], in bytes.
const (
	MaxScope = 255
	MaxID    = 512
)

// A Key names an operation: what must happen once. Two keys name the same operation if and only
// if both of their parts are equal byte for byte; nothing is normalised.
//
// Neither part needs to be text: every byte may occur in both.
type Key struct {
	// Scope says whose and what: a tenant or principal, and a route, queue or function.
	// Operations in different scopes never see each other. At most [MaxScope] bytes. Required.
	Scope string

	// ID tells the operations of one scope apart. At most [MaxID] bytes. Required.
	ID string
}

// Check reports what is wrong with k, or nil. It does not quote the key.
func (k Key) Check() error {
	switch {
	case k.Scope == "":
		return fmt.Errorf("once: key: scope is empty; say whose operation it is (tenant, route, queue)")
	case len(k.Scope) > MaxScope:
		return fmt.Errorf("once: key: scope has %d bytes, at most %d are allowed; use a digest of it", len(k.Scope), MaxScope)
	case k.ID == "":
		return fmt.Errorf("once: key: id is empty; every operation needs one of its own")
	case len(k.ID) > MaxID:
		return fmt.Errorf("once: key: id has %d bytes, at most %d are allowed; use a digest of it", len(k.ID), MaxID)
	}
	return nil
}

// Digest returns the SHA-256 of the key. The length of the scope is part of what is hashed, so
// that ("a", "bc") and ("ab", "c") differ. Stores may use it as a name of fixed size.
func (k Key) Digest() [32]byte {
	var stack [2 + MaxScope + MaxID]byte
	b := binary.BigEndian.AppendUint16(stack[:0], uint16(len(k.Scope)))
	b = append(b, k.Scope...)
	b = append(b, k.ID...)
	return sha256.Sum256(b)
}

// DerivedID returns an id that depends only on the key and the name, and so is the same in every
// attempt at the operation: the idempotency key to send to a provider downstream. It is a UUID of
// version 8 (RFC 9562 section 5.8) and tells nothing of the key.
func (k Key) DerivedID(name string) string {
	d := k.Digest()
	h := sha256.New()
	h.Write([]byte("once derived id\x00"))
	h.Write(d[:])
	h.Write([]byte(name))
	var sum [sha256.Size]byte
	h.Sum(sum[:0])
	u := sum[:16]
	u[6] = u[6]&0x0f | 0x80
	u[8] = u[8]&0x3f | 0x80
	var text [36]byte
	hex.Encode(text[0:8], u[0:4])
	hex.Encode(text[9:13], u[4:6])
	hex.Encode(text[14:18], u[6:8])
	hex.Encode(text[19:23], u[8:10])
	hex.Encode(text[24:36], u[10:16])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return string(text[:])
}

// within returns the key in a scope of its own beside the given one, for what the package itself
// keeps. Parts that get too long are replaced by their digests.
func (k Key) within(suffix string) Key {
	short := func(s string, most int) string {
		if len(s) <= most {
			return s
		}
		d := sha256.Sum256([]byte(s))
		return hex.EncodeToString(d[:])
	}
	return Key{Scope: short(k.Scope, MaxScope-len(suffix)) + suffix, ID: short(k.ID, MaxID)}
}

// String returns the first eight bytes of the key's digest in hex: a name for logs that lets two
// lines be matched without telling the key. Keys are often secrets: whoever knows one may be
// given the stored outcome.
func (k Key) String() string {
	d := k.Digest()
	return "key:" + hex.EncodeToString(d[:8])
}

// A Fingerprint is a digest of what an operation was asked to do, so that a key which is used
// again for something else is noticed. The zero Fingerprint is not compared.
type Fingerprint [32]byte

// FingerprintOf returns the fingerprint of the given parts. The length of each part is part of
// what is hashed, so that moving a byte from one part to the next changes the fingerprint.
func FingerprintOf(parts ...[]byte) Fingerprint {
	h := sha256.New()
	var n [8]byte
	for _, p := range parts {
		binary.BigEndian.PutUint64(n[:], uint64(len(p)))
		h.Write(n[:])
		h.Write(p)
	}
	var fp Fingerprint
	h.Sum(fp[:0])
	return fp
}

// Matches reports whether an operation recorded with fingerprint fp may answer one asked for
// with fingerprint other: they are equal, or one of them is zero.
func (fp Fingerprint) Matches(other Fingerprint) bool {
	return fp == other || fp == Fingerprint{} || other == Fingerprint{}
}

// An Owner is the nonce by which one attempt proves that it holds a claim. It is chosen by the
// caller before the call, so that a claim whose reply was lost can be repeated and is recognised.
// The zero Owner is not valid.
type Owner [16]byte

// NewOwner returns a random owner: 128 bits from crypto/rand.
func NewOwner() Owner {
	var o Owner
	rand.Read(o[:]) // never fails, see crypto/rand
	return o
}

// String returns the owner in hex.
func (o Owner) String() string { return hex.EncodeToString(o[:]) }
