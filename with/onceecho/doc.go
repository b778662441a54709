// Package onceecho makes requests to an Echo v5 server happen once: package oncehttp as a middleware
// of Echo.
//
//	guarded, err := onceecho.New(oncehttp.Config{
//		Guard: guard, // from once.New
//		Scope: onceecho.Scope(func(c *echo.Context) (string, error) { return userOf(c) }),
//	})
//	…
//	e.Use(authenticate, guarded)
//
// What happens to a request, what a response means and what a replay is, is said by package
// oncehttp; to a client there is no difference. The handlers find the attempt in the context of
// c.Request(), which is what to give to [once.DerivedID], [once.Step], [oncehttp.NoEffect] and so
// on.
//
// # Errors
//
// Echo makes a response out of the error that a handler returns when all middleware is done. That
// would be too late: the response is what is recorded. So this middleware calls
// Echo.HTTPErrorHandler itself, and returns the error for what is outside and logs it. From then on
// c.Response() is committed and takes no more, for the response was recorded as it is.
//
// Middleware that answers errors by itself must come after this one, or finds them answered. If
// nobody does, the operation is in doubt.
//
// # Where to put it
//
// After what authenticates, since a replay is an answer; and after what compresses or signs a
// response for one client. Loggers and metrics may be on either side: those before it see the
// response that the client is sent, replays too, and those after it see the runs of the handler.
// Recover may be on either side too: a panic leaves the operation in doubt in any case
// ([oncehttp.KeepFinal]).
//
// # What handlers see
//
// c.Response() is held back, but looks as usual: there is an echo.Response of its own for each run,
// whose Status, Size and Committed tell what the handler wrote. It cannot be hijacked.
//
// When a store has rolled back the handler's transaction, the rest of the chain is run again. What
// the first run put in the context with Set is still there.
package onceecho
