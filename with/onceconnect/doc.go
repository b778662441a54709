// Package onceconnect makes calls by Connect happen once: an interceptor for handlers that guards
// unary procedures by an idempotency key, and one for clients that makes keys and tries again. It
// serves all protocols that connect does: Connect, gRPC and gRPC-Web.
//
// # Handlers
//
// A call with the same key by the same principal to the same procedure is run once; later calls
// get the first reply: message, error, details, header and trailer. The message is the same byte for
// byte in the binary encoding, and in JSON the same for the same release of the server. The header
// Idempotency-Replayed: true marks a replay.
//
// What stands in the way is told by the code of the error, with a google.rpc.ErrorInfo of domain
// [Domain] and, where it passes, a google.rpc.RetryInfo and a Retry-After header:
//
//	reason             code                 when
//	KEY_MISSING        invalid_argument     [Config.Required]
//	KEY_INVALID        invalid_argument     not well-formed, or more than one
//	SCOPE_REFUSED      permission_denied    the principal is unknown
//	STREAM_REFUSED     invalid_argument     a stream with a key
//	KEY_REUSED         failed_precondition  for another request
//	IN_FLIGHT          aborted              the first call is running; RetryInfo
//	IN_DOUBT           unknown              an earlier call broke off, and the policy is to hold
//	ROLLED_BACK        aborted              the transaction, again and again; RetryInfo
//	RESPONSE_NOT_KEPT  failed_precondition  done, but the reply was too large
//	OUTCOME_UNKNOWN    unavailable          run, but not recorded; RetryInfo
//	STORE_UNAVAILABLE  unavailable          nothing was run; RetryInfo
//	STORE_FULL         unavailable          nothing was run; RetryInfo
//	RECORD_UNREADABLE  data_loss            the record is damaged, or not of this package
//
// KEY_REUSED is a failed precondition and not an invalid argument, since the request would be right
// with another key.
//
// What a handler's error means for the operation is said by [KeepFinal], unless it is marked by
// once.Final or once.NoEffect. A panic leaves the operation in doubt and goes on.
//
// Procedures whose schema has the idempotency_level NO_SIDE_EFFECTS or IDEMPOTENT pass unguarded.
// Streams with a key are refused, and pass without one.
//
// The handler runs detached from the client: neither that it hangs up nor its deadline stops
// the handler, for the retry would find the operation in doubt. Bound it by [Config.Timeout], and
// stop the server by Shutdown, which waits for its handlers.
//
// Records are the same as those of package oncegrpc: a service may be served by both.
//
// # Limits
//
// The interceptor sees messages and not the bytes that came. The fingerprint is that of the
// request in Go's deterministic encoding, unknown fields included. Two releases of a server may
// encode the same request differently when fields were added between existing ones or a field became
// known; a call that is tried again across such a release is refused with KEY_REUSED. Set
// [Config.Fingerprint] where that matters. Requests in JSON lose unknown fields before they get here.
//
// Interceptors outside of this one are given the reply as a message whose descriptor and fields
// are those of the handler's but whose Go type is not. Those that need the type must come after this one.
package onceconnect
