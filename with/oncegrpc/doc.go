// Package oncegrpc makes gRPC calls happen once: an interceptor for servers that guards unary
// methods by an idempotency key, and one for clients that makes keys and tries again.
//
// # Servers
//
// A call with the same key by the same principal to the same method is run once; later calls get
// the first reply: message, status, details, header and trailer, byte for byte.
// idempotency-replayed: true marks a replay, in the header of a response and in the trailer of an
// error.
//
// What stands in the way is told by the status, with a google.rpc.ErrorInfo of domain
// [Domain] and, where it passes, a google.rpc.RetryInfo:
//
//	reason             code                when
//	KEY_MISSING        InvalidArgument     [Config.Required]
//	KEY_INVALID        InvalidArgument     not well-formed, or more than one
//	SCOPE_REFUSED      PermissionDenied    the principal is unknown
//	STREAM_REFUSED     InvalidArgument     a stream with a key
//	KEY_REUSED         FailedPrecondition  for another request
//	IN_FLIGHT          Aborted             the first call is running; RetryInfo
//	IN_DOUBT           Unknown             an earlier call broke off, and the policy is to hold
//	ROLLED_BACK        Aborted             the transaction, again and again; RetryInfo
//	RESPONSE_NOT_KEPT  FailedPrecondition  done, but the reply was too large
//	OUTCOME_UNKNOWN    Unavailable         run, but not recorded; RetryInfo
//	STORE_UNAVAILABLE  Unavailable         nothing was run; RetryInfo
//	STORE_FULL         Unavailable         nothing was run; RetryInfo
//	RECORD_UNREADABLE  DataLoss            the record is damaged, or not of this package
//
// KEY_REUSED is a failed precondition and not an invalid argument, since the request would be right
// with another key.
//
// What a handler's status means for the operation is said by [KeepFinal], unless its error is marked
// by once.Final or once.NoEffect. A panic leaves the operation in doubt and goes on.
//
// Methods whose schema has the idempotency_level NO_SIDE_EFFECTS or IDEMPOTENT pass unguarded.
// Streams with a key are refused, and pass without one.
//
// The handler runs detached from the client: neither that it hangs up nor its deadline stops
// the handler, for the retry would find the operation in doubt. Bound it by [Config.Timeout], and
// let the server wait for its handlers when it stops (grpc.WaitForHandlers).
//
// # Limits
//
// The interceptor sees messages and not the bytes that came. The fingerprint is that of the
// request in Go's deterministic encoding, unknown fields included. Two releases of a server may
// encode the same request differently when fields were added between existing ones or a field became
// known; a call that is tried again across such a release is refused with KEY_REUSED. Set
// [Config.Fingerprint] where that matters.
//
// Interceptors outside of this one are given the reply as a message whose descriptor and fields
// are those of the handler's but whose Go type is not. Those that need the type must come after this one.
package oncegrpc
