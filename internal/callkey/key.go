// Package callkey decides which idempotency key an outgoing call carries. The clients of all
// protocols use it, so that they count the calls of an attempt together: with a count for each
// client, two of them within one attempt would send the same key for two calls of the same thing,
// and the second effect would be lost without anybody noticing.
package callkey

import (
	"context"
	"strconv"

	"github.com/oncehq/once"
)

type (
	keyContext  struct{}
	nameContext struct{}
)

// With returns a context under which calls carry this key.
func With(ctx context.Context, key string) context.Context {
	return context.WithValue(ctx, keyContext{}, key)
}

// Named returns a context under which the keys that are derived from an operation depend on this
// name and no longer on what is called.
func Named(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, nameContext{}, name)
}

// From returns the key of [With].
func From(ctx context.Context) (key string, ok bool) {
	key, ok = ctx.Value(keyContext{}).(string)
	return key, ok
}

// For returns the key for a call under ctx: that of [With]; within an attempt one that is the
// same for the same call in every attempt; else a new one. Two calls are the same if they have
// the same name, or are calls of the same thing without a name, and are the nth one of these in
// their attempt.
//
// It counts, and so must be asked once for each call, not for each try.
func (s *Source) For(ctx context.Context, call string) string {
	if key, ok := From(ctx); ok {
		return key
	}
	a, ok := once.FromContext(ctx)
	if !ok {
		return s.New()
	}
	name := "call\x00" + call
	if n, ok := ctx.Value(nameContext{}).(string); ok {
		name = "name\x00" + n
	}
	return a.DerivedID(name + "\x00" + strconv.Itoa(a.Ordinal(name)))
}
