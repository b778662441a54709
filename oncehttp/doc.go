// Package oncehttp makes HTTP requests happen once: a [Middleware] for servers that honours the
// Idempotency-Key header.
//
// Of the requests with one key, from one caller, for one route, it lets one through to the handler and
// gives the others the same response.
//
//	m, err := oncehttp.New(oncehttp.Config{
//		Guard: guard, // from once.New
//		Scope: func(r *http.Request) (string, error) { return userOf(r) },
//	})
//	…
//	mux.Handle("POST /charges", m.Wrap(charge))
//
// It follows draft-ietf-httpapi-idempotency-key-header-07, and where that is silent:
//
// # What happens to a request with a key
//
//  1. The key is checked: a quoted string, or by default a bare word, which is the same key. A
//     key that is malformed, empty, longer than 255 bytes or given twice is refused (400).
//  2. The body is read whole. One that is too large is refused (413), one that breaks off changes
//     nothing.
//  3. A key that was used for another request is refused (422), even while that is in flight.
//  4. While the operation is in flight, the caller waits as long as the guard says and is then
//     refused (409 with Retry-After).
//  5. An operation in doubt is run again or refused (500), as the guard's policy says.
//  6. An operation that is done is replayed.
//  7. Otherwise the handler runs, and its response is recorded before any of it is sent.
//
// The handler's context has the values of the client's, but not its end, nor its deadline: a
// client that hangs up is about to try again, and must find the outcome then. It is done when the
// lease is lost, with the cause [once.ErrLost], and it carries the attempt: [once.DerivedID] and
// [once.Step] work.
//
// # What a response means
//
// [Config.Keep] says by its status if a response is the outcome, if nothing happened, or if
// nobody knows. The handler can say it itself: [Final], [NoEffect], [InDoubt], [NoStore],
// [SetRetention]. After a panic nobody knows.
//
// # The first response and the replay
//
// The first response is the one that the client would get without this package, byte for byte in
// HTTP/1.1, but later: what the handler writes or flushes leaves when it has returned and the store
// has acknowledged the outcome. Only informational responses (1xx) leave at once. There are two
// exceptions. A request that says Expect: 100-continue is told to continue even if the handler
// does not read the body; and a response that is too large, or an event stream that the client did
// not announce, is sent while the handler writes, after it was recorded that the operation is done.
//
// The handler's ResponseWriter takes all that http.ResponseController offers but Hijack, which is
// refused. It is no http.Pusher and no http.CloseNotifier, and a second WriteHeader is ignored
// without a line in the server's log.
//
// A replay has the same status, body, trailers and fields as the first response, except that:
//
//   - Idempotency-Replayed: true and Cache-Control: no-store are set. Scripts of other origins may
//     read the former if they may read the response: it is added to Access-Control-Expose-Headers.
//   - Date is that of the replay.
//   - Fields for one hop are absent: Connection and those it names, Keep-Alive,
//     Proxy-Connection, TE, Transfer-Encoding, Upgrade.
//   - Fields for one moment or one connection are absent, unless [Config.ReplayOmit] says
//     otherwise: Alt-Svc, Authentication-Info, Clear-Site-Data, Proxy-Authenticate,
//     Proxy-Authentication-Info, Set-Cookie, WWW-Authenticate.
//   - Fields that something outside had set before the handler ran, and the handler did not change,
//     are those of the replay: request ids, CORS.
//   - A body of unknown length may be cut into other chunks; over HTTP/2, a response with trailers
//     may have a Content-Length or not.
//   - Fields may be in another order.
//
// Outcomes are stored as HTTP/1.1 messages, of media type application/http, which any tool can
// read.
//
// # Routers and frameworks
//
// [Middleware.Wrap] is what chi and other routers of http.Handlers call a middleware:
//
//	r.With(authenticate, m.Wrap).Post("/customers/{id}/charges", charge)
//
// The packages with/oncegin, with/onceecho and with/oncefiber bring the same to gin, Echo and Fiber,
// whose contexts have a response of their own.
//
// # What cannot be promised
//
// A handler whose effect is elsewhere can still be cut off between the effect and the record; see
// the documentation of package once for what to do about it. If the response was made but could
// not be recorded, the client is told that its outcome is unknown (503), not what it is.
package oncehttp
