package gateway

import (
	"strconv"

	"github.com/oncehq/once"
	"github.com/oncehq/once/cmd/once/internal/upstream"
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
func DerivedKey(k once.Key) string { return k.DerivedID(derivedName) }
