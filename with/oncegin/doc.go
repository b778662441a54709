// Package oncegin makes requests to a gin router happen once: package oncehttp as a middleware of gin.
//
//	guarded, err := oncegin.New(oncehttp.Config{
//		Guard: guard, // from once.New
//		Scope: oncegin.Scope(func(c *gin.Context) (string, error) { return c.GetString("user"), nil }),
//	})
//	…
//	router.Use(authenticate, guarded, renderErrors)
//
// What happens to a request, what a response means and what a replay is, is said by package
// oncehttp; to a client there is no difference. The handlers find the attempt in the context of
// c.Request, which is what to give to [once.DerivedID], [once.Step], [oncehttp.NoEffect] and so on.
//
// # Where to put it
//
// After what authenticates, since a replay is an answer; and after what compresses or signs a
// response for one client. Loggers and metrics may be on either side: those before it see the
// response that the client is sent, replays too, and those after it see the runs of the handler.
//
// Before what makes responses out of c.Errors. A handler that leaves an error and no response has
// not answered yet when the chain ends here. If something before this package answers for it, that
// comes too late to be recorded: the operation is then in doubt, which is logged, and the policy of the
// guard decides what a retry may do. The same goes for gin.Recovery: after this package its
// response counts like any other, which is that the operation is in doubt ([oncehttp.KeepFinal]);
// before it, the panic itself says so.
//
// If no route matches, gin answers after its middleware. Such a response is not recorded.
//
// # What handlers see
//
// c.Writer is held back, but looks as usual: Status, Size and Written tell what the handler
// wrote. It cannot be hijacked and is no http.Pusher. The channel of CloseNotify is closed only
// after a write to the client has failed: a client that hangs up does not stop an operation.
//
// When a store has rolled back the handler's transaction, the rest of the chain is run again with
// the context as it was before: keys, errors and parameters.
package oncegin
