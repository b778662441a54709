package gateway

import (
	"context"
	"strconv"

	"github.com/oncehq/once"
	"github.com/oncehq/once/cmd/once/internal/upstream"
	"github.com/oncehq/once/oncemem"
)

// derivedName is what derived keys are derived for.
const derivedName = "upstream"

// appendMarks tells the service about the attempt.
func appendMarks(fields []upstream.Field, a *once.Attempt) []upstream.Field {
	return append(fields,
		upstream.Field{Name: AttemptField, Value: strconv.Itoa(a.Number())},
		upstream.Field{Name: FenceField, Value: strconv.FormatUint(a.Fence(), 10)},
		upstream.Field{Name: DerivedField, Value: a.DerivedID(derivedName)})
}

// DerivedKey returns the key that the service is sent for an operation, for people who want to ask
// it what became of that.
func DerivedKey(k once.Key) string {
	// Only an attempt knows how keys are derived; so one is made, in a store of its own.
	guard, err := once.New(once.Config{Store: new(oncemem.Store), InDoubt: once.Rerun})
	if err != nil {
		panic(err) // the configuration is constant
	}
	a, err := guard.Begin(context.Background(), k, once.Fingerprint{})
	if err != nil {
		return "" // k is not valid, and never had a record
	}
	defer a.Release()
	return a.DerivedID(derivedName)
}
