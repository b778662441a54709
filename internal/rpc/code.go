// Package rpc is what the doors for gRPC and Connect have in common: what codes mean, how replies
// are recorded, how calls are served once and tried again. Both protocols have the same codes, and
// records of one can be replayed by the other.
package rpc

import (
	"fmt"

	"github.com/oncehq/once/oncehttp"
)

// A Code is a status code of gRPC (https://grpc.io/docs/guides/status-codes). Connect has the
// same ones.
type Code uint32

const (
	OK Code = iota
	Canceled
	Unknown
	InvalidArgument
	DeadlineExceeded
	NotFound
	AlreadyExists
	PermissionDenied
	ResourceExhausted
	FailedPrecondition
	Aborted
	OutOfRange
	Unimplemented
	Internal
	Unavailable
	DataLoss
	Unauthenticated
)

// KeepFinal says what a handler's code means for its operation.
//
// It is stricter than the table for HTTP in one place: a handler that calls other services passes
// their Unavailable on, be it that the connection broke when the effect had begun. That leaves the
// outcome open.
func KeepFinal(code Code) oncehttp.Decision {
	switch code {
	case OK, InvalidArgument, NotFound, AlreadyExists, PermissionDenied, FailedPrecondition,
		OutOfRange, Unimplemented, Unauthenticated:
		return oncehttp.Complete
	case ResourceExhausted, Aborted:
		return oncehttp.Release
	}
	return oncehttp.Abandon
}

// Level is what the schema says of a method (idempotency_level in descriptor.proto).
type Level uint8

const (
	Unspecified   Level = iota
	NoSideEffects       // as GET
	Idempotent          // as PUT
)

// String is for errors.
func (l Level) String() string {
	switch l {
	case NoSideEffects:
		return "NO_SIDE_EFFECTS"
	case Idempotent:
		return "IDEMPOTENT"
	case Unspecified:
		return "IDEMPOTENCY_UNKNOWN"
	}
	return fmt.Sprintf("Level(%d)", uint8(l))
}
