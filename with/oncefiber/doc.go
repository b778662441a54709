// Package oncefiber makes requests to a Fiber v3 app happen once: package oncehttp as a middleware of
// Fiber.
//
//	guarded, err := oncefiber.New(oncehttp.Config{
//		Guard: guard, // from once.New
//		Scope: oncefiber.Scope(func(c fiber.Ctx) (string, error) { return userOf(c) }),
//	})
//	…
//	app.Use(authenticate, guarded)
//
// What happens to a request, what a response means and what a replay is, is said by package
// oncehttp. It does the work here too: Fiber is built on fasthttp, so it is shown the request as one
// of net/http, and the response when the handlers have made it. The first response is sent
// as Fiber would send it without this package.
//
// The handlers find the attempt in c.Context(), which is what to give to [once.DerivedID],
// [once.Step], [oncehttp.NoEffect] and so on.
//
// # Errors
//
// Fiber makes a response out of the error that a handler returns when all middleware is done. That
// would be too late: the response is what is recorded. So this middleware calls the app's
// ErrorHandler itself, like Fiber's logger does, and returns no error. Middleware that answers errors by
// itself must come after this one, or sees none.
//
// # Where to put it
//
// After what authenticates, since a replay is an answer; and after what compresses or signs a
// response for one client. Fiber's recover middleware may be on either side: a panic leaves the
// operation in doubt in any case ([oncehttp.KeepFinal]).
//
// # What is otherwise than over net/http
//
// A body that is a stream is kept if its size is told and at most MaxResponseBody: SendFile,
// SendStream with a size. Any other stream is sent while it is made, after it was recorded that
// the operation is done; later callers are told so (410). The same goes for a connection that the
// handler takes over. What makes the stream runs after the handler, outside of its context.
//
// Trailers are not replayed. A client that hangs up while it waits for another's outcome is
// noticed only when it is answered.
//
// Forms of several parts that Fiber has parsed before (see fiber.Config.DisablePreParseMultipartForm)
// are the same request in whatever order their parts come.
//
// When a store has rolled back the handler's transaction, the rest of the chain is run again with
// the context as it was before, but for what is in its locals. A Ctx of one's own must embed
// fiber.DefaultCtx and not a pointer to one; else the request is refused (503) then.
package oncefiber
